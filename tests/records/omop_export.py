"""Turns tables in the MIMIC-IV layout into a small OMOP export, for tests of that source.

The shapes are those of a real export: a SNOMED standard concept and an ICD source concept for every
diagnosis, joined by "Maps to"; RxNorm drugs below their ATC classes; visits outside the hospital,
with records of their own, as noise. The vocabulary holds no more than what these tables need.

What OMOP cannot carry is lost here as in reality: sequence numbers (their order survives in the
record ids), insurance, language, marital status, the drug type (the carrier fluids of type BASE are
left out, as they are part of a product), a race that differs between admissions.
"""

import csv
import gzip
import io
from collections import defaultdict
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow
import pyarrow.parquet

from engine.terminology import drugs

ROOT = Path(__file__).resolve().parents[2]
VOCABULARY = ("concept", "concept_relationship", "concept_ancestor")

RACES = {  # start of the MIMIC word → concept
    "WHITE": (8527, "White"),
    "BLACK": (8516, "Black or African American"),
    "ASIAN": (8515, "Asian"),
}
ETHNICITIES = {38003563: "Hispanic or Latino", 38003564: "Not Hispanic or Latino"}
VISITS = {
    9201: "Inpatient Visit",
    262: "Emergency Room and Inpatient Visit",
    581385: "Observation Room",
    9202: "Outpatient Visit",
}
ROUTES = {  # concept → its name, and the MIMIC routes
    4132161: ("Oral", "PO PO/NG ORAL NG"),
    4171047: ("Intravenous", "IV,IV DRIP,IV BOLUS,IVPCA"),
    4142048: ("Subcutaneous", "SC"),
    4302612: ("Intramuscular", "IM"),
    45956874: ("Inhalation", "IH NEB"),
    4263689: ("Topical", "TP"),
    4262099: ("Transdermal", "TD"),
    4290759: ("Rectal", "PR"),
    4184451: ("Ophthalmic", "BOTH EYES,LEFT EYE,RIGHT EYE"),
    4023156: ("Otic", "BOTH EARS,LEFT EAR,RIGHT EAR"),
    4292110: ("Sublingual", "SL"),
    4262914: ("Nasal", "NU NAS"),
    4156706: ("Intradermal", "ID"),
    4225555: ("Epidural", "ED"),
    4057765: ("Vaginal", "VG"),
}
ATC_CLASSES = {7: "ATC 5th", 5: "ATC 4th", 4: "ATC 3rd"}
TWO_STANDARDS = "E11"  # these codes map to two standard concepts, so that records come twice


def export(mimic: Path) -> dict[str, list[dict]]:
    """Return the eight tables, name → rows; empty values are None."""
    return Export(mimic).tables


def write(tables: dict[str, list[dict]], folder: Path, suffix: str = ".csv") -> Path:
    """Write the tables and return the folder.

    `suffix` is `.csv`, `.csv.gz` or `.parquet` (with types), or `.tsv`, which stands for what
    Athena gives: the vocabulary as NAME.csv in capitals, with tabs and without quotes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        if suffix == ".parquet":
            pyarrow.parquet.write_table(as_arrow(rows), folder / f"{name}.parquet")
        elif suffix == ".tsv" and name in VOCABULARY:
            (folder / f"{name.upper()}.csv").write_bytes(as_tabs(rows))
        elif suffix == ".csv.gz":
            (folder / f"{name}.csv.gz").write_bytes(gzip.compress(as_csv(rows), mtime=0))
        else:
            (folder / f"{name}.csv").write_bytes(as_csv(rows))
    return folder


def as_csv(rows: list[dict]) -> bytes:
    """Return rows as a CSV file with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_tabs(rows: list[dict]) -> bytes:
    """Return rows as Athena writes them: tabs, no quotation marks around anything."""
    lines = ["\t".join(rows[0])]
    lines += ["\t".join("" if v is None else str(v) for v in row.values()) for row in rows]
    return ("\n".join(lines) + "\n").encode()


def as_arrow(rows: list[dict]) -> pyarrow.Table:
    """Return rows with the types of the common data model."""
    columns = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if name.endswith("_datetime"):
            values = [value and datetime.fromisoformat(value) for value in values]
        elif name.endswith("_date"):
            values = [value and date.fromisoformat(value) for value in values]
        elif name == "visit_occurrence_id":  # what pandas makes of integers with gaps
            values = [value and float(value) for value in values]
        columns[name] = pyarrow.array(values)
    return pyarrow.table(columns)


class Export:
    """The conversion; concepts are numbered as they are met."""

    def __init__(self, mimic: Path) -> None:
        self.mimic = mimic
        self.concepts: dict[tuple[str, str], dict] = {}
        self.relationships: list[dict] = []
        self.ancestors: list[dict] = []
        self.atc = _ingredient_codes()
        self.admissions = self.read("admissions")
        self.outpatient: dict[str, int] = {}  # patient → a visit outside the hospital
        self.concept("None", "No matching concept", "0", "Undefined", number=0)
        for number, name in (*VISITS.items(), *ETHNICITIES.items(), *RACES.values()):
            self.concept("Visit", name, str(number), "Visit", number=number)
        for number, (name, _) in ROUTES.items():
            self.concept("SNOMED", name, str(number), "Qualifier Value", number=number)
        self.tables = {
            "visit_occurrence": self.visits(),
            "person": self.persons(),
            "condition_occurrence": self.conditions(),
            "procedure_occurrence": self.procedures(),
            "drug_exposure": self.exposures(),
            "concept": list(self.concepts.values()),
            "concept_relationship": self.relationships,
            "concept_ancestor": self.ancestors,
        }

    def read(self, name: str) -> list[dict[str, str]]:
        """Return the rows of a MIMIC table."""
        path = next(self.mimic.glob(f"{name}.csv*"))
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def concept(
        self, vocabulary: str, name: str, code: str, kind: str, number: int | None = None
    ) -> int:
        """Return the number of a concept, which is made at the first call."""
        if (vocabulary, code) not in self.concepts:
            self.concepts[vocabulary, code] = {
                "concept_id": 1_000_000 + len(self.concepts) if number is None else number,
                "concept_name": name,
                "domain_id": "Metadata",
                "vocabulary_id": vocabulary,
                "concept_class_id": kind,
                "standard_concept": None,
                "concept_code": code,
            }
        return self.concepts[vocabulary, code]["concept_id"]

    def maps_to(self, source: int, standard: int) -> None:
        """Relate two concepts, both ways, as the vocabulary does."""
        for one, two, name in ((source, standard, "Maps to"), (standard, source, "Mapped from")):
            row = {"concept_id_1": one, "concept_id_2": two, "relationship_id": name}
            if row not in self.relationships[-200:]:
                self.relationships.append(row | {"invalid_reason": None})

    def persons(self) -> list[dict]:
        races = {row["subject_id"]: row["race"] for row in reversed(self.admissions)}
        return [
            {
                "person_id": int(row["subject_id"]),
                "gender_concept_id": {"M": 8507, "F": 8532}.get(row["gender"], 0),
                "year_of_birth": int(row["anchor_year"]) - int(row["anchor_age"]),
                "month_of_birth": None,
                "day_of_birth": None,
                **_race(races.get(row["subject_id"], "")),
            }
            for row in self.read("patients")
        ]

    def visits(self) -> list[dict]:
        rows = [
            _visit(
                int(row["hadm_id"]),
                int(row["subject_id"]),
                _visit_concept(row["admission_type"]),
                datetime.fromisoformat(row["admittime"]),
                datetime.fromisoformat(row["dischtime"]),
            )
            for row in self.admissions
        ]
        for row in rows[:]:
            if row["person_id"] not in self.outpatient:
                self.outpatient[row["person_id"]] = 90_000_000 + len(self.outpatient)
                day = datetime.fromisoformat(row["visit_start_datetime"]) - timedelta(days=40)
                rows.append(
                    _visit(self.outpatient[row["person_id"]], row["person_id"], 9202, day, day)
                )
        return rows

    def conditions(self) -> list[dict]:
        titles = self.titles("d_icd_diagnoses")
        rows = []
        # The first diagnosis is written last in its visit: it is known by its status alone.
        entries = self.read("diagnoses_icd")
        entries.sort(
            key=lambda row: (int(row["hadm_id"]), row["seq_num"] == "1", int(row["seq_num"]))
        )
        for entry in entries:
            version, code = entry["icd_version"], entry["icd_code"]
            name = titles.get((version, code), code)
            vocabulary = "ICD10CM" if version == "10" else "ICD9CM"
            source = self.concept(vocabulary, name, _dotted(version, code), "4-char billing code")
            clinical = [self.concept("SNOMED", f"{name} (SNOMED)", f"{version}{code}", "Disorder")]
            if code.startswith(TWO_STANDARDS):
                clinical.append(self.concept("SNOMED", "Diabetes mellitus", "73211009", "Disorder"))
            for standard in clinical:
                self.maps_to(source, standard)
                rows.append(
                    _condition(
                        len(rows) + 1,
                        int(entry["subject_id"]),
                        int(entry["hadm_id"]),
                        standard,
                        source,
                        _dotted(version, code),
                        entry["seq_num"] == "1",
                        self.day(entry["hadm_id"]),
                    )
                )
        for person, visit in self.outpatient.items():
            source = self.concept("ICD10CM", "Encounter for examination", "Z00.00", "billing code")
            standard = self.concept("SNOMED", "General examination", "162673000", "Procedure")
            self.maps_to(source, standard)
            rows.append(
                _condition(
                    len(rows) + 1, person, visit, standard, source, "Z00.00", True, "2100-01-01"
                )
            )
        return rows

    def procedures(self) -> list[dict]:
        titles = self.titles("d_icd_procedures")
        rows = []
        entries = self.read("procedures_icd")
        entries.sort(key=lambda row: (int(row["hadm_id"]), int(row["seq_num"])))
        for entry in entries:
            version, code = entry["icd_version"], entry["icd_code"]
            vocabulary = "ICD10PCS" if version == "10" else "ICD9Proc"
            written = code if version == "10" else f"{code[:2]}.{code[2:]}".rstrip(".")
            name = titles.get((version, code), code)
            source = self.concept(vocabulary, name, written, "ICD code")
            standard = self.concept("SNOMED", f"{name} (SNOMED)", f"P{version}{code}", "Procedure")
            self.maps_to(source, standard)
            rows.append(
                {
                    "procedure_occurrence_id": len(rows) + 1,
                    "person_id": int(entry["subject_id"]),
                    "procedure_concept_id": standard,
                    "procedure_date": self.day(entry["hadm_id"]),
                    "visit_occurrence_id": int(entry["hadm_id"]),
                    "procedure_source_value": written,
                    "procedure_source_concept_id": source,
                }
            )
        return rows

    def exposures(self) -> list[dict]:
        routes = {
            route: number
            for number, (_, written) in ROUTES.items()
            for route in (written.split(",") if "," in written else written.split())
        }
        rows = []
        for entry in self.read("prescriptions"):
            match = drugs.match(entry["drug"], entry["route"], entry["drug_type"])
            if entry["drug_type"] == "BASE" and match.kind != "mapped":
                continue
            route = routes.get(entry["route"], 0)
            start = entry["starttime"] or self.start(entry["hadm_id"]).isoformat(" ")
            rows.append(
                {
                    "drug_exposure_id": len(rows) + 1,
                    "person_id": int(entry["subject_id"]),
                    "drug_concept_id": self.drug(match),
                    "drug_exposure_start_date": start[:10],
                    "drug_exposure_start_datetime": start,
                    "visit_occurrence_id": int(entry["hadm_id"]),
                    "drug_source_value": entry["drug"],
                    "drug_source_concept_id": 0,
                    "route_concept_id": route,
                    "route_source_value": entry["route"] or None,
                }
            )
        return rows

    def drug(self, match: drugs.DrugMatch) -> int:
        """Return the RxNorm concept of what a name stands for; 0 for what is no known drug.

        Its ancestors are all ATC codes of its ingredients, whatever the route, with the classes
        above them.
        """
        if match.kind != "mapped":
            return 0
        name = match.ingredient.replace(" + ", " / ")
        known = ("RxNorm", name) in self.concepts
        number = self.concept("RxNorm", name, name, "Ingredient")
        codes = {code for part in match.ingredient.split(" + ") for code in self.atc[part]}
        for code in () if known else sorted({code[:n] for code in codes for n in ATC_CLASSES}):
            atc = self.concept("ATC", f"class {code}", code, ATC_CLASSES[len(code)])
            self.ancestors.append(
                {
                    "ancestor_concept_id": atc,
                    "descendant_concept_id": number,
                    "min_levels_of_separation": 1,
                    "max_levels_of_separation": 3,
                }
            )
        return number

    def titles(self, name: str) -> dict[tuple[str, str], str]:
        """Return (version, code) → title."""
        return {(row["icd_version"], row["icd_code"]): row["long_title"] for row in self.read(name)}

    def start(self, visit: str) -> datetime:
        """Return when an admission began."""
        row = next(row for row in self.admissions if row["hadm_id"] == visit)
        return datetime.fromisoformat(row["admittime"])

    def day(self, visit: str) -> str:
        """Return the date on which an admission began."""
        return self.start(visit).date().isoformat()


def _visit(number: int, person: int, concept: int, start: datetime, end: datetime) -> dict:
    return {
        "visit_occurrence_id": number,
        "person_id": person,
        "visit_concept_id": concept,
        "visit_start_date": start.date().isoformat(),
        "visit_start_datetime": start.isoformat(" "),
        "visit_end_date": end.date().isoformat(),
        "visit_end_datetime": end.isoformat(" "),
    }


def _visit_concept(admission_type: str) -> int:
    if "OBSERVATION" in admission_type:
        return 581385
    return 262 if "EMER" in admission_type or admission_type == "URGENT" else 9201


def _condition(number, person, visit, standard, source, code, primary, day) -> dict:
    return {
        "condition_occurrence_id": number,
        "person_id": person,
        "condition_concept_id": standard,
        "condition_start_date": day,
        "condition_status_concept_id": 32902 if primary else 32908,
        "visit_occurrence_id": visit,
        "condition_source_value": code,
        "condition_source_concept_id": source,
    }


def _race(race: str) -> dict:
    number = next((known[0] for start, known in RACES.items() if race.startswith(start)), 0)
    return {
        "race_concept_id": number,
        "ethnicity_concept_id": 38003563 if race.startswith("HISPANIC") else 38003564,
        "race_source_value": race or None,
    }


def _dotted(version: str, code: str) -> str:
    """Return a diagnosis as ICD writes it."""
    stem = 4 if version == "9" and code.startswith("E") else 3
    return f"{code[:stem]}.{code[stem:]}".rstrip(".")


def _ingredient_codes() -> dict[str, list[str]]:
    """Return ingredient → all its ATC codes, from the engine's own table."""
    path = ROOT / "engine" / "terminology" / "data" / "ingredients.csv"
    codes = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            for entry in row["atc"].split():
                codes[row["ingredient"]] += entry.partition("@")[0].split("+")
    return codes
