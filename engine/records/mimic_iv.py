"""The MIMIC-IV `hosp` layout (releases 2.x and 3.x): its tables, and what ingest reads from them.

python -m engine ingest mimic-iv INPUT_DIR COHORT_DIR
"""

from engine.records.source import Reading, Source, Table

SOURCE = Source(
    name="mimic-iv",
    folders=("", "hosp"),
    tables=(
        Table("patients", ("subject_id", "gender", "anchor_age", "anchor_year")),
        Table(
            "admissions",
            (
                "subject_id",
                "hadm_id",
                "admittime",
                "dischtime",
                "admission_type",
                "insurance",
                "language",
                "marital_status",
                "race",
            ),
        ),
        Table("diagnoses_icd", ("subject_id", "hadm_id", "seq_num", "icd_code", "icd_version")),
        Table(
            "procedures_icd",
            ("subject_id", "hadm_id", "seq_num", "icd_code", "icd_version"),
            may_be_empty=True,
        ),
        Table(
            "prescriptions",
            ("subject_id", "hadm_id", "drug_type", "drug", "route"),
            optional=("starttime", "ndc"),
        ),
        Table(
            "d_icd_diagnoses",
            ("icd_code", "icd_version", "long_title"),
            required=False,
            may_be_empty=True,
        ),
        Table(
            "d_icd_procedures",
            ("icd_code", "icd_version", "long_title"),
            required=False,
            may_be_empty=True,
        ),
    ),
    # Times are shifted per patient; the age is known for one anchor year. Counting from the first
    # of January makes the age at admission anchor_age + year of admission - anchor_year.
    patients=Reading(
        "patients",
        """
        SELECT subject_id AS patient_id,
               gender AS sex,
               TRY(make_date(CAST(TRY_CAST(anchor_year AS DOUBLE) - TRY_CAST(anchor_age AS DOUBLE)
                                  AS BIGINT), 1, 1)) AS birth_date
        FROM raw.patients
    """,
    ),
    admissions=Reading(
        "admissions",
        """
        SELECT subject_id AS patient_id, hadm_id AS visit_id,
               admittime AS admit_time, dischtime AS discharge_time,
               insurance, language, marital_status, race, NULL AS religion, admission_type,
               NULL AS excluded
        FROM raw.admissions
    """,
    ),
    diagnoses=Reading(
        "diagnoses_icd",
        """
        SELECT subject_id AS patient_id, hadm_id AS visit_id,
               seq_num AS sequence, icd_version AS version, icd_code AS code
        FROM raw.diagnoses_icd
    """,
    ),
    procedures=Reading(
        "procedures_icd",
        """
        SELECT subject_id AS patient_id, hadm_id AS visit_id,
               seq_num AS sequence, icd_version AS version, icd_code AS code
        FROM raw.procedures_icd
    """,
    ),
    prescriptions=Reading(
        "prescriptions",
        """
        SELECT subject_id AS patient_id, hadm_id AS visit_id, drug, route, drug_type,
               starttime AS start_time, ndc, NULL AS atc_codes
        FROM raw.prescriptions
    """,
    ),
    titles=Reading(
        "d_icd_diagnoses",
        """
        SELECT 'diagnosis' AS kind, icd_version AS version, icd_code AS code, long_title AS title
        FROM raw.d_icd_diagnoses
        UNION ALL
        SELECT 'procedure', icd_version, icd_code, long_title FROM raw.d_icd_procedures
    """,
    ),
)
