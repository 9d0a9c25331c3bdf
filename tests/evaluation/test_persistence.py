"""Persistence: a hospital that continues what was given is learned from a few visits."""

import numpy as np
import pytest

from engine.evaluation.persistence import (
    FIRST_VISIT,
    GIVEN,
    NOT_GIVEN,
    Persistence,
    fit_persistence,
    given_before,
)
from engine.records.vocabulary import Vocabulary
from tests.visits import make_visit

VOCABULARY = Vocabulary((), (), ("A02B", "B01A", "N02B"), {})


def test_what_counts_is_the_latest_earlier_visit_that_has_medications():
    old = make_visit(medications=("A02B",))
    latest = make_visit(medications=("B01A", "Z99Z"))
    silent = make_visit(medications=())
    returning = make_visit(history=(old, latest, silent), medications=("A02B",))
    before = given_before([make_visit(), returning], VOCABULARY)
    assert before.tolist() == [[FIRST_VISIT] * 3, [NOT_GIVEN, GIVEN, NOT_GIVEN]]


@pytest.mark.parametrize("habit", [1.0, -1.0])
def test_the_habit_of_a_hospital_is_found_and_first_visits_are_left_alone(habit):
    chance = np.random.default_rng(0)
    before = chance.integers(0, 3, (400, 20))
    logits = chance.normal(size=before.shape)
    true_logits = logits + np.array([habit, 0.0, 0.0])[before]
    truth = chance.random(before.shape) < 1 / (1 + np.exp(-true_logits))
    found = fit_persistence(logits, truth, before)
    assert found.given == pytest.approx(habit, abs=0.2)
    assert found.first_visit == pytest.approx(0, abs=0.2)
    moved = found.applied(logits, before) - logits
    np.testing.assert_allclose(moved[before == GIVEN], found.given, rtol=1e-3)


def test_nothing_seen_moves_nothing():
    nothing = np.zeros((0, 3))
    assert fit_persistence(nothing, nothing, nothing.astype(int)) == Persistence(0, 0, 0)
