"""Hand-made visits for tests."""

from datetime import datetime

from engine.records.schema import Visit


def make_visit(**changes) -> Visit:
    """A 67-year-old woman's visit; any field can be changed."""
    fields = {
        "patient_id": "1",
        "visit_id": "11",
        "admit_time": datetime(2150, 6, 1, 8),
        "discharge_time": datetime(2150, 6, 5, 12),
        "age": 67,
        "sex": "F",
        "insurance": "Medicare",
        "language": "ENGLISH",
        "marital_status": "MARRIED",
        "race": "WHITE",
        "religion": None,
        "admission_type": "EW EMER.",
        "diagnoses": ("10:I10", "10:E119"),
        "procedures": ("10:02HV33Z",),
        "medications": ("A02B", "B01A"),
        "drugs": ("Heparin", "Pantoprazole"),
    }
    return Visit(**(fields | changes))


TITLES = {
    "10:I10": "Essential (primary) hypertension",
    "10:E119": "Type 2 diabetes mellitus without complications",
    "10:I5021": "Acute systolic (congestive) heart failure",
    "10:02HV33Z": "Insertion of infusion device into superior vena cava",
}


def title(kind: str, code: str) -> str:
    """A cohort's title look-up, in small."""
    return TITLES.get(code, f"{kind} {code.split(':')[1]}")
