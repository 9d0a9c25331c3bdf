"""What a patient can be found by: the rows of the patient index, read from a cohort."""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain, groupby

from engine.patient_index import Term
from engine.records.cohort import Cohort
from engine.records.schema import Visit
from engine.terminology import atc

LEADING = 3  # diagnoses of the latest visit that stand in the table of patients


def rows(cohort: Cohort) -> Iterator[dict]:
    """Yield one dict a patient, as `PatientIndex.build` takes them, in one pass over the visits."""

    @cache  # a code is met a thousand times
    def diagnosis(code: str) -> Term:
        return "diagnosis", cohort.title("diagnosis", code), code.split(":", 1)[-1]

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
                name for _, name, _ in map(diagnosis, latest.diagnoses[:LEADING])
            ),
            "split": cohort.split_of(patient_id),
            "terms": list(_terms(visits, diagnosis)),
        }


def _terms(visits: list[Visit], diagnosis: Callable[[str], Term]) -> Iterator[Term]:
    """Yield what any of a patient's visits names, each once."""
    for code in _distinct(visit.diagnoses for visit in visits):
        yield diagnosis(code)
    for group in _distinct(visit.medications for visit in visits):
        yield "medication group", atc.name(group), group
    for drug in _distinct(visit.drugs for visit in visits):
        yield "drug", drug, ""


def _distinct(lists: Iterator[tuple[str, ...]]) -> dict[str, None]:
    return dict.fromkeys(chain.from_iterable(lists))
