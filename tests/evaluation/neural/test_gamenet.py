"""GAMENet's two memories: what the bank knows and what the patient's own past brings."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.evaluation.neural.gamenet import (
    GameNet,
    GameNetwork,
    GraphConvolution,
    interacting,
    prescribed_together,
)
from engine.evaluation.neural.inputs import oldest_first, without_answers
from engine.evaluation.neural.training import Settings
from engine.records.vocabulary import Vocabulary
from engine.student.tensors import collate, encode
from engine.terminology.interactions import group_pairs
from tests.visits import make_visit

GROUPS = ("A02B", "B01A", "C07A")
VOCABULARY = Vocabulary.from_codes(("10:E119", "10:I10"), (), GROUPS, {})


def recalled(visit) -> np.ndarray:
    """Return what the dynamic memory gives for a visit, (L,)."""
    torch.manual_seed(0)
    graph = np.ones((3, 3), dtype=np.float32)
    network = GameNetwork(VOCABULARY, [graph], Settings(size=8)).eval()
    batch = without_answers(collate([encode(visit, VOCABULARY, 8, ())], len(GROUPS)))
    rows = oldest_first(batch.visit_rows)
    present = (rows >= 0).sum(dim=1) - 1
    with torch.inference_mode():
        queries = network._queries(batch, rows)
        return network._recall(batch, rows, queries, queries[:, present[0]], present)[0].numpy()


def test_the_dynamic_memory_holds_past_prescriptions_only():
    past = make_visit(diagnoses=("10:E119",), medications=("A02B",))
    visit = make_visit(medications=("B01A", "C07A"), history=(past,))
    assert recalled(visit).tolist() == [1, 0, 0]
    assert recalled(replace(visit, medications=())).tolist() == [1, 0, 0]
    assert recalled(make_visit(medications=("B01A",))).tolist() == [0, 0, 0]


def test_earlier_prescriptions_share_one_weight_between_them():
    history = tuple(make_visit(medications=(group,)) for group in ("A02B", "B01A"))
    memory = recalled(make_visit(history=history))
    assert memory.sum() == pytest.approx(1)
    assert (memory[:2] > 0).all()


def test_groups_are_linked_that_go_together_more_than_by_chance():
    def linked(*prescriptions):
        visits = [make_visit(medications=groups) for groups in prescriptions]
        return prescribed_together(visits, VOCABULARY).tolist()

    together, alone = ("A02B", "B01A", "Z99Z"), ("C07A",)
    never_apart = [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert linked(together, together, alone, alone) == never_apart
    # By chance: half have A02B, half have B01A, and a quarter both.
    assert linked(("A02B", "B01A"), ("A02B",), ("B01A",), ("C07A",)) == np.zeros((3, 3)).tolist()


def test_groups_that_everyone_has_are_linked_to_none():
    visits = [make_visit(medications=("A02B", "B01A"))] * 3
    assert not prescribed_together(visits, VOCABULARY).any()


def test_interacting_groups_are_linked_both_ways():
    linked = interacting([("C07A", "A02B"), ("A02B", "Z99Z")], VOCABULARY)
    assert np.argwhere(linked).tolist() == [[0, 2], [2, 0]]


def test_the_graph_is_normalised_by_the_square_roots_of_both_degrees():
    graph = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=np.float32)
    layer = GraphConvolution(graph, size=4, dropout=0)
    # With itself each end has degree 2, the middle 3 (Kipf and Welling, 2017, section 2).
    assert layer.graph[0].tolist() == pytest.approx([1 / 2, 6**-0.5, 0])
    assert layer.graph[1, 1].item() == pytest.approx(1 / 3)
    assert layer().shape == (3, 4)


def test_given_interactions_enter_the_memory_bank(planted):
    train, validation, _, vocabulary = planted
    settings = Settings(size=8, epochs=1)
    plain = GameNet(settings=settings).fit(train, validation, vocabulary)
    pairs = group_pairs()  # as the terminology gives them
    assert interacting(pairs, vocabulary).any()
    aware = GameNet(interactions=pairs, settings=settings).fit(train, validation, vocabulary)
    bank = 8 * len(vocabulary.medications) + 8 * 8
    assert aware.parameters == plain.parameters + bank + 1
    assert aware.network.interaction_share.item() != 0  # it is learnt
