"""From prescriptions to ATC groups: each distinct drug name is mapped once, then joined back.

Like `engine.records.assemble`, whose tables these build on: a row that is left out says why.
"""

import duckdb

from engine.errors import WorkbenchError
from engine.records.assemble import MISPLACED, NO_PLACE, register
from engine.records.funnel import FEWEST_ROWS, masked
from engine.records.options import IngestOptions
from engine.terminology import drugs, rxnorm

# Without a drug map the NDC plays no part, and is left out so that there are fewer names to map.
# Names are made distinct before they are trimmed: there are far fewer of them than rows.
DRUG_NAMES = """
CREATE VIEW named_prescriptions AS
SELECT as_identifier(patient_id) AS patient_id, as_identifier(visit_id) AS visit_id,
       as_text(drug) AS drug, as_text(route) AS route, as_text(drug_type) AS drug_type,
       as_text({ndc}) AS ndc, as_text(atc_codes) AS atc_codes,
       as_time(start_time) AS start_time, NOT contains(start_time, ':') AS date_only
FROM source.prescriptions;
CREATE TABLE drug_names AS
SELECT row_number() OVER (ORDER BY drug, route, drug_type, ndc, atc_codes)::INTEGER AS number, *
FROM (SELECT DISTINCT as_text(drug) AS drug, as_text(route) AS route,
             as_text(drug_type) AS drug_type, as_text({ndc}) AS ndc, as_text(atc_codes) AS atc_codes
      FROM (SELECT DISTINCT drug, route, drug_type, {ndc} AS ndc, atc_codes
            FROM source.prescriptions))
WHERE drug IS NOT NULL;
"""

# A start date without a time of day counts on the day of admission only: any later may be beyond
# the 24 hours. Orders of the emergency room may be a day older than the admission; those of years
# ago are another stay's, or a slip.
NOT_FIRST_DAY = """
    WHEN entry.start_time IS NULL THEN 'start time is missing or not a time'
    WHEN entry.start_time >= CASE WHEN entry.date_only
        THEN admission.admit_time::DATE ELSE admission.admit_time END + INTERVAL 1 DAY
        THEN 'started later than 24 hours after admission'
    WHEN entry.start_time < admission.admit_time::DATE - INTERVAL 1 DAY
        THEN 'started before the day that precedes admission'
"""

PRESCRIPTIONS = """
CREATE TABLE checked_prescriptions AS
SELECT entry.visit_id, entry.drug, entry.start_time, drug_map.kind, drug_map.number, CASE {no_place}
        WHEN entry.drug IS NULL THEN 'no drug name'
        WHEN drug_map.kind = 'non_drug' THEN 'vehicle, flush, device or supply'
        WHEN drug_map.kind = 'unmapped' THEN 'drug name not recognised'
        {other_day}
    END AS problem
FROM named_prescriptions AS entry
LEFT JOIN admissions_by_id AS admission USING (visit_id)
LEFT JOIN drug_map ON entry.drug = drug_map.drug AND entry.route IS NOT DISTINCT FROM drug_map.route
                  AND entry.drug_type IS NOT DISTINCT FROM drug_map.drug_type
                  AND entry.ndc IS NOT DISTINCT FROM drug_map.ndc
                  AND entry.atc_codes IS NOT DISTINCT FROM drug_map.atc_codes;
CREATE TABLE medications_by_visit AS
SELECT visit_id, list(atc ORDER BY atc) AS codes FROM (
    SELECT DISTINCT visit_id, unnest(atc_groups) AS atc
    FROM (SELECT DISTINCT visit_id, number FROM checked_prescriptions WHERE problem IS NULL)
    JOIN drug_map USING (number))
GROUP BY visit_id;
CREATE TABLE drugs_by_visit AS
SELECT visit_id, list(drug ORDER BY drug) AS names FROM (
    SELECT DISTINCT visit_id, drug FROM checked_prescriptions WHERE problem IS NULL)
GROUP BY visit_id;
"""

# Rows of the cohort's own visits: whatever else is wrong with them, they have a place.
IN_COHORT = f"coalesce(problem NOT IN ({', '.join(MISPLACED.values())}), true)"
LISTED = 100  # names not recognised that are kept


def assemble(connection: duckdb.DuckDBPyConnection, options: IngestOptions) -> None:
    """Map each distinct drug name once, check the prescriptions and list them per visit."""
    ndc_codes = rxnorm.DrugMap.open(options.drug_map).codes if options.drug_map else None
    connection.execute(DRUG_NAMES.format(ndc="ndc" if ndc_codes else "NULL::VARCHAR"))
    names = connection.execute("FROM drug_names ORDER BY number").fetchall()
    if ndc_codes and not any(ndc for *_, ndc, _ in names):
        raise WorkbenchError(
            f"--drug-map {options.drug_map}: no prescription of this export has an NDC, so the map "
            "would change nothing; leave the option out"
        )
    matches = []
    for _, drug, route, drug_type, ndc, atc_codes in names:
        known = tuple(atc_codes.split()) if atc_codes else ()
        if ndc and ndc_codes:
            known = ndc_codes(ndc) or known
        matches.append(drugs.match(drug, route, drug_type, known))
    register(
        connection,
        "drug_matches",
        {
            "kind": [match.kind for match in matches],
            "rule": [match.rule for match in matches],
            "atc_groups": [list(match.groups) for match in matches],
        },
        number=range(1, len(names) + 1),
    )
    connection.execute(
        "CREATE TABLE drug_map AS SELECT * FROM drug_names JOIN drug_matches USING (number)"
    )
    other_day = NOT_FIRST_DAY if options.first_day else ""
    connection.execute(PRESCRIPTIONS.format(no_place=NO_PLACE, other_day=other_day))


def mapping(
    connection: duckdb.DuckDBPyConnection,
) -> tuple[dict[str, int], list[tuple[str, int]], int]:
    """Return the rows of the cohort's visits by how their drug name was understood.

    Then the names that were not, as they may be shown (`masked`, and none that is rare), with
    their rows, the most frequent first; and how many such names there are in all.
    """
    kinds = {"mapped": 0, "non_drug": 0, "unmapped": 0}
    kinds |= dict(
        connection.execute(
            "SELECT kind, count(*) FROM checked_prescriptions "
            f"WHERE kind IS NOT NULL AND {IN_COHORT} GROUP BY kind"
        ).fetchall()
    )
    connection.execute(
        "CREATE TEMP TABLE unmapped_names AS SELECT drug, count(*) AS rows "
        f"FROM checked_prescriptions WHERE kind = 'unmapped' AND {IN_COHORT} GROUP BY drug"
    )
    names = connection.execute("SELECT count(*) FROM unmapped_names").fetchone()[0]
    frequent = connection.execute(
        f"FROM unmapped_names WHERE rows >= {FEWEST_ROWS} ORDER BY rows DESC, drug LIMIT {LISTED}"
    ).fetchall()
    connection.execute("DROP TABLE unmapped_names")
    return kinds, [(masked(name), rows) for name, rows in frequent], names
