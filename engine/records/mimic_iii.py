"""The MIMIC-III layout (1.4, and its demo): its tables, and what ingest reads from them.

python -m engine ingest mimic-iii INPUT_DIR COHORT_DIR
"""

from engine.records.source import Reading, Source, Table

# MIMIC-III cuts languages to four letters; MIMIC-IV writes them out.
LANGUAGES = {
    "ALBA": "ALBANIAN",
    "AMER": "AMERICAN SIGN LANGUAGE",
    "ARAB": "ARABIC",
    "BENG": "BENGALI",
    "CAMB": "CAMBODIAN",
    "CANT": "CANTONESE",
    "CAPE": "CAPE VERDEAN",
    "ENGL": "ENGLISH",
    "ETHI": "ETHIOPIAN",
    "FREN": "FRENCH",
    "GERM": "GERMAN",
    "GREE": "GREEK",
    "HAIT": "HAITIAN",
    "HIND": "HINDI",
    "ITAL": "ITALIAN",
    "JAPA": "JAPANESE",
    "KORE": "KOREAN",
    "LAOT": "LAO",
    "MAND": "MANDARIN",
    "PERS": "PERSIAN",
    "POLI": "POLISH",
    "PORT": "PORTUGUESE",
    "PTUN": "PORTUGUESE",
    "RUSS": "RUSSIAN",
    "SOMA": "SOMALI",
    "SPAN": "SPANISH",
    "THAI": "THAI",
    "TURK": "TURKISH",
    "URDU": "URDU",
    "VIET": "VIETNAMESE",
}
LANGUAGE = "CASE upper(trim(language)) {} ELSE language END".format(
    " ".join(f"WHEN '{short}' THEN '{name}'" for short, name in LANGUAGES.items())
)

SOURCE = Source(
    name="mimic-iii",
    folders=("",),
    tables=(
        Table("patients", ("subject_id", "gender", "dob")),
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
                "religion",
                "marital_status",
                "ethnicity",
            ),
        ),
        Table("diagnoses_icd", ("subject_id", "hadm_id", "seq_num", "icd9_code")),
        Table(
            "procedures_icd", ("subject_id", "hadm_id", "seq_num", "icd9_code"), may_be_empty=True
        ),
        Table(
            "prescriptions",
            ("subject_id", "hadm_id", "drug_type", "drug", "route"),
            optional=("startdate", "ndc"),
        ),
        Table("d_icd_diagnoses", ("icd9_code", "long_title"), required=False, may_be_empty=True),
        Table("d_icd_procedures", ("icd9_code", "long_title"), required=False, may_be_empty=True),
    ),
    # Above 89 years the birth date is moved to 300 years before the first admission; such patients
    # were 91 at the median (the MIMIC-III documentation of PATIENTS.DOB).
    patients=Reading(
        "patients",
        """
        SELECT patients.subject_id AS patient_id, gender AS sex,
               CASE WHEN date_diff('year', born, first_admission) > 200
                    THEN first_admission - INTERVAL 91 YEAR ELSE born END::DATE AS birth_date
        FROM (SELECT *, TRY_CAST(as_text(dob) AS TIMESTAMP) AS born FROM raw.patients) AS patients
        LEFT JOIN (SELECT as_identifier(subject_id) AS patient_id,
                          min(as_time(admittime)) AS first_admission
                   FROM raw.admissions GROUP BY ALL) AS stays
            ON as_identifier(patients.subject_id) = stays.patient_id
    """,
    ),
    admissions=Reading(
        "admissions",
        f"""
        SELECT subject_id AS patient_id, hadm_id AS visit_id,
               admittime AS admit_time, dischtime AS discharge_time,
               insurance, {LANGUAGE} AS language, marital_status, ethnicity AS race, religion,
               admission_type, NULL AS excluded
        FROM raw.admissions
    """,
    ),
    diagnoses=Reading(
        "diagnoses_icd",
        """
        SELECT subject_id AS patient_id, hadm_id AS visit_id,
               seq_num AS sequence, '9' AS version, icd9_code AS code
        FROM raw.diagnoses_icd
    """,
    ),
    procedures=Reading(
        "procedures_icd",
        """
        SELECT subject_id AS patient_id, hadm_id AS visit_id,
               seq_num AS sequence, '9' AS version, icd9_code AS code
        FROM raw.procedures_icd
    """,
    ),
    # Start dates have no time of day: all say midnight.
    prescriptions=Reading(
        "prescriptions",
        """
        SELECT subject_id AS patient_id, hadm_id AS visit_id, drug, route, drug_type,
               split_part(trim(startdate), ' ', 1) AS start_time, ndc, NULL AS atc_codes
        FROM raw.prescriptions
    """,
    ),
    titles=Reading(
        "d_icd_diagnoses",
        """
        SELECT 'diagnosis' AS kind, '9' AS version, icd9_code AS code, long_title AS title
        FROM raw.d_icd_diagnoses
        UNION ALL
        SELECT 'procedure', '9', icd9_code, long_title FROM raw.d_icd_procedures
    """,
    ),
)
