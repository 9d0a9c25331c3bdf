"""What a patient can be found by: the rows of the patient index, read from a cohort."""

from collections.abc import Iterator
from itertools import groupby

from engine.records.cohort import Cohort
from engine.records.schema import Visit
from engine.terminology import atc

LEADING = 3  # diagnoses of the latest visit that stand in the table of patients


def rows(cohort: Cohort) -> Iterator[dict]:
    """Yield one dict a patient, as `PatientIndex.build` takes them."""
    for patient_id, stays in groupby(cohort.all_visits(), key=lambda visit: visit.patient_id):
        visits = list(stays)
        latest = visits[-1]
        yield {
            "patient_id": patient_id,
            "sex": latest.sex,
            "age": latest.age,
            "visits": len(visits),
            "last_admission": f"{latest.admit_time:%Y-%m-%d}",
            "leading_diagnoses": "; ".join(
                cohort.title("diagnosis", code) for code in latest.diagnoses[:LEADING]
            ),
            "split": cohort.split_of(patient_id),
            "terms": list(_terms(cohort, visits)),
        }


def _terms(cohort: Cohort, visits: list[Visit]) -> Iterator[tuple[str, str, str]]:
    for visit in visits:
        for code in visit.diagnoses:
            yield "diagnosis", cohort.title("diagnosis", code), code.split(":", 1)[-1]
        for group in visit.medications:
            yield "medication group", atc.name(group), group
        for drug in visit.drugs:
            yield "drug", drug, ""
