"""Similar patients: nearest first, never the patient themselves, and as the student sees them."""

import numpy as np
import pytest

from engine.recommender import Recommender
from engine.records.cohort import Cohort
from engine.similar import SimilarPatients, shares_given
from tests.visits import make_visit

PLACES = {"a": (1, 0), "b": (0.9, 0.1), "c": (0, 1), "d": (-1, -1)}
VISITS = [
    make_visit(patient_id=name, visit_id=f"{name}{number}", medications=groups)
    for name, groups in (
        ("a", ("B01A",)),
        ("b", ("B01A", "C03C")),
        ("c", ("C03C",)),
        ("d", ("N02A",)),
    )
    for number in (1, 2)
]


def place(visits):
    return np.array([PLACES[visit.patient_id] for visit in visits], float)


@pytest.fixture
def patients():
    return SimilarPatients(VISITS, place(VISITS))


def test_the_nearest_come_first_once_each_and_without_the_patient(patients):
    found = patients.nearest(np.array(PLACES["a"], float), "a")
    assert [one.visit.patient_id for one in found] == ["b", "c", "d"]
    assert found[0].similarity > found[1].similarity > found[2].similarity
    assert found[2].similarity >= -1
    assert found[0].similarity <= 1


def test_as_many_as_were_asked_for(patients):
    assert len(patients.nearest(np.array(PLACES["a"], float), "a", count=2)) == 2


def test_what_they_were_given_is_counted(patients):
    found = patients.nearest(np.array(PLACES["d"], float), "d")
    assert shares_given(found) == {"B01A": 2 / 3, "C03C": 2 / 3}


def test_an_empty_cohort_has_nobody_alike():
    assert SimilarPatients([], np.zeros((0, 2))).nearest(np.ones(2), "a") == []


def test_a_cohort_is_laid_out_with_the_students_own_representation(tiny_cohort, tiny_pair):
    cohort, recommender = Cohort.open(tiny_cohort), Recommender.load(tiny_pair)
    shares = []
    patients = SimilarPatients.build(cohort, recommender.representations, shares.append)
    visit = cohort.samples("test")[0]
    found = patients.nearest(recommender.representations([visit])[0], visit.patient_id)
    assert len(found) == 5
    assert visit.patient_id not in {one.visit.patient_id for one in found}
    assert shares[-1] == 1.0


def test_tables_and_network_see_a_visit_alike(tiny_cohort, tiny_pair):
    cohort, recommender = Cohort.open(tiny_cohort), Recommender.load(tiny_pair)
    visits = cohort.samples("test")[:6]
    fast = recommender.representations(visits)
    recommender.student.tables = None
    assert fast.shape[0] == len(visits)
    assert recommender.representations(visits) == pytest.approx(fast, abs=1e-5)
