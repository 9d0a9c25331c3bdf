"""Nearest neighbour with previous prescription: who is near, what is blended, what is not read."""

from dataclasses import replace

import numpy as np
import pytest

from engine.errors import WorkbenchError
from engine.evaluation.baselines import MostFrequent
from engine.evaluation.metrics import average_precision
from engine.evaluation.neighbour import NearestNeighbour
from engine.records.labels import label_matrix
from engine.records.vocabulary import Vocabulary
from tests.evaluation.planted import planted_visits


@pytest.fixture(scope="module")
def planted():
    """Training, validation, test and vocabulary of a rule that a neighbour shows."""
    visits = planted_visits(240, seed=1)
    train, validation, test = visits[:160], visits[160:200], visits[200:]
    return train, validation, test, Vocabulary.from_visits(train)


@pytest.fixture(scope="module")
def fitted(planted):
    train, validation, _, vocabulary = planted
    return NearestNeighbour().fit(train, validation, vocabulary)


def test_it_beats_frequency_on_first_visits_and_on_returning_patients(planted, fitted):
    train, validation, test, vocabulary = planted
    frequent = MostFrequent().fit(train, validation, vocabulary)
    for first in (True, False):
        visits = [visit for visit in test if visit.is_first == first]
        truth, missing = label_matrix(visits, vocabulary)
        found, frequency = (
            average_precision(truth, model.predict(visits)[0], missing).mean()
            for model in (fitted, frequent)
        )
        assert found > frequency + 0.1


def test_the_present_prescription_is_not_read(planted, fitted):
    test = planted[2]
    blank = [replace(visit, medications=(), drugs=()) for visit in test]
    for one, other in zip(fitted.predict(test), fitted.predict(blank), strict=True):
        assert (one == other).all()


def test_a_twin_of_a_training_visit_is_its_own_neighbour(make_visit):
    """With one neighbour the share is what that neighbour was given, and nothing else."""
    train = [
        make_visit("a", ("A02B",), ("10:E119", "10:I10")),
        make_visit("b", ("B01A",), ("10:I5021", "10:I10")),
    ]
    vocabulary = Vocabulary.from_visits(train)
    model = NearestNeighbour().fit(train, train, vocabulary)
    model.k = 1
    probability, _ = model.predict([make_visit("x", (), ("10:I5021", "10:I10"))])
    assert probability[0] == pytest.approx([0.005 / 1.01, 1.005 / 1.01])


def test_the_previous_prescription_counts_by_its_weight(make_visit):
    train = [make_visit("a", ("A02B",)), make_visit("b", ("B01A",))]
    model = NearestNeighbour().fit(train, train, Vocabulary.from_visits(train))
    model.previous_weight = 0.25
    earlier = make_visit("x", ("B01A", "Z99Z"))  # Z99Z: outside the vocabulary
    first = make_visit("x", (), ("10:NEW",))
    returning = make_visit("x", (), ("10:NEW",), history=(earlier, make_visit("x")))
    probability, _ = model.predict([first, returning])
    assert probability == pytest.approx(np.array([[0.5, 0.5], [0.375, 0.625]]))


def test_visits_like_no_other_get_the_frequencies(planted, fitted, make_visit):
    train, _, _, vocabulary = planted
    frequency = label_matrix(train, vocabulary)[0].mean(axis=0)
    probability, _ = fitted.predict([make_visit("x", (), ("10:NEW",)), make_visit("y", (), ())])
    assert probability == pytest.approx(np.tile(frequency, (2, 1)))
    assert [part.shape for part in fitted.predict([])] == [(0, len(frequency))] * 2


def test_an_empty_part_is_named(planted):
    train, validation, _, vocabulary = planted
    with pytest.raises(WorkbenchError, match="training part"):
        NearestNeighbour().fit([], validation, vocabulary)
    with pytest.raises(WorkbenchError, match="validation part"):
        NearestNeighbour().fit(train, [], vocabulary)
