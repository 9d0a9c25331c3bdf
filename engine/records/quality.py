"""What there is to know about the data of a cohort before a model learns from it, in numbers.

`facts` counts, in SQL, while the tables of an ingest are still open; what it returns is written
to `quality.json` and drawn by `engine.records.quality_report`. It holds counts, titles of codes
and frequent drug names: no id, no date finer than a year, no extreme of one person (the last bar
of every distribution is "so many or more"). Drug names are free text; what is shown of them is
decided in `engine.records.funnel`. Only whole numbers are added up, so that the same input gives
the same bytes however the work is shared between cores.
"""

from collections.abc import Iterable, Mapping

import duckdb

from engine.records import quality_codes
from engine.records.funnel import Funnel
from engine.records.medications import IN_COHORT
from engine.records.options import IngestOptions
from engine.records.schema import PROFILE_FIELDS, age_band
from engine.records.splits import SPLITS
from engine.records.vocabulary import Vocabulary

KINDS = ("diagnoses", "procedures", "medications")
UNMAPPED_NAMES = 40  # drug names that are listed
AGAINST = "code against the name"  # so begins a rule of `engine.terminology.drugs`
# A distribution ends with "so many or more", so that no single patient stands out.
MOST_VISITS = 20
MOST_CODES = {"diagnoses": 40, "procedures": 20, "medications": 60}
MOST_DAYS = 30
LONGEST_STAY = 365  # days; beyond it a stay is pointed out
MINUTES = 24 * 60  # of a day
LONG_BEFORE, LONG_AFTER = 7, 1  # days from admission, discharge to the start of a prescription
EARLIEST_YEAR = 1950  # before it no hospital kept such records
FAR_YEARS = 75  # from the median year of admission; de-identified dates are spread widely


def facts(
    connection: duckdb.DuckDBPyConnection,
    funnel: Funnel,
    vocabulary: Vocabulary,
    titles: Mapping[str, Mapping[str, str]],
    source: str,
    options: IngestOptions,
) -> dict:
    """Return plain JSON values about an ingest whose tables `checked_…`, `visits`, `splits` stand.

    `titles` are the source's own, as in `titles.json`; `source` is its name. The same input and
    options give the same facts.
    """
    codes = {kind: quality_codes.counts(connection, kind) for kind in KINDS}
    return {
        "source": source,
        "options": options.to_dict(),
        "patients": funnel.patients,
        "visits": funnel.visits,
        "labelled_visits": funnel.labelled_visits,
        "first_visits": funnel.first_visits,
        "tables": [
            {
                "table": table.table,
                "read": table.read,
                "kept": table.kept,
                "dropped": _largest_first(table.dropped),
                "emptied": _largest_first(table.emptied),
            }
            for table in funnel.tables
        ],
        "absent": list(funnel.absent),
        "missing": _missing(connection, options),
        "visits_per_patient": _distribution(
            connection,
            "SELECT count(*) AS number FROM visits GROUP BY patient_id",
            MOST_VISITS,
        ),
        "codes_per_visit": {
            kind: _distribution(
                connection, f"SELECT len({kind}) AS number FROM visits", MOST_CODES[kind]
            )
            for kind in KINDS
        },
        "ages": _ages(connection),
        "stays": _distribution(
            connection,
            f"SELECT date_sub('minute', admit_time, discharge_time) // {MINUTES} AS number "
            "FROM visits WHERE discharge_time IS NOT NULL",
            MOST_DAYS,
        ),
        "codes": {kind: quality_codes.frequency(kind, codes[kind], titles) for kind in KINDS},
        "titles": {
            kind: quality_codes.title_coverage(kind, codes[kind], titles)
            for kind in quality_codes.SINGULAR
        },
        "crosswalk": quality_codes.translation(connection) if options.icd10 else None,
        "vocabulary": {kind: len(getattr(vocabulary, kind)) for kind in KINDS},
        "drugs": _drugs(connection, funnel),
        "years": _years(connection),
        "splits": _splits(connection, codes, vocabulary),
        "times": _times(connection, funnel),
    }


def _missing(connection: duckdb.DuckDBPyConnection, options: IngestOptions) -> list[dict]:
    """Count the empty values of every field; `off` says that someone asked for it to be empty."""
    off = {"age" if field == "age_band" else field for field in options.profile_off}
    columns = [field for field in PROFILE_FIELDS if field not in ("age_band", "sex")]
    fields = ("age", "sex", *columns, "discharge_time")
    counted = [f"count(*) FILTER (WHERE {field} IS NULL)" for field in fields]
    counted += [f"count(*) FILTER (WHERE len({kind}) = 0)" for kind in KINDS]
    visits, *empty = connection.execute(
        f"SELECT count(*), {', '.join(counted)} FROM visits"
    ).fetchone()
    rows = [
        {"field": field, "of": "visits", "rows": visits, "missing": missing, "off": field in off}
        for field, missing in zip((*fields, *KINDS), empty, strict=True)
    ]
    prescriptions, routes, starts = connection.execute("""
        SELECT count(*), count(*) FILTER (WHERE drug_map.route IS NULL), count(start_time)
        FROM checked_prescriptions JOIN drug_map USING (number) WHERE problem IS NULL
    """).fetchone()
    for field, missing in (("route", routes), ("start_time", prescriptions - starts)):
        row = {"field": field, "of": "prescriptions", "rows": prescriptions, "missing": missing}
        rows.append(row | {"off": False})
    return rows


def _distribution(connection: duckdb.DuckDBPyConnection, numbers: str, most: int) -> dict:
    """Return how often each `number` occurs; the last stands for itself and all above."""
    counts = connection.execute(
        f"SELECT number, count(*) FROM ({numbers}) GROUP BY number ORDER BY number"
    ).fetchall()
    capped: dict[int, int] = {}
    for number, times in counts:
        capped[min(number, most)] = capped.get(min(number, most), 0) + times
    return {
        "counts": [list(pair) for pair in sorted(capped.items())],
        "most": most,
        "median": _median(counts),
    }


def _ages(connection: duckdb.DuckDBPyConnection) -> dict:
    """Return the visits of each decade of age and sex, and the median age."""
    rows = connection.execute(
        "SELECT age, sex, count(*) FROM visits GROUP BY ALL ORDER BY age, sex"
    ).fetchall()
    bands: dict[str, dict[str, int]] = {}
    for age, sex, times in rows:
        if age is not None:
            band = bands.setdefault(age_band(age), {"F": 0, "M": 0, "unknown": 0})
            band[sex or "unknown"] += times
    known = [(age, times) for age, _, times in rows if age is not None]
    return {
        "bands": [{"band": band, **counts} for band, counts in bands.items()],
        "median": _median(known),
        "unknown": sum(times for age, _, times in rows if age is None),
    }


def _drugs(connection: duckdb.DuckDBPyConnection, funnel: Funnel) -> dict:
    """Return how the drug names of the cohort's visits were understood, by rows and by names."""
    connection.execute(f"""
        CREATE TEMP TABLE understood AS SELECT kind, rule, drug, rows FROM drug_map JOIN (
            SELECT number, count(*) AS rows FROM checked_prescriptions
            WHERE number IS NOT NULL AND {IN_COHORT} GROUP BY number) USING (number)
    """)
    names = dict(
        connection.execute(
            "SELECT kind, count(DISTINCT drug) FROM understood GROUP BY kind ORDER BY kind"
        ).fetchall()
    )
    rules: dict[tuple[str, str], int] = {}
    for kind, rule, rows in connection.execute(
        "SELECT kind, rule, sum(rows)::BIGINT FROM understood GROUP BY ALL ORDER BY ALL"
    ).fetchall():
        key = kind, _rule(rule)
        rules[key] = rules.get(key, 0) + rows
    contradicted = connection.execute(
        "SELECT count(DISTINCT drug), coalesce(sum(rows), 0)::BIGINT FROM understood "
        f"WHERE starts_with(rule, '{AGAINST}')"
    ).fetchone()
    connection.execute("DROP TABLE understood")
    rarer = funnel.rarer(UNMAPPED_NAMES)
    return {
        "rows": {kind: funnel.mapping[kind] for kind in ("mapped", "non_drug", "unmapped")},
        "names": {kind: names.get(kind, 0) for kind in ("mapped", "non_drug", "unmapped")},
        "rules": [
            {"kind": kind, "rule": rule, "rows": rows}
            for (kind, rule), rows in sorted(
                rules.items(), key=lambda item: (item[0][0], -item[1], item[0][1])
            )
        ],
        "contradicted": dict(zip(("names", "rows"), contradicted, strict=True)),
        "unmapped": [list(name) for name in funnel.unmapped[:UNMAPPED_NAMES]],
        "rarer": dict(zip(("names", "rows"), rarer, strict=True)),
    }


def _years(connection: duckdb.DuckDBPyConnection) -> list[dict]:
    """Return visits, and diagnoses as written in either ICD version, by year of admission."""
    years = {
        year: {"year": year, "visits": visits, "icd9": 0, "icd10": 0}
        for year, visits in connection.execute(
            "SELECT year(admit_time)::INTEGER, count(*) FROM visits GROUP BY 1 ORDER BY 1"
        ).fetchall()
    }
    for year, icd9, icd10 in connection.execute("""
        SELECT year(admit_time)::INTEGER, count(*) FILTER (WHERE starts_with(written, '9:')),
               count(*) FILTER (WHERE starts_with(written, '10:'))
        FROM (SELECT visit_id, written FROM checked_diagnoses WHERE problem IS NULL)
        JOIN visits USING (visit_id) GROUP BY 1
    """).fetchall():
        years[year] |= {"icd9": icd9, "icd10": icd10}
    return list(years.values())


def _splits(
    connection: duckdb.DuckDBPyConnection,
    codes: dict[str, dict[str, dict[str, int]]],
    vocabulary: Vocabulary,
) -> list[dict]:
    """Return the size of each split and how much of it the vocabulary does not know."""
    sizes = {
        split: (patients, visits, labelled)
        for split, patients, visits, labelled in connection.execute("""
            SELECT split, count(DISTINCT patient_id), count(*),
                   count(*) FILTER (WHERE len(diagnoses) > 0 AND len(medications) > 0)
            FROM visits JOIN splits USING (patient_id) GROUP BY split
        """).fetchall()
    }
    places = []
    for split in SPLITS:
        patients, visits, labelled = sizes.get(split, (0, 0, 0))
        place = {"split": split, "patients": patients, "visits": visits, "labelled": labelled}
        for kind in KINDS:
            known = set(getattr(vocabulary, kind))
            there = {code: counts[split] for code, counts in codes[kind].items() if split in counts}
            new = {code: rows for code, rows in there.items() if code not in known}
            # Training patients have these; a limit of the vocabulary left them out.
            limited = {code: rows for code, rows in new.items() if "train" in codes[kind][code]}
            place[kind] = {
                "codes": len(there),
                "rows": sum(there.values()),
                "unknown_codes": len(new),
                "unknown_rows": sum(new.values()),
                "limited_rows": sum(limited.values()),
            }
        places.append(place)
    return places


def _times(connection: duckdb.DuckDBPyConnection, funnel: Funnel) -> list[dict]:
    """Count times that cannot be right, or that deserve a look; `of` says what is counted."""
    visits = funnel.visits
    stayed = "date_sub('minute', admit_time, discharge_time)"
    over_a_year, no_time, midnight, odd_year = connection.execute(f"""
        SELECT count(*) FILTER (WHERE {stayed} > {LONGEST_STAY * MINUTES}),
               count(*) FILTER (WHERE discharge_time = admit_time),
               count(*) FILTER (WHERE admit_time = date_trunc('day', admit_time)),
               count(*) FILTER (WHERE year(admit_time) < {EARLIEST_YEAR}
                   OR abs(year(admit_time) - (SELECT quantile_disc(year(admit_time), 0.5)
                                              FROM visits)) > {FAR_YEARS})
        FROM visits
    """).fetchone()
    overlapping, same_instant = connection.execute("""
        SELECT count(*) FILTER (WHERE admit_time < ended),
               count(*) FILTER (WHERE admit_time = before OR admit_time = after)
        FROM (SELECT admit_time,
                     max(discharge_time) OVER (earlier ROWS BETWEEN UNBOUNDED PRECEDING
                                               AND 1 PRECEDING) AS ended,
                     lag(admit_time) OVER earlier AS before,
                     lead(admit_time) OVER earlier AS after
              FROM visits
              WINDOW earlier AS (PARTITION BY patient_id ORDER BY admit_time, visit_id))
    """).fetchone()
    prescriptions, early, late = connection.execute(f"""
        SELECT count(start_time),
               count(*) FILTER (WHERE start_time < admit_time - INTERVAL {LONG_BEFORE} DAY),
               count(*) FILTER (WHERE start_time > discharge_time + INTERVAL {LONG_AFTER} DAY)
        FROM (SELECT visit_id, start_time FROM checked_prescriptions
              WHERE problem IS NULL AND start_time IS NOT NULL)
        JOIN visits USING (visit_id)
    """).fetchone()
    reported = {
        reason: rows
        for table in funnel.tables
        for reason, rows in (*table.dropped.items(), *table.emptied.items())
    }
    admissions = funnel.tables[1].read  # counted in the order of `assemble.COUNTED`
    counted = (
        ("admission time missing or unreadable", "admissions", admissions,
         reported.get("admission time is missing or not a time", 0)),
        ("discharge before admission", "visits", visits,
         reported.get("discharge time left empty: before admission", 0)),
        ("discharge time unreadable", "visits", visits,
         reported.get("discharge time left empty: not a time", 0)),
        ("age impossible", "visits", visits,
         sum(rows for reason, rows in reported.items() if reason.startswith("age left empty"))),
        ("stay over a year", "visits", visits, over_a_year),
        ("discharge at the moment of admission", "visits", visits, no_time),
        ("overlapping admissions", "visits", visits, overlapping),
        ("two admissions at the same instant", "visits", visits, same_instant),
        ("admission in an odd year", "visits", visits, odd_year),
        ("admission at midnight sharp", "visits", visits, midnight),
        ("prescription long before admission", "prescriptions", prescriptions, early),
        ("prescription after discharge", "prescriptions", prescriptions, late),
    )  # fmt: skip
    return [
        {"what": what, "of": of, "rows": rows, "found": found} for what, of, rows, found in counted
    ]


def _rule(rule: str) -> str:
    """Return the kind of a rule: "name as written; route oral" is one of "name as written"."""
    return rule.partition(";")[0].partition(":")[0].strip()


def _median(counts: Iterable[tuple[int, int]]) -> int | None:
    """Return the lower median of values that come as (value, times), sorted by value."""
    counts = list(counts)
    half = (sum(times for _, times in counts) + 1) // 2
    for value, times in counts:
        half -= times
        if half <= 0:
            return value
    return None


def _largest_first(reasons: Mapping[str, int]) -> list[list]:
    ordered = sorted(reasons.items(), key=lambda reason: (-reason[1], reason[0]))
    return [list(reason) for reason in ordered]
