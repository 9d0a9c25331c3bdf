"""What-if: a visit with other codes, and what that moves."""

import pytest

from engine.errors import WorkbenchError
from engine.what_if import changes, edit, new_patient
from tests.visits import make_visit

PAST = make_visit(visit_id="past", medications=("B01A", "C03C"), drugs=("warfarin",))
VISIT = make_visit(visit_id="now", diagnoses=("10:I4891",), history=(PAST,))


def test_codes_are_replaced_and_the_rest_stays():
    changed = edit(VISIT, diagnoses=("10:I4891", "10:N179", "10:N179"))
    assert changed.diagnoses == ("10:I4891", "10:N179")
    assert (changed.procedures, changed.history) == (VISIT.procedures, VISIT.history)
    assert edit(VISIT) == VISIT


def test_a_record_that_holds_a_code_twice_is_unchanged_until_it_is_edited():
    visit = make_visit(procedures=("10:02HV33Z", "10:02HV33Z"))
    assert edit(visit, visit.diagnoses, ("10:02HV33Z",), ()) == visit


def test_past_medications_are_those_of_the_latest_visit_that_has_any():
    empty = make_visit(visit_id="later", medications=())
    visit = make_visit(visit_id="now", history=(PAST, empty))
    changed = edit(visit, past_medications=("C03C",))
    assert changed.previous_medications == ("C03C",)
    assert changed.history[1] == empty
    assert visit.previous_medications == ("B01A", "C03C")


def test_a_first_visit_gets_an_earlier_one_that_holds_the_medications_alone():
    changed = edit(make_visit(history=()), past_medications=("N02A", "B01A"))
    assert changed.previous_medications == ("B01A", "N02A")
    assert changed.history[0].diagnoses == ()
    assert changed.history[0].admit_time < changed.admit_time
    assert edit(make_visit(history=()), past_medications=()).is_first


@pytest.mark.parametrize(
    "wrong",
    [
        {"diagnoses": ("I4891",)},
        {"diagnoses": ("10:I48'--",)},
        {"procedures": ("11:ABC",)},
        {"past_medications": ("XXXX",)},
        {"diagnoses": tuple(f"10:A{number}" for number in range(300))},
    ],
)
def test_what_is_no_code_is_refused_in_a_line(wrong):
    with pytest.raises(WorkbenchError):
        edit(VISIT, **wrong)


def test_a_patient_from_nothing():
    visit = edit(new_patient(71, "F", language="English"), diagnoses=("10:I10",))
    assert (visit.age, visit.sex, visit.language, visit.race) == (71, "F", "English", None)
    assert visit.is_first
    for wrong in ({"age": 200, "sex": "F"}, {"age": 20, "sex": "X"}):
        with pytest.raises(WorkbenchError):
            new_patient(**wrong)


def test_what_moved_most_comes_first():
    found = changes({"A": 0.5, "B": 0.2, "C": 0.9}, {"A": 0.55, "B": 0.8})
    assert [change.group for change in found] == ["B", "A", "C"]
    assert found[0].moved == pytest.approx(0.6)
    assert (found[2].after, found[2].moved) == (None, 0.0)
