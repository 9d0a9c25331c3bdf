"""RETAIN reads the visits in reverse time, each with two attentions."""

from dataclasses import replace

import pytest
import torch

from engine.evaluation.neural.inputs import latest_first, without_answers
from engine.evaluation.neural.retain import RetainNetwork
from engine.evaluation.neural.training import Settings
from engine.records.vocabulary import Vocabulary
from engine.student.tensors import PAD, collate, encode
from tests.visits import make_visit

OLD = make_visit(diagnoses=("10:A",), procedures=(), medications=("A02B",))
NEW = make_visit(diagnoses=("10:B",), procedures=(), medications=("B01A",))
VISIT = make_visit(diagnoses=("10:A", "10:B"), procedures=(), history=(OLD, NEW))
VOCABULARY = Vocabulary.from_visits([VISIT])


def logits(*visits):
    torch.manual_seed(0)
    network = RetainNetwork(VOCABULARY, Settings(size=8)).eval()
    batch = collate([encode(visit, VOCABULARY, 8, ()) for visit in visits], 2)
    with torch.inference_mode():
        return network(without_answers(batch))


def test_time_runs_backwards_from_the_visit_at_hand():
    rows = torch.tensor([[PAD, 0, 1], [2, 3, 4]])
    assert latest_first(rows).tolist() == [[1, 0, PAD], [4, 3, 2]]


def test_the_order_of_the_past_matters():
    swapped = replace(VISIT, history=(NEW, OLD))
    assert not torch.allclose(logits(VISIT), logits(swapped))


def test_the_order_of_codes_within_a_visit_does_not():
    swapped = replace(VISIT, diagnoses=("10:B", "10:A"))
    assert torch.allclose(logits(VISIT), logits(swapped), atol=1e-6)


def test_a_longer_history_beside_it_changes_nothing():
    alone = logits(NEW)
    assert logits(NEW, VISIT)[0].tolist() == pytest.approx(alone[0].tolist(), abs=1e-6)
