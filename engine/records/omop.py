"""The OMOP common data model (CDM 5.4, also 5.3): its tables, and what ingest reads from them.

    python -m engine ingest omop INPUT_DIR COHORT_DIR

Codes. A diagnosis or procedure is the ICD code of the record's source concept; else the record's
source value where one ICD version alone has such a code; else the ICD code which maps to the
record's standard concept. Of several, the first in this order: vocabulary as listed below, billable
before its heading, mapped to the fewest standard concepts, shortest, last in the alphabet (the
ninth of an ICD family is the unspecified one). What reaches no ICD code is counted and left out.

Order. The tables hold no sequence number: a primary diagnosis comes first, then the record id.

Place. A record without visit belongs to the hospital stay of the same person that holds its date,
if exactly one does.

Not in these tables, so left empty: insurance, language, marital status and religion. Exposures of
every kind count (prescribed, dispensed, administered). `visit_detail` is not read.
"""

from engine.records.source import Reading, Source, Table

# Inpatient; emergency room and inpatient; inpatient hospital; intensive care; inpatient critical
# care; observation room (MIMIC-IV counts observation among its admissions). The vocabulary's
# descendants of these are hospital stays too.
HOSPITAL_STAYS = (9201, 262, 8717, 32037, 581379, 581385)
# Vocabulary → ICD version, the preferred one first.
DIAGNOSIS_VOCABULARIES = {"ICD10CM": "10", "ICD10": "10", "ICD9CM": "9"}
PROCEDURE_VOCABULARIES = {"ICD10PCS": "10", "ICD9Proc": "9"}
# Primary admission, primary, primary discharge diagnosis; and, in older exports, the types
# inpatient detail (primary, first position), inpatient header (same), primary condition.
PRIMARY_STATUS = (32901, 32902, 32903)
PRIMARY_TYPE = (38000183, 38000184, 38000199, 38000200, 44786627, 44786628)
HISPANIC = 38003563
NDC = "^([0-9]{11}|[0-9]{4,5}-[0-9]{3,4}-[0-9]{1,2})$"  # written in place of a drug's name

# What the vocabulary tables are read for: they hold up to 90 million rows, a cohort needs few.
USED_CONCEPTS = " UNION ".join(
    f"SELECT TRY_CAST({column} AS BIGINT) FROM raw.{table}"
    for table, columns in {
        "person": ("race_concept_id", "ethnicity_concept_id"),
        "visit_occurrence": ("visit_concept_id",),
        "condition_occurrence": ("condition_concept_id", "condition_source_concept_id"),
        "procedure_occurrence": ("procedure_concept_id", "procedure_source_concept_id"),
        "drug_exposure": ("drug_concept_id", "drug_source_concept_id", "route_concept_id"),
    }.items()
    for column in columns
)
KEPT_CONCEPTS = f"""
    vocabulary_id IN {("ATC", *DIAGNOSIS_VOCABULARIES, *PROCEDURE_VOCABULARIES)}
    OR TRY_CAST(concept_id AS BIGINT) IN ({USED_CONCEPTS})
"""
KEPT_RELATIONSHIPS = f"""
    relationship_id = 'Maps to' AND coalesce(invalid_reason, '') = ''
    AND TRY_CAST(concept_id_1 AS BIGINT) IN (
        SELECT TRY_CAST(concept_id AS BIGINT) FROM raw.concept
        WHERE vocabulary_id IN {(*DIAGNOSIS_VOCABULARIES, *PROCEDURE_VOCABULARIES)})
"""
KEPT_ANCESTORS = f"""
    (TRY_CAST(ancestor_concept_id AS BIGINT) IN (
        SELECT TRY_CAST(concept_id AS BIGINT) FROM raw.concept WHERE vocabulary_id = 'ATC')
     AND TRY_CAST(descendant_concept_id AS BIGINT) IN (
        SELECT TRY_CAST(drug_concept_id AS BIGINT) FROM raw.drug_exposure
        UNION SELECT TRY_CAST(drug_source_concept_id AS BIGINT) FROM raw.drug_exposure))
    OR (TRY_CAST(ancestor_concept_id AS BIGINT) IN {HOSPITAL_STAYS}
     AND TRY_CAST(descendant_concept_id AS BIGINT) IN (
        SELECT TRY_CAST(visit_concept_id AS BIGINT) FROM raw.visit_occurrence))
"""

# Concept 0 stands for none.
CONCEPT = """
concept AS (
    SELECT TRY_CAST(concept_id AS BIGINT) AS id, min(as_text(concept_name)) AS name,
           min(as_text(vocabulary_id)) AS vocabulary, min(as_text(concept_class_id)) AS class,
           min(as_text(concept_code)) AS code
    FROM raw.concept GROUP BY id HAVING id <> 0)
"""

VISIT = f"""
hospital_stays AS (
    SELECT unnest({list(HOSPITAL_STAYS)}) AS id
    UNION SELECT TRY_CAST(descendant_concept_id AS BIGINT) FROM raw.concept_ancestor
    WHERE TRY_CAST(ancestor_concept_id AS BIGINT) IN {HOSPITAL_STAYS}),
visit AS (
    SELECT person_id, visit_occurrence_id,
           coalesce(as_text(visit_start_datetime), visit_start_date) AS start_time,
           coalesce(as_text(visit_end_datetime), visit_end_date) AS end_time,
           TRY_CAST(visit_concept_id AS BIGINT) AS kind,
           coalesce(kind IN (FROM hospital_stays), false) AS is_stay
    FROM raw.visit_occurrence)
"""

# Whom a record belongs to, its visit, and the day it began.
RECORD = """
{visit},
record AS (
    SELECT *, as_identifier(person_id) AS patient,
           nullif(as_identifier(visit_occurrence_id), '0') AS place,
           TRY_CAST(coalesce(as_text({start}_datetime), {start}_date) AS TIMESTAMP)::DATE AS day
    FROM raw.{table}),
only_stay AS (
    SELECT patient, day, min(as_identifier(visit.visit_occurrence_id)) AS stay
    FROM (SELECT DISTINCT patient, day FROM record WHERE place IS NULL) AS astray
    JOIN visit ON is_stay AND as_identifier(visit.person_id) = patient
        AND day >= TRY_CAST(start_time AS TIMESTAMP)::DATE
        AND day <= TRY_CAST(coalesce(end_time, start_time) AS TIMESTAMP)::DATE
    GROUP BY patient, day HAVING count(*) = 1),
placed AS (
    SELECT record.*, coalesce(place, stay) AS visit_id
    FROM record LEFT JOIN only_stay USING (patient, day))
"""

ICD = """
icd AS (
    SELECT concept.*, version, preference
    FROM concept JOIN (VALUES {vocabularies}) AS known (vocabulary, version, preference)
    USING (vocabulary))
"""

CODES = """
WITH {concept}, {icd}, {record},
written_code AS (
    SELECT as_code(code) AS written, any_value(version) AS version
    FROM icd GROUP BY written HAVING count(DISTINCT version) = 1),
mapped AS (
    SELECT TRY_CAST(concept_id_1 AS BIGINT) AS id, TRY_CAST(concept_id_2 AS BIGINT) AS standard,
           count(*) OVER (PARTITION BY id) AS targets
    FROM (SELECT DISTINCT concept_id_1, concept_id_2 FROM raw.concept_relationship)),
nearest AS (
    SELECT standard, first(icd.id ORDER BY preference, contains(lower(class), 'nonbill'), targets,
                           length(code), code DESC, icd.id) AS id
    FROM mapped JOIN icd USING (id) GROUP BY standard)
SELECT person_id AS patient_id, visit_id,
       row_number() OVER (PARTITION BY visit_id ORDER BY {primary} DESC,
                          TRY_CAST({record_id} AS BIGINT), {record_id})::VARCHAR AS sequence,
       coalesce(source_icd.version, own_icd.version, written_code.version, nearest_icd.version,
                source.vocabulary, own.vocabulary) AS version,
       coalesce(source_icd.code, own_icd.code, written_code.written, nearest_icd.code,
                source.code, own.code, as_text({value})) AS code
FROM placed
LEFT JOIN concept AS source ON source.id = TRY_CAST({source_concept} AS BIGINT)
LEFT JOIN concept AS own ON own.id = TRY_CAST({own_concept} AS BIGINT)
LEFT JOIN icd AS source_icd ON source_icd.id = source.id
LEFT JOIN icd AS own_icd ON own_icd.id = own.id
LEFT JOIN written_code ON written = as_code({value}) AND source.id IS NULL
LEFT JOIN nearest ON nearest.standard = own.id
LEFT JOIN icd AS nearest_icd ON nearest_icd.id = nearest.id
"""


def _records(table: str, start: str) -> str:
    """Return the common table `placed`: the rows of a table, each with its visit."""
    return RECORD.format(visit=VISIT, table=table, start=start)


def _icd(vocabularies: dict[str, str]) -> str:
    """Return the common table `icd`: the concepts of these vocabularies with their version."""
    rows = enumerate(vocabularies.items())
    return ICD.format(
        vocabularies=", ".join(
            f"('{name}', '{version}', {place})" for place, (name, version) in rows
        )
    )


def _codes(stem: str, vocabularies: dict[str, str], start: str, primary: str) -> str:
    """Return the SELECT for diagnoses or procedures; `stem` starts the names of their columns."""
    table = f"{stem}_occurrence"
    return CODES.format(
        concept=CONCEPT,
        icd=_icd(vocabularies),
        record=_records(table, start),
        record_id=f"{table}_id",
        source_concept=f"{stem}_source_concept_id",
        own_concept=f"{stem}_concept_id",
        value=f"{stem}_source_value",
        primary=primary,
    )


SOURCE = Source(
    name="omop",
    folders=("",),
    tables=(
        Table(
            "person",
            ("person_id", "gender_concept_id", "year_of_birth"),
            optional=(
                "month_of_birth",
                "day_of_birth",
                "race_concept_id",
                "ethnicity_concept_id",
                "gender_source_value",
                "race_source_value",
            ),
        ),
        Table(
            "visit_occurrence",
            (
                "visit_occurrence_id",
                "person_id",
                "visit_concept_id",
                "visit_start_date",
                "visit_end_date",
            ),
            optional=("visit_start_datetime", "visit_end_datetime"),
        ),
        Table(
            "condition_occurrence",
            (
                "condition_occurrence_id",
                "person_id",
                "condition_concept_id",
                "condition_start_date",
                "visit_occurrence_id",
            ),
            optional=(
                "condition_start_datetime",
                "condition_type_concept_id",
                "condition_status_concept_id",
                "condition_source_value",
                "condition_source_concept_id",
            ),
        ),
        Table(
            "procedure_occurrence",
            (
                "procedure_occurrence_id",
                "person_id",
                "procedure_concept_id",
                "procedure_date",
                "visit_occurrence_id",
            ),
            optional=(
                "procedure_datetime",
                "procedure_source_value",
                "procedure_source_concept_id",
            ),
            may_be_empty=True,
        ),
        Table(
            "drug_exposure",
            (
                "person_id",
                "drug_concept_id",
                "drug_exposure_start_date",
                "visit_occurrence_id",
            ),
            optional=(
                "drug_exposure_start_datetime",
                "drug_source_value",
                "drug_source_concept_id",
                "route_concept_id",
                "route_source_value",
            ),
        ),
        # The conditions name earlier tables, so the order of these three matters.
        Table(
            "concept",
            ("concept_id", "concept_name", "vocabulary_id", "concept_class_id", "concept_code"),
            keep=KEPT_CONCEPTS,
            tabs=True,
        ),
        Table(
            "concept_relationship",
            ("concept_id_1", "concept_id_2", "relationship_id"),
            optional=("invalid_reason",),
            may_be_empty=True,
            keep=KEPT_RELATIONSHIPS,
            tabs=True,
        ),
        Table(
            "concept_ancestor",
            ("ancestor_concept_id", "descendant_concept_id"),
            keep=KEPT_ANCESTORS,
            tabs=True,
        ),
    ),
    patients=Reading(
        "person",
        """
        SELECT person_id AS patient_id,
               CASE TRY_CAST(gender_concept_id AS BIGINT) WHEN 8507 THEN 'M' WHEN 8532 THEN 'F'
                    ELSE gender_source_value END AS sex,
               TRY(make_date(TRY_CAST(year_of_birth AS BIGINT),
                             coalesce(TRY_CAST(month_of_birth AS BIGINT), 1),
                             coalesce(TRY_CAST(day_of_birth AS BIGINT), 1))) AS birth_date
        FROM raw.person
    """,
    ),
    # As in MIMIC and in the combined census question, Hispanic stands in the place of a race.
    admissions=Reading(
        "visit_occurrence",
        f"""
        WITH {CONCEPT}, {VISIT},
        known AS (
            SELECT as_identifier(person_id) AS patient, min(CASE
                       WHEN TRY_CAST(ethnicity_concept_id AS BIGINT) = {HISPANIC}
                       THEN 'Hispanic or Latino'
                       ELSE coalesce(name, as_text(race_source_value)) END) AS race
            FROM raw.person LEFT JOIN concept ON id = TRY_CAST(race_concept_id AS BIGINT)
            GROUP BY patient)
        SELECT person_id AS patient_id, visit_occurrence_id AS visit_id,
               start_time AS admit_time, end_time AS discharge_time,
               NULL AS insurance, NULL AS language, NULL AS marital_status, race,
               NULL AS religion, name AS admission_type,
               CASE WHEN NOT is_stay THEN
                   'not a hospital stay (' || coalesce(name, 'visit type not known') || ')'
               END AS excluded
        FROM visit
        LEFT JOIN concept ON id = kind
        LEFT JOIN known ON patient = as_identifier(person_id)
    """,
    ),
    diagnoses=Reading(
        "condition_occurrence",
        _codes(
            "condition",
            DIAGNOSIS_VOCABULARIES,
            start="condition_start",
            primary=f"""coalesce(
                TRY_CAST(condition_status_concept_id AS BIGINT) IN {PRIMARY_STATUS}, false)
                OR coalesce(TRY_CAST(condition_type_concept_id AS BIGINT) IN {PRIMARY_TYPE}, false)
            """,
        ),
    ),
    procedures=Reading(
        "procedure_occurrence",
        _codes("procedure", PROCEDURE_VOCABULARIES, start="procedure", primary="true"),
    ),
    # The finest ATC classes above the drug: the fifth level, else the fourth or third. A time of
    # midnight is how the model writes that only the date is known.
    prescriptions=Reading(
        "drug_exposure",
        f"""
        WITH {CONCEPT}, {_records("drug_exposure", "drug_exposure_start")},
        ancestor AS (
            SELECT DISTINCT TRY_CAST(descendant_concept_id AS BIGINT) AS drug, code
            FROM raw.concept_ancestor
            JOIN concept ON id = TRY_CAST(ancestor_concept_id AS BIGINT)
            WHERE vocabulary = 'ATC' AND class IN ('ATC 3rd', 'ATC 4th', 'ATC 5th')),
        atc AS (
            SELECT drug, string_agg(code, ' ' ORDER BY code) AS codes
            FROM ancestor ANTI JOIN (FROM ancestor) AS finer ON finer.drug = ancestor.drug
                AND finer.code <> ancestor.code AND starts_with(finer.code, ancestor.code)
            GROUP BY drug)
        SELECT person_id AS patient_id, visit_id,
               coalesce(exposed.name, as_text(drug_source_value)) AS drug,
               coalesce(regexp_replace(administered.name, '(?i) route$', ''),
                        as_text(route_source_value)) AS route,
               NULL AS drug_type,
               regexp_replace(
                   coalesce(as_text(drug_exposure_start_datetime), drug_exposure_start_date),
                   '[ T]00:00(:00(\\.0+)?)?$', '') AS start_time,
               coalesce(packaged.code, regexp_extract(as_text(drug_source_value), '{NDC}'))
                   AS ndc,
               coalesce(atc.codes, source_atc.codes) AS atc_codes
        FROM placed
        LEFT JOIN concept AS exposed ON exposed.id = TRY_CAST(drug_concept_id AS BIGINT)
        LEFT JOIN concept AS administered
            ON administered.id = TRY_CAST(route_concept_id AS BIGINT)
        LEFT JOIN concept AS packaged
            ON packaged.id = TRY_CAST(drug_source_concept_id AS BIGINT)
            AND packaged.vocabulary = 'NDC'
        LEFT JOIN atc ON atc.drug = exposed.id
        LEFT JOIN atc AS source_atc ON source_atc.drug = TRY_CAST(drug_source_concept_id AS BIGINT)
    """,
    ),
    titles=Reading(
        "concept",
        f"""
        WITH {CONCEPT}
        SELECT 'diagnosis' AS kind, version, code, name AS title
        FROM (WITH {_icd(DIAGNOSIS_VOCABULARIES)} FROM icd)
        UNION ALL
        SELECT 'procedure', version, code, name
        FROM (WITH {_icd(PROCEDURE_VOCABULARIES)} FROM icd)
    """,
    ),
)
