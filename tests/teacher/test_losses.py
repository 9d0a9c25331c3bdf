"""The teacher's losses, against values worked out by hand."""

import math

import pytest
import torch
from torch.nn import functional

from engine.config import TeacherRecipe
from engine.teacher.losses import MultiLabelLoss, group_weights

LOGITS = torch.tensor([[0.0, math.log(3)], [-math.log(3), 0.0]])  # p = 1/2, 3/4, 1/4, 1/2
LABELS = torch.tensor([[1.0, 0.0], [1.0, 1.0]])


def loss(**recipe) -> float:
    return MultiLabelLoss(TeacherRecipe(**recipe), LABELS)(LOGITS, LABELS).item()


def test_the_default_is_plain_binary_cross_entropy_to_the_bit():
    torch.manual_seed(0)
    logits, labels = torch.randn(8, 30), (torch.rand(8, 30) < 0.2).float()
    ours = MultiLabelLoss(TeacherRecipe(), labels)(logits, labels)
    assert torch.equal(ours, functional.binary_cross_entropy_with_logits(logits, labels))


def test_plain_value():
    by_hand = (math.log(2) + math.log(4) + math.log(4) + math.log(2)) / 4
    assert loss() == pytest.approx(by_hand)


def test_label_smoothing_draws_targets_towards_one_half():
    # epsilon 0.2: targets 0.9, 0.1, 0.9, 0.9
    half, rest = math.log(2), 0.9 * math.log(4) + 0.1 * math.log(4 / 3)
    assert loss(label_smoothing=0.2) == pytest.approx((half + rest + rest + half) / 4)


def test_focal_loss_counts_by_how_wrong_an_answer_is():
    # gamma 2: factors (1/2)^2, (3/4)^2, (3/4)^2, (1/2)^2
    by_hand = (0.25 * math.log(2) + 0.5625 * math.log(4)) * 2 / 4
    assert loss(focal_gamma=2) == pytest.approx(by_hand)


def test_a_tiny_focus_is_nearly_none():
    assert loss(focal_gamma=1e-6) == pytest.approx(loss(), rel=1e-5)


def test_weights_are_visits_without_over_visits_with_a_group():
    labels = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    balanced = group_weights(labels, "balanced")
    torch.testing.assert_close(balanced, torch.tensor([3.5 / 1.5, 4.5 / 0.5]))
    torch.testing.assert_close(group_weights(labels, "sqrt"), balanced.sqrt())
    assert group_weights(labels, "none") is None


@pytest.mark.parametrize("gamma", [0, 2])
def test_weights_count_given_groups_only(gamma):
    # groups given in 2 and 1 of 2 visits: weights (0.5 / 2.5) and (1.5 / 1.5)
    wrong = [0.5, 0.75, 0.75, 0.5]  # 1 - p of the true answer, in the order of LOGITS
    terms = [error**gamma * -math.log(1 - error) for error in wrong]
    by_hand = (0.2 * terms[0] + terms[1] + 0.2 * terms[2] + terms[3]) / 4
    assert loss(class_weighting="balanced", focal_gamma=gamma) == pytest.approx(by_hand)
