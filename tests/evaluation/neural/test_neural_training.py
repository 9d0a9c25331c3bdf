"""What every neural baseline owes: it learns, repeats itself, and never sees the answer."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.errors import WorkbenchError
from engine.evaluation.baselines import CopyPrevious, MostFrequent
from engine.evaluation.metrics import average_precision
from engine.evaluation.neural.gamenet import GameNet
from engine.evaluation.neural.retain import Retain
from engine.evaluation.neural.training import Settings
from engine.evaluation.neural.transformer import PlainTransformer
from engine.records.labels import label_matrix
from tests.visits import make_visit

MODELS = (Retain, GameNet, PlainTransformer)


@pytest.fixture(scope="module", params=MODELS, ids=lambda model: model.name)
def fitted(request, planted, quick):
    train, validation, _, vocabulary = planted
    return request.param(settings=quick).fit(train, validation, vocabulary)


@pytest.fixture(params=MODELS, ids=lambda model: model.name)
def tiny(request):
    """An untrained-as-can-be model: one pass, eight dimensions."""
    return request.param(settings=Settings(size=8, epochs=1))


def test_it_learns_the_rule_that_frequency_and_copying_miss(planted, fitted):
    train, validation, test, vocabulary = planted
    for first, rival in ((True, MostFrequent()), (False, CopyPrevious())):
        visits = [visit for visit in test if visit.is_first == first]
        truth, missing = label_matrix(visits, vocabulary)
        rival.fit(train, validation, vocabulary)
        ours, theirs = (
            average_precision(truth, model.predict(visits)[0], missing).mean()
            for model in (fitted, rival)
        )
        assert ours > 0.9 > theirs + 0.1


def test_the_present_prescription_is_not_read(planted, fitted):
    test = planted[2]
    blank = [replace(visit, medications=(), drugs=()) for visit in test]
    everything = [replace(visit, medications=planted[3].medications) for visit in test]
    expected = fitted.predict(test)[0]
    assert (fitted.predict(blank)[0] == expected).all()
    assert (fitted.predict(everything)[0] == expected).all()


def test_the_past_prescription_is_read(planted, fitted):
    returning = [visit for visit in planted[2] if not visit.is_first]

    def given(visit, group):
        past = tuple(replace(earlier, medications=(group,)) for earlier in visit.history)
        return replace(visit, history=past)

    column = planted[3].medication_index("H03A")
    probability = [
        fitted.predict([given(visit, group) for visit in returning])[0][:, column]
        for group in ("H03A", "M04A")
    ]
    assert (probability[0] > probability[1]).all()
    assert probability[0].mean() > 1.2 * probability[1].mean()


def test_an_answer_does_not_depend_on_the_visits_beside_it(planted, fitted):
    test = planted[2][:20]
    together = fitted.predict(test)[0]
    alone = np.vstack([fitted.predict([visit])[0] for visit in test])
    assert together == pytest.approx(alone, abs=1e-5)


def test_the_selection_is_what_reaches_the_threshold(planted, fitted):
    probability, selection = fitted.predict(planted[2])
    assert (selection == (probability >= fitted.threshold)).all()
    assert ((probability > 0) & (probability < 1)).all()


def test_odd_visits_have_an_answer(planted, fitted):
    bare = {"diagnoses": (), "procedures": (), "medications": ()}
    unknown = {"age": None, "sex": None, "race": None, "insurance": None, "admission_type": None}
    odd = [
        make_visit(**bare, **unknown),
        make_visit(diagnoses=("10:NEW",), procedures=("9:NEW",), medications=("Z99Z",)),
        make_visit(**bare, history=(make_visit(**bare),)),
        make_visit(history=tuple(make_visit(**bare) for _ in range(12))),
    ]
    probability, selection = fitted.predict(odd)
    assert probability.shape == selection.shape == (4, len(planted[3].medications))
    assert np.isfinite(probability).all()
    assert [part.shape for part in fitted.predict([])] == [(0, probability.shape[1])] * 2


def test_the_seed_fixes_the_model(planted, tiny):
    train, validation, test, vocabulary = planted
    torch.manual_seed(5)
    expected_draw = torch.rand(1)
    answers = []
    for seed in (3, 3, 4):
        torch.manual_seed(5)
        answers.append(tiny.fit(train, validation, vocabulary, seed=seed).predict(test)[0])
        assert torch.rand(1) == expected_draw  # the caller's random numbers are left alone
    assert (answers[0] == answers[1]).all()
    assert (answers[0] != answers[2]).any()


def test_parameters_are_counted(planted, tiny):
    train, validation, _, vocabulary = planted
    network = tiny.fit(train, validation, vocabulary).network
    codes = len(vocabulary.diagnoses) + len(vocabulary.procedures)
    assert tiny.parameters == sum(part.numel() for part in network.parameters())
    assert tiny.parameters > 8 * (codes + len(vocabulary.medications))


def test_an_empty_part_is_named(planted, tiny):
    train, validation, _, vocabulary = planted
    with pytest.raises(WorkbenchError, match="training part"):
        tiny.fit([], validation, vocabulary)
    with pytest.raises(WorkbenchError, match="validation part"):
        tiny.fit(train, [], vocabulary)
