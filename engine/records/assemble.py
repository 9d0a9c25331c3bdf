"""From a source's six tables to patients, visits and counts: every rule about rows, in SQL.

Each step makes a table `checked_…` in which `problem` says why a row is left out, or is NULL. A
bad row is counted under its reason and never stops the ingest; nothing is filled from another row.
"""

import duckdb
import pyarrow

from engine.records.funnel import TableCount
from engine.records.source import Source
from engine.terminology import drugs

OLDEST_AGE = 130  # years; beyond it the birth date or the admission is wrong
FIRST_YEAR, LAST_YEAR = 1800, 2500  # de-identified dates lie in the future
COUNTED = ("patients", "admissions", "diagnoses", "procedures", "prescriptions")

# Ways in which records say that they do not know, compared in capitals.
NOT_KNOWN = (
    "?",
    "-",
    "___",
    "N/A",
    "NA",
    "NAN",
    "NULL",
    "DECLINED TO ANSWER",
    "NOT SPECIFIED",
    "PATIENT DECLINED TO ANSWER",
    "UNABLE TO OBTAIN",
    "UNKNOWN",
    "UNKNOWN (DEFAULT)",
    "UNKNOWN/NOT SPECIFIED",
    "UNOBTAINABLE",
)

MACROS = f"""
CREATE MACRO as_text(x) AS nullif(trim(x, E' \\t\\r\\n'), '');
CREATE MACRO as_identifier(x) AS regexp_replace(as_text(x), '^(\\d+)\\.0+$', '\\1');
CREATE MACRO as_code(x) AS upper(replace(as_text(x), '.', ''));
CREATE MACRO as_known(x) AS
    CASE WHEN upper(as_text(x)) NOT IN {NOT_KNOWN} THEN as_text(x) END;
CREATE MACRO as_sex(x) AS
    CASE upper(as_text(x)) WHEN 'F' THEN 'F' WHEN 'FEMALE' THEN 'F'
                           WHEN 'M' THEN 'M' WHEN 'MALE' THEN 'M' END;
CREATE MACRO as_time(x) AS
    CASE WHEN year(TRY_CAST(as_text(x) AS TIMESTAMP)) BETWEEN {FIRST_YEAR} AND {LAST_YEAR}
         THEN TRY_CAST(as_text(x) AS TIMESTAMP) END;
"""

PATIENTS = """
CREATE TABLE checked_patients AS
WITH cleaned AS (
    SELECT as_identifier(patient_id) AS patient_id, as_sex(sex) AS sex, birth_date,
           as_known(sex) IS NOT NULL AND as_sex(sex) IS NULL AS odd_sex
    FROM source.patients)
SELECT *, CASE
        WHEN patient_id IS NULL THEN 'no patient id'
        WHEN row_number() OVER (PARTITION BY patient_id ORDER BY sex, birth_date, odd_sex) > 1
            THEN 'the patient is there already'
    END AS problem
FROM cleaned;
"""

# The same admission twice: the sound one is kept, and of two sound ones the first in this order,
# so that the order of the rows in the file plays no part.
ADMISSIONS = f"""
CREATE TABLE checked_admissions AS
WITH cleaned AS (
    SELECT as_identifier(patient_id) AS patient_id, as_identifier(visit_id) AS visit_id,
           as_time(admit_time) AS admit_time, as_time(discharge_time) AS discharge_time,
           as_text(discharge_time) IS NOT NULL AND as_time(discharge_time) IS NULL AS odd_discharge,
           as_known(insurance) AS insurance, as_known(language) AS language,
           as_known(marital_status) AS marital_status, as_known(race) AS race,
           as_known(admission_type) AS admission_type
    FROM source.admissions),
judged AS (
    SELECT cleaned.*, patient.sex,
           date_sub('year', patient.birth_date, admit_time::DATE) AS years,
           CASE
               WHEN cleaned.visit_id IS NULL THEN 'no admission id'
               WHEN cleaned.patient_id IS NULL THEN 'no patient id'
               WHEN patient.patient_id IS NULL THEN 'the patient is not in the patients table'
               WHEN admit_time IS NULL THEN 'admission time is missing or not a time'
           END AS fault
    FROM cleaned
    LEFT JOIN (SELECT * FROM checked_patients WHERE problem IS NULL) AS patient USING (patient_id))
SELECT patient_id, visit_id, admit_time,
       CASE WHEN discharge_time >= admit_time THEN discharge_time END AS discharge_time,
       CASE WHEN years BETWEEN 0 AND {OLDEST_AGE} THEN years::INTEGER END AS age,
       sex, insurance, language, marital_status, race, admission_type,
       odd_discharge,
       coalesce(discharge_time < admit_time, false) AS early_discharge,
       coalesce(years NOT BETWEEN 0 AND {OLDEST_AGE}, false) AS odd_age,
       coalesce(fault, CASE WHEN row_number() OVER (
           PARTITION BY visit_id, fault IS NULL
           ORDER BY admit_time, patient_id, discharge_time, insurance, language, marital_status,
                    race, admission_type) > 1
           THEN 'the admission is there already' END) AS problem
FROM judged;
CREATE TABLE admissions_by_id AS
SELECT visit_id, bool_or(problem IS NULL) AS is_kept,
       max(patient_id) FILTER (WHERE problem IS NULL) AS patient_id
FROM checked_admissions WHERE visit_id IS NOT NULL GROUP BY visit_id;
"""

NO_PLACE = """
    WHEN entry.visit_id IS NULL THEN 'no admission id'
    WHEN admission.visit_id IS NULL THEN 'the admission is not in the admissions table'
    WHEN NOT admission.is_kept THEN 'its admission was dropped'
    WHEN entry.patient_id <> admission.patient_id THEN 'its admission is another patient''s'
"""

CODES = """
CREATE TABLE checked_{kind} AS
WITH entry AS (
    SELECT as_identifier(patient_id) AS patient_id, as_identifier(visit_id) AS visit_id,
           TRY_CAST(as_text(sequence) AS DOUBLE) AS sequence,
           as_identifier(version) AS version, as_code(code) AS code
    FROM source.{kind}),
judged AS (
    SELECT entry.visit_id, sequence, version || ':' || code AS code, CASE {no_place}
            WHEN code IS NULL THEN 'no code'
            WHEN version IS NULL OR version NOT IN ('9', '10') THEN 'ICD version is not 9 or 10'
        END AS fault
    FROM entry LEFT JOIN admissions_by_id AS admission USING (visit_id))
SELECT visit_id, sequence, code,
       coalesce(fault, CASE WHEN row_number() OVER (
           PARTITION BY visit_id, code, fault IS NULL ORDER BY sequence NULLS LAST) > 1
           THEN 'the code is there already for this admission' END) AS problem
FROM judged;
CREATE TABLE {kind}_by_visit AS
SELECT visit_id, list(code ORDER BY sequence NULLS LAST, code) AS codes
FROM checked_{kind} WHERE problem IS NULL GROUP BY visit_id;
"""

DRUG_NAMES = """
SELECT DISTINCT as_text(drug), as_text(route), as_text(drug_type)
FROM source.prescriptions WHERE as_text(drug) IS NOT NULL ORDER BY ALL
"""

PRESCRIPTIONS = """
CREATE TABLE checked_prescriptions AS
WITH entry AS (
    SELECT as_identifier(patient_id) AS patient_id, as_identifier(visit_id) AS visit_id,
           as_text(drug) AS drug, as_text(route) AS route, as_text(drug_type) AS drug_type
    FROM source.prescriptions)
SELECT entry.visit_id, entry.drug, drug_map.kind, drug_map.number, CASE {no_place}
        WHEN entry.drug IS NULL THEN 'no drug name'
        WHEN drug_map.kind = 'non_drug' THEN 'vehicle, flush, device or supply'
        WHEN drug_map.kind = 'unmapped' THEN 'drug name not recognised'
    END AS problem
FROM entry
LEFT JOIN admissions_by_id AS admission USING (visit_id)
LEFT JOIN drug_map ON entry.drug = drug_map.drug AND entry.route IS NOT DISTINCT FROM drug_map.route
                  AND entry.drug_type IS NOT DISTINCT FROM drug_map.drug_type;
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

# The columns of visits.parquet, in the order of `engine.records.schema.Visit`.
VISITS = """
CREATE TABLE visits AS
SELECT admission.patient_id, admission.visit_id, admit_time, discharge_time, age, sex,
       insurance, language, marital_status, race, admission_type,
       coalesce(diagnoses_by_visit.codes, []) AS diagnoses,
       coalesce(procedures_by_visit.codes, []) AS procedures,
       coalesce(medications_by_visit.codes, []) AS medications,
       coalesce(drugs_by_visit.names, []) AS drugs
FROM checked_admissions AS admission
LEFT JOIN diagnoses_by_visit USING (visit_id)
LEFT JOIN procedures_by_visit USING (visit_id)
LEFT JOIN medications_by_visit USING (visit_id)
LEFT JOIN drugs_by_visit USING (visit_id)
WHERE problem IS NULL;
UPDATE checked_patients SET problem = 'no admission on record'
WHERE problem IS NULL AND patient_id NOT IN (SELECT patient_id FROM visits);
"""

TITLES = """
SELECT kind, as_identifier(version) || ':' || as_code(code) AS code, min(as_text(title)) AS title
FROM source.titles
WHERE as_text(title) IS NOT NULL AND (
    (kind = 'diagnosis' AND as_identifier(version) || ':' || as_code(code)
        IN (SELECT unnest(diagnoses) FROM visits))
    OR (kind = 'procedure' AND as_identifier(version) || ':' || as_code(code)
        IN (SELECT unnest(procedures) FROM visits)))
GROUP BY ALL ORDER BY ALL
"""


def views(connection: duckdb.DuckDBPyConnection, source: Source) -> None:
    """Offer the source's six tables as views `source.…`, and the rules for single values."""
    connection.execute(MACROS)
    connection.execute("CREATE SCHEMA source")
    for place in (*COUNTED, "titles"):
        connection.execute(f"CREATE VIEW source.{place} AS {getattr(source, place).select}")


def patients_and_admissions(connection: duckdb.DuckDBPyConnection) -> None:
    """Check who was there, and when."""
    connection.execute(PATIENTS)
    connection.execute(ADMISSIONS)


def codes(connection: duckdb.DuckDBPyConnection, kind: str) -> None:
    """Check the `diagnoses` or `procedures` and list them per visit."""
    connection.execute(CODES.format(kind=kind, no_place=NO_PLACE))


def medications(connection: duckdb.DuckDBPyConnection) -> None:
    """Map each distinct drug name once, check the prescriptions and list them per visit."""
    names = connection.execute(DRUG_NAMES).fetchall()
    matches = [drugs.match(*name) for name in names]
    text, group_list = pyarrow.string(), pyarrow.list_(pyarrow.string())
    drug_map = pyarrow.table(
        {
            "number": pyarrow.array(range(len(names)), pyarrow.int32()),
            "drug": pyarrow.array([name[0] for name in names], text),
            "route": pyarrow.array([name[1] for name in names], text),
            "drug_type": pyarrow.array([name[2] for name in names], text),
            "kind": pyarrow.array([match.kind for match in matches], text),
            "atc_groups": pyarrow.array([list(match.groups) for match in matches], group_list),
        }
    )
    connection.register("mapped_names", drug_map)
    connection.execute("CREATE TABLE drug_map AS SELECT * FROM mapped_names")
    connection.unregister("mapped_names")
    connection.execute(PRESCRIPTIONS.format(no_place=NO_PLACE))


def visits(connection: duckdb.DuckDBPyConnection) -> None:
    """Join everything into the table `visits`; patients without one are left out."""
    connection.execute(VISITS)


def titles(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """Return kind → code → title, for the codes that occur in the cohort."""
    found: dict[str, dict[str, str]] = {"diagnosis": {}, "procedure": {}}
    for kind, code, title in connection.execute(TITLES).fetchall():
        found[kind][code] = title
    return found


def count(
    connection: duckdb.DuckDBPyConnection, place: str, name: str, bad_lines: dict[str, int]
) -> TableCount:
    """Return the funnel of one of the checked tables; `bad_lines` never became rows."""
    rows = dict(
        connection.execute(
            f"SELECT problem, count(*) FROM checked_{place} GROUP BY problem ORDER BY problem"
        ).fetchall()
    )
    kept = rows.pop(None, 0)
    return TableCount(
        table=name,
        read=kept + sum(rows.values()) + sum(bad_lines.values()),
        kept=kept,
        dropped={**bad_lines, **rows},
        emptied=_emptied(connection, place),
    )


def mapping(connection: duckdb.DuckDBPyConnection) -> tuple[dict[str, int], list[tuple[str, int]]]:
    """Return prescription rows by how their name was understood, and the unmapped names."""
    kinds = {"mapped": 0, "non_drug": 0, "unmapped": 0}
    kinds |= dict(
        connection.execute(
            "SELECT kind, count(*) FROM checked_prescriptions WHERE kind IS NOT NULL GROUP BY kind"
        ).fetchall()
    )
    unmapped = connection.execute(
        "SELECT drug, count(*) FROM checked_prescriptions WHERE kind = 'unmapped' "
        "GROUP BY drug ORDER BY count(*) DESC, drug LIMIT 100"
    ).fetchall()
    return kinds, unmapped


def _emptied(connection: duckdb.DuckDBPyConnection, place: str) -> dict[str, int]:
    reasons = {
        "patients": {"odd_sex": "sex left empty: neither F nor M"},
        "admissions": {
            "odd_discharge": "discharge time left empty: not a time",
            "early_discharge": "discharge time left empty: before admission",
            "odd_age": f"age left empty: not within 0-{OLDEST_AGE} years",
        },
    }.get(place, {})
    counts = {
        reason: connection.execute(
            f"SELECT count(*) FROM checked_{place} WHERE problem IS NULL AND {column}"
        ).fetchone()[0]
        for column, reason in reasons.items()
    }
    return {reason: rows for reason, rows in counts.items() if rows}
