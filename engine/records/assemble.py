"""From a source's six tables to patients, visits and counts: every rule about rows, in SQL.

Each step makes a table `checked_…` in which `problem` says why a row is left out, or is NULL. A
bad row is counted under its reason and never stops the ingest; nothing is filled from another row.
"""

import duckdb
import pyarrow

from engine.records.funnel import TableCount
from engine.records.options import IngestOptions
from engine.records.schema import PROFILE_FIELDS
from engine.records.source import Source
from engine.terminology import crosswalk

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

# Ways in which programs write an empty cell, compared in capitals: no id and no code is so called.
NOTHING = "('NULL', '(NULL)', 'NAN', 'NONE', 'NA', 'N/A', '<NA>', '\\N')"
# Around values: spaces of all sorts, also those without width that come along from web pages.
BLANK = " \t\r\n\v\f\u00a0\u2007\u200b\u202f\u3000\ufeff"
# DuckDB reads "1:00 PM" as one in the morning, and knows "epoch" and "infinity" as times.
# An offset from UTC is left aside: a hospital's clock on the wall orders its admissions.
TIME = (
    r"\d{4}[-/]\d{1,2}[-/]\d{1,2}"
    r"([ T]\d{1,2}:\d{2}(:\d{2}(\.\d*)?)?( ?(Z|UTC|[+-]\d{2}(:?\d{2})?))?)?"
)

# An id such as 1.23457E+07 has lost digits in a spreadsheet: it may be anybody's, and is no id.
# What comes first in a CASE is what nearly all of many million values are, and quick to see.
MACROS = rf"""
CREATE MACRO as_text(x) AS
    CASE WHEN regexp_full_match(x, '[!-~]([ -~]*[!-~])?') THEN x
         ELSE nullif(trim(x, '{BLANK}'), '') END;
CREATE MACRO as_present(x) AS CASE WHEN upper(as_text(x)) NOT IN {NOTHING} THEN as_text(x) END;
CREATE MACRO as_identifier(x) AS
    CASE WHEN regexp_full_match(x, '[0-9]+') THEN x
         WHEN regexp_full_match(as_text(x), '[0-9](\.[0-9]+)?[eE]\+[0-9]+') THEN NULL
         ELSE regexp_replace(as_present(x), '^([0-9]+)\.0+$', '\1') END;
CREATE MACRO as_code(x) AS
    CASE WHEN regexp_full_match(x, '[A-Z]?[0-9][0-9A-Z]*') THEN x
         ELSE upper(replace(as_present(x), '.', '')) END;
CREATE MACRO as_known(x) AS
    CASE WHEN upper(as_text(x)) NOT IN {NOT_KNOWN} THEN as_text(x) END;
CREATE MACRO as_sex(x) AS
    CASE upper(as_text(x)) WHEN 'F' THEN 'F' WHEN 'FEMALE' THEN 'F'
                           WHEN 'M' THEN 'M' WHEN 'MALE' THEN 'M' END;
CREATE MACRO as_time(x) AS
    CASE WHEN regexp_full_match(as_text(x), '{TIME}')
              AND year(TRY_CAST(as_text(x) AS TIMESTAMP)) BETWEEN {FIRST_YEAR} AND {LAST_YEAR}
         THEN TRY_CAST(as_text(x) AS TIMESTAMP) END;
"""

PATIENTS = """
CREATE TABLE checked_patients AS
WITH cleaned AS (
    SELECT as_identifier(patient_id) AS patient_id, as_sex(sex) AS sex, birth_date,
           as_known(sex) IS NOT NULL AND as_sex(sex) IS NULL AS odd_sex,
           birth_date IS NULL AS no_birth
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
           as_present(discharge_time) IS NOT NULL
               AND as_time(discharge_time) IS NULL AS odd_discharge,
           as_known(insurance) AS insurance, upper(as_known(language)) AS language,
           upper(as_known(marital_status)) AS marital_status, upper(as_known(race)) AS race,
           upper(as_known(religion)) AS religion, as_known(admission_type) AS admission_type,
           as_text(excluded) AS excluded
    FROM source.admissions),
judged AS (
    SELECT cleaned.*, patient.sex,
           date_sub('year', patient.birth_date, admit_time::DATE) AS years,
           CASE
               WHEN cleaned.visit_id IS NULL THEN 'no admission id'
               WHEN cleaned.patient_id IS NULL THEN 'no patient id'
               WHEN excluded IS NOT NULL THEN excluded
               WHEN patient.patient_id IS NULL THEN 'the patient is not in the patients table'
               WHEN admit_time IS NULL THEN 'admission time is missing or not a time'
           END AS fault
    FROM cleaned
    LEFT JOIN (SELECT * FROM checked_patients WHERE problem IS NULL) AS patient USING (patient_id))
SELECT patient_id, visit_id, admit_time,
       CASE WHEN discharge_time >= admit_time THEN discharge_time END AS discharge_time,
       CASE WHEN years BETWEEN 0 AND {OLDEST_AGE} THEN years::INTEGER END AS age,
       sex, insurance, language, marital_status, race, religion, admission_type,
       odd_discharge,
       coalesce(discharge_time < admit_time, false) AS early_discharge,
       coalesce(years NOT BETWEEN 0 AND {OLDEST_AGE}, false) AS odd_age,
       coalesce(fault, CASE WHEN row_number() OVER (
           PARTITION BY visit_id, fault IS NULL
           ORDER BY admit_time, patient_id, discharge_time, insurance, language, marital_status,
                    race, religion, admission_type, odd_discharge) > 1
           THEN 'the admission is there already' END) AS problem
FROM judged;
UPDATE checked_admissions SET problem = 'the patient has fewer than {{min_visits}} admissions'
WHERE problem IS NULL AND patient_id IN (
    SELECT patient_id FROM checked_admissions WHERE problem IS NULL
    GROUP BY patient_id HAVING count(*) < {{min_visits}});
CREATE TABLE admissions_by_id AS
SELECT visit_id, bool_or(problem IS NULL) AS is_kept,
       max(patient_id) FILTER (WHERE problem IS NULL) AS patient_id,
       max(admit_time) FILTER (WHERE problem IS NULL) AS admit_time
FROM checked_admissions WHERE visit_id IS NOT NULL GROUP BY visit_id;
"""

# When an entry has no place among the kept admissions → the reason it is counted under, as SQL.
MISPLACED = {
    "entry.visit_id IS NULL": "'no admission id'",
    "admission.visit_id IS NULL": "'the admission is not in the admissions table'",
    "NOT admission.is_kept": "'its admission was dropped'",
    "entry.patient_id <> admission.patient_id": "'its admission is another patient''s'",
}
NO_PLACE = " ".join(f"WHEN {condition} THEN {reason}" for condition, reason in MISPLACED.items())

ICD9_CODES = """
SELECT DISTINCT '9:' || as_code(code) FROM source.diagnoses
WHERE as_identifier(version) = '9' AND as_code(code) IS NOT NULL
"""

NOT_ICD = "ICD version is not 9 or 10"
CODES = """
CREATE TABLE checked_{kind} AS
WITH entry AS (
    SELECT as_identifier(patient_id) AS patient_id, as_identifier(visit_id) AS visit_id,
           TRY_CAST(as_text(sequence) AS DOUBLE) AS sequence,
           as_identifier(version) AS version, as_code(code) AS code
    FROM source.{kind}),
judged AS (
    SELECT entry.visit_id, sequence, coalesce(icd10, written) AS code, written, CASE {no_place}
            WHEN code IS NULL THEN 'no code'
            WHEN version IS NULL OR version NOT IN ('9', '10') THEN '{not_icd}'
        END AS fault
    FROM (SELECT *, version || ':' || code AS written FROM entry) AS entry
    LEFT JOIN admissions_by_id AS admission USING (visit_id)
    LEFT JOIN {kind}_crosswalk ON written = icd9)
SELECT visit_id, sequence, code, written,
       coalesce(fault, CASE WHEN row_number() OVER (
           PARTITION BY visit_id, code, fault IS NULL ORDER BY sequence NULLS LAST) > 1
           THEN 'the code is there already for this admission' END) AS problem
FROM judged;
CREATE TABLE {kind}_by_visit AS
SELECT visit_id, list(code ORDER BY sequence NULLS LAST, code) AS codes
FROM checked_{kind} WHERE problem IS NULL GROUP BY visit_id;
"""

# The columns of visits.parquet, in the order of `engine.records.schema.Visit`. A profile field that
# is switched off is left empty.
VISITS = """
CREATE TABLE visits AS
SELECT admission.patient_id, admission.visit_id, admit_time, discharge_time, {profile},
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
UPDATE checked_patients SET problem = CASE
    WHEN patient_id IN (SELECT patient_id FROM checked_admissions)
    THEN 'none of the admissions was kept' ELSE 'no admission on record' END
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


def patients_and_admissions(connection: duckdb.DuckDBPyConnection, options: IngestOptions) -> None:
    """Check who was there, and when."""
    connection.execute(PATIENTS)
    connection.execute(ADMISSIONS.format(min_visits=options.min_visits))


def codes(connection: duckdb.DuckDBPyConnection, kind: str, options: IngestOptions) -> None:
    """Check the `diagnoses` or `procedures` and list them per visit."""
    pairs = []
    if options.icd10 and kind == "diagnoses":
        written = connection.execute(ICD9_CODES).fetchall()
        pairs = [(code, icd10) for (code,) in written if (icd10 := crosswalk.to_icd10(code))]
    register(
        connection,
        f"{kind}_crosswalk",
        {"icd9": [pair[0] for pair in pairs], "icd10": [pair[1] for pair in pairs]},
    )
    connection.execute(CODES.format(kind=kind, no_place=NO_PLACE, not_icd=NOT_ICD))


def visits(connection: duckdb.DuckDBPyConnection, options: IngestOptions) -> None:
    """Join everything into the table `visits`; patients without one are left out."""
    fields = ["age", *(field for field in PROFILE_FIELDS if field != "age_band")]
    off = {"age" if field == "age_band" else field for field in options.profile_off}
    kinds = {"age": "INTEGER"}
    profile = ", ".join(
        f"NULL::{kinds.get(field, 'VARCHAR')} AS {field}" if field in off else field
        for field in fields
    )
    connection.execute(VISITS.format(profile=profile))


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


def register(
    connection: duckdb.DuckDBPyConnection, name: str, columns: dict[str, list], **numbers: range
) -> None:
    """Make a table of columns of text, or of lists of text; `numbers` are columns of integers."""
    text = pyarrow.string()
    arrays = {
        column: pyarrow.array(values, pyarrow.list_(text) if column.endswith("groups") else text)
        for column, values in columns.items()
    }
    arrays |= {column: pyarrow.array(values, pyarrow.int32()) for column, values in numbers.items()}
    connection.register("registered", pyarrow.table(arrays))
    connection.execute(f"CREATE TABLE {name} AS SELECT * FROM registered")
    connection.unregister("registered")


def _emptied(connection: duckdb.DuckDBPyConnection, place: str) -> dict[str, int]:
    reasons = {
        "patients": {
            "odd_sex": "sex left empty: neither F nor M",
            "no_birth": "age left empty: no birth date, or not a date",
        },
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
