"""What a patient can be found by, taken from a whole cohort."""

import pytest

from app import patient_terms
from engine.patient_index import PatientIndex
from engine.records.cohort import Cohort
from engine.terminology import atc


@pytest.fixture
def cohort(tiny_cohort):
    return Cohort.open(tiny_cohort)


@pytest.fixture
def index(cohort, tmp_path):
    index = PatientIndex(tmp_path / "workbench.sqlite", cohort.fingerprint)
    index.build(patient_terms.rows(cohort))
    return index


def test_every_patient_has_one_row_that_describes_the_latest_visit(cohort):
    rows = {row["patient_id"]: row for row in patient_terms.rows(cohort)}
    assert sorted(rows) == cohort.patient_ids()
    for patient_id in cohort.patient_ids()[:10]:
        visits, row = cohort.visits(patient_id), rows[patient_id]
        assert row["visits"] == len(visits)
        assert row["age"] == visits[-1].age
        assert row["last_admission"] == visits[-1].admit_time.date().isoformat()
        assert row["split"] == cohort.split_of(patient_id)
        assert cohort.title("diagnosis", visits[-1].diagnoses[0]) in row["leading_diagnoses"]


def test_a_patient_is_found_by_the_diagnoses_and_drugs_of_any_visit(cohort, index):
    patient_id = max(cohort.patient_ids(), key=lambda patient: len(cohort.visits(patient)))
    oldest = next(visit for visit in cohort.visits(patient_id) if visit.drugs)
    for text in (
        cohort.title("diagnosis", oldest.diagnoses[-1]).replace(",", " "),
        oldest.diagnoses[0].split(":")[1],
        oldest.drugs[0].replace(",", " "),
        oldest.medications[0],
        atc.name(oldest.medications[0]).replace(",", " "),
    ):
        rows, total = index.search(text, page_size=10_000)
        assert total == len(rows)
        assert patient_id in {row["patient_id"] for row in rows}, text
