"""The loss that makes interacting medication groups rarer: golden values and what it moves."""

import json
import math

import numpy as np
import pytest
import torch

from engine.config import Recipe
from engine.evaluation.interactions import expected_rate
from engine.records.cohort import Cohort
from engine.records.vocabulary import Vocabulary
from engine.student import losses, training
from engine.student.distillation import CachedTargets
from engine.terminology.interactions import matrix

GROUPS = ("A02B", "C03D", "C09A")  # the last two interact
INTERACTS = torch.tensor([[0.0, 0, 0], [0, 0, 1], [0, 1, 0]])


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def test_golden_value():
    logits = torch.tensor([[logit(0.5), logit(0.2), logit(0.4)]])
    expected = 0.2 * 0.4 / (0.5 * 0.2 + 0.5 * 0.4 + 0.2 * 0.4)
    assert losses.interaction(logits, INTERACTS).item() == pytest.approx(expected)


def test_the_loss_is_the_metric_and_the_matrix_that_of_the_rules():
    vocabulary = Vocabulary(diagnoses=(), procedures=(), medications=GROUPS, profile={})
    assert torch.equal(torch.from_numpy(matrix(GROUPS)).float(), INTERACTS)
    torch.manual_seed(0)
    logits = torch.randn(8, 3)
    metric = expected_rate(torch.sigmoid(logits).numpy(), vocabulary).mean()
    assert losses.interaction(logits, INTERACTS).item() == pytest.approx(metric, rel=1e-5)


def test_recommending_less_of_everything_does_not_lower_it():
    high = losses.interaction(torch.full((1, 3), 4.0), INTERACTS)
    low = losses.interaction(torch.full((1, 3), -4.0), INTERACTS)
    assert high.item() == pytest.approx(1 / 3) and low.item() == pytest.approx(1 / 3)


def test_only_what_exceeds_the_target_counts():
    logits = torch.zeros(1, 3)
    assert losses.interaction(logits, INTERACTS, 0.25).item() == pytest.approx(1 / 3 - 0.25)
    assert losses.interaction(logits, INTERACTS, 0.5).item() == 0


def test_the_gradient_pushes_the_interacting_groups_down_and_the_rate_with_them():
    logits = torch.zeros(1, 3, requires_grad=True)
    before = losses.interaction(logits, INTERACTS)
    before.backward()
    assert (logits.grad[0, 1:] > 0).all() and logits.grad[0, 0] < 0
    after = losses.interaction(logits.detach() - logits.grad, INTERACTS)
    assert after.item() < before.item()


def test_certain_absence_stays_finite():
    logits = torch.full((2, 3), -200.0, requires_grad=True)
    loss = losses.interaction(logits, INTERACTS)
    loss.backward()
    assert loss.item() == 0 and torch.isfinite(logits.grad).all()


def test_a_matrix_of_another_vocabulary_is_refused():
    with pytest.raises(ValueError, match="3 groups against a matrix"):
        losses.interaction(torch.zeros(1, 3), torch.zeros(2, 2))


def test_a_target_without_a_weight_is_refused():
    with pytest.raises(ValueError, match="nothing without interaction_weight"):
        Recipe.model_validate({"name": "t", "student": {"interaction_target": 0.01}})


def test_training_with_the_loss_lowers_the_rate(tiny_cohort, tmp_path):
    cohort = Cohort.open(tiny_cohort)
    visits, held = cohort.samples("train"), cohort.samples("validation")
    groups = len(cohort.vocabulary.medications)
    nothing = np.zeros((len(visits), 4), np.float32), np.zeros((len(visits), groups), np.float32)
    targets = CachedTargets(*nothing, training=len(visits))

    def rate_after_training(weight: float) -> tuple[float, set[str]]:
        student = {"hidden_size": 16, "heads": 2, "epochs": 6, "distillation_weight": 0}
        recipe = Recipe.model_validate(
            {"name": "t", "student": student | {"interaction_weight": weight}}
        )
        output = tmp_path / str(weight)
        logits = []

        def score(validation_logits, truth):
            logits.append(validation_logits)
            return {"prauc": float(len(logits))}

        lessons = training.Lessons(visits, targets)
        training.train(recipe, cohort.vocabulary, lessons, held, score, output)
        logged = json.loads((output / "metrics.jsonl").read_text().splitlines()[-1])
        probability = torch.sigmoid(torch.from_numpy(logits[-1])).numpy()
        return expected_rate(probability, cohort.vocabulary).mean(), set(logged)

    plain, without = rate_after_training(0)
    pushed, within = rate_after_training(100)
    assert pushed < 0.9 * plain
    assert within - without == {"interaction"}
