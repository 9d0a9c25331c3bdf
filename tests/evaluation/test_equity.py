"""Performance by demographic group, and what hiding race, language, insurance and sex changes."""

import numpy as np
import pytest

from engine.evaluation.equity import SENSITIVE, TOGETHER, by_group, effect_of_leaving_out, hide
from engine.records.vocabulary import Vocabulary
from tests.visits import make_visit

PAST = make_visit(visit_id="past", race="A", sex="F", medications=())
VISITS = [
    make_visit(
        patient_id=str(number),
        visit_id=str(number),
        sex="F" if number % 2 else "M",
        race="A" if number < 30 else "B",
        medications=("B01A",) if number % 2 else ("C03C",),
        history=(PAST,) if number % 3 == 0 else (),
    )
    for number in range(40)
]
VOCABULARY = Vocabulary.from_visits(VISITS)


def by_sex(visits):
    """A model that reads nothing but sex, and is right about it."""
    probability = np.full((len(visits), 2), 0.5)
    for row, visit in enumerate(visits):
        if visit.sex:
            column = VOCABULARY.medication_index("B01A" if visit.sex == "F" else "C03C")
            probability[row] = 0.1
            probability[row, column] = 0.9
    return probability, probability >= 0.6


def test_each_group_has_its_own_figures():
    found = by_group(VISITS, {"student": by_sex(VISITS)}, VOCABULARY)
    assert found["sex: F"]["visits"] == 20
    assert found["sex: F"]["models"]["student"]["prauc"]["mean"] == pytest.approx(1.0)
    assert found["race: B"]["patients"] == 10
    assert found["race: B"]["models"]["student"]["calibration_error"] == pytest.approx(0.1)


def test_groups_of_a_few_patients_are_left_out():
    assert "race: B" not in by_group(VISITS[:35], {"student": by_sex(VISITS[:35])}, VOCABULARY)


def test_hiding_what_a_model_lives_on_shows():
    rows = effect_of_leaving_out(VISITS, by_sex, VOCABULARY)
    found = {(row["field"], row["metric"]): row["difference"] for row in rows}
    assert {field for field, _ in found} == {*SENSITIVE, TOGETHER}
    assert found["race", "prauc"] == 0
    assert found["sex", "jaccard"] == pytest.approx(-1.0)
    assert found[TOGETHER, "jaccard"] == pytest.approx(-1.0)


def test_all_together_alone_asks_once():
    asked = []
    effect_of_leaving_out(
        VISITS, lambda visits: asked.append(1) or by_sex(visits), VOCABULARY, alone=False
    )
    assert len(asked) == 2


def test_a_hidden_field_is_hidden_in_the_past_too():
    hidden = hide(VISITS[0], ("race", "sex"))
    assert (hidden.race, hidden.sex, hidden.history[0].race, hidden.history[0].sex) == (None,) * 4
    assert hidden.diagnoses == VISITS[0].diagnoses
