"""The facts about a cohort's data in words: a headline, a few key numbers, what to read first.

Every sentence is made from `engine.records.quality.facts`; texts from the data (drug names) stand
in them, so whoever draws a sentence escapes it.
"""

from dataclasses import dataclass

from engine.records import quality_choices
from engine.records.funnel import FEWEST_ROWS, rarer_names

# What is in a report, and what of a free text is not.
SHOWN = (
    f"Counts, titles of codes and frequent drug names. A name in fewer than {FEWEST_ROWS} rows is "
    "not listed; e-mail addresses and long numbers in names are hidden, all else in them is shown."
)
# From which share on something asks for a look, by field; a site may well have good reasons.
MISSING = {
    "age": 0.02,
    "sex": 0.02,
    "discharge_time": 0.02,
    "diagnoses": 0.02,
    "medications": 0.15,
    "procedures": 0.75,
    "route": 0.05,
    "start_time": 0.05,
}
MISSING_PROFILE = 0.2
FIELDS = {
    "age": "Age",
    "sex": "Sex",
    "insurance": "Insurance",
    "language": "Language",
    "marital_status": "Marital status",
    "race": "Race or ethnicity",
    "religion": "Religion",
    "admission_type": "Kind of admission",
    "discharge_time": "Discharge time",
    "diagnoses": "Diagnoses",
    "procedures": "Procedures",
    "medications": "Medication groups",
    "route": "Route of a prescription",
    "start_time": "Start of a prescription",
}
PLURALS = {
    "diagnoses": "diagnoses",
    "procedures": "procedures",
    "medications": "medication groups",
}
LEFT_OUT = 0.01  # share of a table's rows
UNRECOGNISED = 0.01  # share of prescription rows
CONTRADICTED = 0.001  # likewise
NO_TITLE = 0.005  # share of coded rows
WRONG_TIMES = 0.01
# Harmless below these shares: a stay may begin at midnight, and a day case may have no length.
UNREMARKABLE = {"admission at midnight sharp": 0.2, "discharge at the moment of admission": 0.01}
BOTH_VERSIONS = 0.05  # share of the rarer ICD version
UNSEEN = 0.15  # share of a test patient's codes
SMALL_COHORT = 1_000  # patients
SHIFTED_YEAR = 2100
NOT_RECOGNISED = "drug name not recognised"  # has a notice of its own
# How the reasons begin for which rows are set aside on purpose, or go with what was set aside.
SET_ASIDE = (
    "vehicle, flush, device or supply",
    "started later than 24 hours after admission",
    "not a hospital stay",
    "the patient has fewer than",
    "its admission was dropped",
    "none of the admissions was kept",
    "no admission on record",
)
# How sure an ICD-10 code is of which an ICD-9 code was the origin.
TRANSLATIONS = {
    "identical": "became the one code that the map calls the same",
    "near": "the one code that is close in meaning",
    "chosen": "one chosen of several codes",
    "part": "one part of a combination of codes",
    "left": "have no single equivalent and stay in ICD-9",
}
TIMES = {
    "admission time missing or unreadable": "have an admission time that is missing or unreadable; "
    "they were left out",
    "discharge before admission": "ended before they began; their discharge time was left empty",
    "discharge time unreadable": "have a discharge time that is no time; it was left empty",
    "age impossible": "have an age that cannot be; it was left empty",
    "stay over a year": "lasted longer than a year",
    "discharge at the moment of admission": "ended at the very moment they began",
    "overlapping admissions": "began before an earlier stay of the same patient had ended",
    "two admissions at the same instant": "began at the same instant as another of that patient, "
    "so that their order is not known",
    "admission in an odd year": "lie before 1950 or more than 75 years from the others",
    "admission at midnight sharp": "began at midnight sharp: probably only the day is known, and "
    "the order of stays on one day is not",
    "prescription long before admission": "started more than a week before admission",
    "prescription after discharge": "started more than a day after discharge",
}


@dataclass(frozen=True, slots=True)
class Card:
    """A key number."""

    title: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A thing to know before using the data; `look` when a person should look into it."""

    text: str
    look: bool


def number(value: int | float) -> str:
    """Return a number with thousands separators."""
    return f"{value:,}"


def share(part: int, whole: int) -> str:
    """Return a percentage that never rounds something to nothing, nor most to all."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if part and percent < 0.1:
        return "< 0.1\u00a0%"
    if part < whole and percent > 99.9:
        return "> 99.9\u00a0%"
    return f"{percent:.0f}\u00a0%" if percent in (0, 100) else f"{percent:.1f}\u00a0%"


def counted(value: int, one: str) -> str:
    """Return `1 row` or `2 rows`, for nouns that take an s."""
    return f"{number(value)} {one}" if value == 1 else f"{number(value)} {one}s"


def headline(facts: dict) -> str:
    """Return the cohort in a sentence."""
    drugs = facts["drugs"]["rows"]
    rows = sum(drugs.values())
    understood = (
        "all drug names are recognised"
        if not drugs["unmapped"]
        else f"{share(rows - drugs['unmapped'], rows)} of prescriptions have a recognised drug name"
    )
    return (
        f"{counted(facts['patients'], 'patient')} with {counted(facts['visits'], 'visit')}: "
        f"{share(facts['labelled_visits'], facts['visits'])} of the visits can teach a model, "
        f"and {understood}."
    )


def cards(facts: dict) -> list[Card]:
    """Return the key numbers, in reading order."""
    visits, patients = facts["visits"], facts["patients"]
    drugs = facts["drugs"]["rows"]
    prescriptions = sum(drugs.values())
    single = next(
        (times for value, times in facts["visits_per_patient"]["counts"] if value == 1), 0
    )
    medians = {kind: facts["codes_per_visit"][kind]["median"] for kind in PLURALS}
    return [
        Card("Patients", number(patients), f"{share(single, patients)} have a single visit"),
        Card("Visits", number(visits), _period(facts["years"])),
        Card(
            "Usable for learning",
            share(facts["labelled_visits"], visits),
            f"{counted(facts['labelled_visits'], 'visit')} with a diagnosis and a medication",
        ),
        Card(
            "Drugs recognised",
            share(prescriptions - drugs["unmapped"], prescriptions),
            f"of {counted(prescriptions, 'prescription')} of these visits; "
            f"{share(drugs['non_drug'], prescriptions)} are vehicles, flushes or supplies",
        ),
        Card(
            "Typical visit",
            _days(facts["stays"]["median"]),
            "medians: "
            + ", ".join(f"{PLURALS[kind]} {median}" for kind, median in medians.items()),
        ),
        Card(
            "Typical age",
            "not known" if facts["ages"]["median"] is None else f"{facts['ages']['median']} years",
            "median at admission",
        ),
    ]


def notices(facts: dict) -> list[Notice]:
    """Return what to read first: things to look into, then things to know."""
    found = [
        *_size(facts),
        *_choices(facts),
        *_names(facts),
        *_left_out(facts),
        *_empty_fields(facts),
        *_wrong_times(facts),
        *_versions(facts),
        *_without_title(facts),
        *_rare_codes(facts),
        *_new_codes(facts),
    ]
    return sorted(found, key=lambda notice: not notice.look)


def is_set_aside(why: str) -> bool:
    """Whether rows left out for this reason are no fault of the data."""
    return why.startswith(SET_ASIDE)


def asks_for_a_look(row: dict) -> bool:
    """Whether a field is missing more often than it should; `row` is one of facts["missing"]."""
    limit = MISSING.get(row["field"], MISSING_PROFILE)
    nowhere = row["missing"] == row["rows"] and row["field"] not in MISSING
    return not row["off"] and not nowhere and row["missing"] > limit * row["rows"]


def _size(facts: dict):
    if facts["patients"] < SMALL_COHORT:
        test = next(split for split in facts["splits"] if split["split"] == "test")
        yield Notice(
            f"The cohort is small: {counted(facts['patients'], 'patient')}, "
            f"{number(test['patients'])} of them to test on. Whatever is measured on so few is "
            "uncertain.",
            look=True,
        )
    years = facts["years"]
    if years and years[len(years) // 2]["year"] >= SHIFTED_YEAR:
        yield Notice(
            f"Dates lie in the future ({_period(years)}): they were shifted to protect the "
            "patients. Times within one patient's record can be trusted, the calendar cannot.",
            look=False,
        )


def _choices(facts: dict):
    if said := quality_choices.sentences(facts["options"]):
        yield Notice(f"Chosen when the cohort was made: {'; '.join(said)}.", look=False)


def _names(facts: dict):
    drugs = facts["drugs"]
    rows, unmapped, against = drugs["rows"], drugs["unmapped"], drugs["contradicted"]
    total = sum(rows.values())
    if rows["unmapped"]:
        most = (
            f"The most frequent is “{unmapped[0][0]}” ({number(unmapped[0][1])})."
            if unmapped
            else "None is frequent enough to be listed: "
            f"{rarer_names(drugs['rarer']['names'], drugs['rarer']['rows'])}."
        )
        yield Notice(
            f"{share(rows['unmapped'], total)} of the prescriptions of these visits "
            f"({number(rows['unmapped'])}) have a drug name that is not recognised, and are left "
            f"out. {most}",
            look=rows["unmapped"] > UNRECOGNISED * total,
        )
    if against["rows"]:
        yield Notice(
            f"{share(against['rows'], total)} of the prescriptions ({number(against['rows'])}, of "
            f"{counted(against['names'], 'drug name')}) have a product code that contradicts the "
            "drug's name. The code was followed; either may be wrong.",
            look=against["rows"] > CONTRADICTED * total,
        )


def _left_out(facts: dict):
    for table in facts["tables"]:
        reasons = [
            (why, rows)
            for why, rows in table["dropped"]
            if why != NOT_RECOGNISED and not is_set_aside(why)
        ]
        lost = sum(rows for _, rows in reasons)
        if lost > LEFT_OUT * table["read"]:
            why, rows = reasons[0]
            mostly = "" if len(reasons) == 1 else f"mostly ({number(rows)}) "
            repeated = sum(rows for why, rows in reasons if "there already" in why)
            yield Notice(
                f"{share(lost, table['read'])} of the rows of {table['table']} "
                f"({number(lost)}) were left out: {mostly}{why}.",
                look=lost - repeated > LEFT_OUT * table["read"],
            )


def _empty_fields(facts: dict):
    for row in facts["missing"]:
        name, of = FIELDS[row["field"]], row["of"]
        if not row["rows"] or not row["missing"]:
            continue
        if row["off"]:
            continue  # told among the choices
        if row["missing"] == row["rows"] and row["field"] not in PLURALS:
            yield Notice(
                f"{name} is empty throughout: the export does not hold it.",
                look=row["field"] in MISSING,
            )
        elif asks_for_a_look(row):
            part = share(row["missing"], row["rows"])
            if row["field"] in PLURALS:
                yield Notice(f"{part} of the {of} have no {name.lower()}.", look=True)
            else:
                yield Notice(f"{name} is missing for {part} of the {of}.", look=True)


def _wrong_times(facts: dict):
    for row in facts["times"]:
        what, found, rows = row["what"], row["found"], row["rows"]
        if found > UNREMARKABLE.get(what, 0) * rows:
            yield Notice(
                f"{counted(found, row['of'].removesuffix('s'))} ({share(found, rows)}) "
                f"{TIMES[what]}.",
                look=found > WRONG_TIMES * rows,
            )


def _versions(facts: dict):
    nine = sum(year["icd9"] for year in facts["years"])
    ten = sum(year["icd10"] for year in facts["years"])
    crosswalk = facts["crosswalk"]
    if crosswalk:
        total = sum(part["rows"] for part in crosswalk.values())
        parts = (
            f"{share(crosswalk[name]['rows'], total)} {meaning}"
            for name, meaning in TRANSLATIONS.items()
            if crosswalk[name]["rows"]
        )
        yield Notice(
            f"Of the ICD-9 diagnoses ({number(total)}), on the way to ICD-10: {', '.join(parts)}."
            if total
            else "No diagnosis is in ICD-9: there was nothing to translate.",
            look=False,
        )
    elif min(nine, ten) > BOTH_VERSIONS * (nine + ten):
        yield Notice(
            f"Diagnoses come in two versions of the code: {share(nine, nine + ten)} in ICD-9 and "
            f"{share(ten, nine + ten)} in ICD-10. The same illness then has two codes, unless the "
            "older one is translated when the cohort is made.",
            look=False,
        )


def _without_title(facts: dict):
    for kind, coverage in facts["titles"].items():
        total = sum(part["rows"] for part in coverage.values())
        if coverage["none"]["rows"] > NO_TITLE * total:
            yield Notice(
                f"{share(coverage['none']['rows'], total)} of the {kind} have a code without a "
                "title: the teacher, which reads titles, learns little from them.",
                look=True,
            )


def _rare_codes(facts: dict):
    codes = facts["codes"]["diagnoses"]
    if codes["once"] > codes["distinct"] / 3:
        yield Notice(
            f"{number(codes['once'])} of the {number(codes['distinct'])} diagnosis codes "
            f"({share(codes['once'], codes['distinct'])}) occur in one visit only: too few to "
            "learn from as codes.",
            look=False,
        )


def _new_codes(facts: dict):
    test = next(split for split in facts["splits"] if split["split"] == "test")
    for kind in ("diagnoses", "medications"):
        part = test[kind]
        if part["unknown_rows"]:
            kept = quality_choices.limit(facts["options"], kind)
            why = (
                f": {share(part['limited_rows'], part['rows'])} because the vocabulary holds "
                f"{kept}, by choice, the rest because no training patient has them"
                if kept and part["limited_rows"]
                else ""
            )
            yield Notice(
                f"{share(part['unknown_rows'], part['rows'])} of the {kind} of test patients are "
                f"not among the codes that models learn from the training patients{why}.",
                look=part["unknown_rows"] > UNSEEN * part["rows"],
            )


def _period(years: list[dict]) -> str:
    if not years:
        return "no admissions"
    first, last = years[0]["year"], years[-1]["year"]
    return f"{first}" if first == last else f"{first}–{last}"


def _days(days: int | None) -> str:
    if days is None:
        return "not known"
    return "under a day" if days == 0 else counted(days, "day")
