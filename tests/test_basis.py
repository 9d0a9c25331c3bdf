"""The basis of a recommendation: left out means left out everywhere, and the signs are right."""

from dataclasses import replace

import numpy as np
import pytest

from engine.basis import Input, basis, inputs_of, without
from engine.evaluation.faithfulness import faithfulness
from tests.visits import make_visit

PAST = make_visit(
    visit_id="past", diagnoses=("10:I10", "10:E119"), procedures=("10:X",), medications=("C03C",)
)
VISIT = make_visit(
    visit_id="now",
    diagnoses=("10:I4891", "10:I10"),
    procedures=(),
    medications=("B01A",),
    history=(PAST,),
)
FIBRILLATION = Input("diagnosis", "10:I4891", True)
HYPERTENSION = Input("diagnosis", "10:I10", True)
DIURETIC = Input("medication", "C03C", False)


def weigh(visits):
    """A model of two groups: one listens to fibrillation and, less, to a past diuretic."""
    rows = []
    for visit in visits:
        past = {group for one in visit.history for group in one.medications}
        first = 0.1 + 0.5 * ("10:I4891" in visit.diagnoses) + 0.2 * ("C03C" in past)
        second = 0.9 - 0.3 * ("10:I10" in visit.diagnoses)
        rows.append((first, second))
    return np.array(rows)


def test_inputs_are_named_once_and_say_whether_this_visit_has_them():
    found = inputs_of(VISIT)
    assert len(found) == len(set(found)) == 5
    assert found[:2] == (FIBRILLATION, HYPERTENSION)
    assert Input("diagnosis", "10:E119", False) in found
    assert DIURETIC in found
    assert not any(one.kind == "medication" and one.code == "B01A" for one in found)


def test_an_input_is_left_out_of_every_visit_and_the_answer_stays():
    cut = without(VISIT, [HYPERTENSION, DIURETIC])
    assert cut.diagnoses == ("10:I4891",)
    assert cut.history[0].diagnoses == ("10:E119",)
    assert cut.history[0].medications == ()
    assert cut.medications == VISIT.medications
    assert without(VISIT, []) == VISIT


def test_a_medication_asked_for_is_no_input_even_when_it_was_given_before():
    before = replace(VISIT, history=(replace(PAST, medications=("B01A",)),))
    cut = without(before, [Input("medication", "B01A", False)])
    assert cut.history[0].medications == ()
    assert cut.medications == ("B01A",)


def test_effects_are_signed_and_the_largest_come_first():
    found = basis(VISIT, weigh)
    first, second = found.of(0)[:2]
    assert (first.input, second.input) == (FIBRILLATION, DIURETIC)
    assert first.change == pytest.approx(0.5)
    assert second.change == pytest.approx(0.2)
    against = found.of(1)[0]
    assert against.input == HYPERTENSION
    assert against.change == pytest.approx(-0.3)


def test_all_inputs_are_asked_about_in_one_batch():
    asked = []
    basis(VISIT, lambda visits: asked.append(len(visits)) or weigh(visits))
    assert asked == [6]


def test_a_patient_without_anything_on_record_has_an_empty_basis():
    found = basis(make_visit(diagnoses=(), procedures=(), history=()), weigh)
    assert found.inputs == ()
    assert found.of(0) == []


def test_a_faithful_basis_beats_chance():
    visits = [
        replace(VISIT, patient_id=str(number), diagnoses=(*VISIT.diagnoses, "10:A", "10:B", "10:C"))
        for number in range(20)
    ]
    found = faithfulness(visits, weigh, threshold=0.5, left_out=2)
    assert (found.visits, found.answers) == (20, 40)
    assert found.fall > found.fall_at_random
    assert found.low > 0


def test_without_anything_to_measure_it_says_so():
    with pytest.raises(ValueError, match="no visit"):
        faithfulness([VISIT], weigh, threshold=0.99)
