"""Drift of the inputs: none where nothing changed, and by field where something did."""

import math

import pytest

from engine.evaluation.drift import describe, drift, reading, stability_index
from tests.visits import make_visit


def visits(count, **changes):
    return [make_visit(patient_id=str(number), **changes) for number in range(count)]


def test_the_index_is_that_of_the_book():
    expected, actual = {"a": 0.5, "b": 0.5}, {"a": 0.6, "b": 0.4}
    by_hand = 0.1 * math.log(0.6 / 0.5) - 0.1 * math.log(0.4 / 0.5)
    assert stability_index(expected, actual) == pytest.approx(by_hand)
    assert stability_index(expected, expected) == 0
    assert stability_index({"a": 1.0, "b": 0.0}, {"a": 0.9, "b": 0.1}) < math.inf


@pytest.mark.parametrize(
    ("index", "said"), [(0.05, "stable"), (0.1, "some change"), (0.25, "large change")]
)
def test_readings(index, said):
    assert reading(index) == said


def test_the_same_patients_do_not_drift():
    some = describe(visits(40, sex="F") + visits(40, sex="M"))
    assert all(one.reading == "stable" for one in drift(some, some))


def test_the_field_that_moved_comes_first_and_says_how():
    before = describe(visits(50, sex="F") + visits(50, sex="M"))
    now = describe(visits(90, sex="F") + visits(10, sex="M"))
    first, *others = drift(before, now)
    assert (first.field, first.reading) == ("sex", "large change")
    assert ("F", 0.5, 0.9) in first.moved
    assert all(one.reading == "stable" for one in others)


def test_codes_and_counts_drift_too():
    before = describe(visits(50, diagnoses=("9:42731",)))
    now = describe(visits(50, diagnoses=tuple(f"10:I{number}" for number in range(12))))
    moved = {one.field for one in drift(before, now) if one.reading == "large change"}
    assert {"coding system", "kind of diagnosis", "diagnoses of the visit"} <= moved


def test_a_category_never_seen_in_training_counts():
    before, now = describe(visits(50, sex="F")), describe(visits(50, sex="X"))
    assert drift(before, now)[0].field == "sex"


def test_of_few_visits_nothing_is_claimed():
    few = describe(visits(5))
    assert all(one.index is None and one.reading is None for one in drift(few, few))


def test_a_description_holds_shares_and_no_patient():
    described = describe([make_visit(patient_id="patient-7788", visit_id="visit-99")])
    assert "7788" not in str(described)
    assert described["visits"] == 1
