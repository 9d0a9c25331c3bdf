"""The losses as one: golden values, and who is taught by what."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.config import Recipe
from engine.records.vocabulary import Vocabulary
from engine.student import losses
from engine.student.model import Student
from engine.student.objective import objective
from engine.student.packed import pack
from tests.visits import make_visit

VISITS = [make_visit(), make_visit(visit_id="12", sex="M", medications=("C03C",))]
VOCABULARY = Vocabulary.from_visits(VISITS)


def test_logit_distillation_golden_value():
    # T = 2: the teacher's log 9 softens to log 3, 0.75; the student's 0 says 0.5 of everything.
    logits, teacher = torch.tensor([[0.0]]), torch.tensor([[np.log(9.0)]])
    expected = 4 * np.log(2)
    assert losses.logit_distillation(logits, teacher, 2.0).item() == pytest.approx(expected)
    right = losses.logit_distillation(teacher, teacher, 2.0).item()
    assert right == pytest.approx(-4 * (0.75 * np.log(0.75) + 0.25 * np.log(0.25)))


def test_logit_distillation_pulls_as_hard_whatever_the_temperature():
    """For small logits the gradient is (student - teacher) / 4 a label at every T."""
    teacher = torch.tensor([[0.02]])
    for temperature in (1.0, 2.0, 8.0):
        logits = torch.zeros(1, 1, requires_grad=True)
        losses.logit_distillation(logits, teacher, temperature).backward()
        assert logits.grad.item() == pytest.approx(-0.02 / 4, rel=1e-3)


def test_logit_distillation_refuses_shapes_that_would_broadcast():
    with pytest.raises(ValueError, match="against"):
        losses.logit_distillation(torch.zeros(2, 3), torch.zeros(1, 3), 2.0)


def parts_of(options: dict, labelled: int | None = None, visits=VISITS) -> dict[str, float]:
    recipe = Recipe.model_validate(
        {"name": "t", "student": {"hidden_size": 16, "heads": 2, "dropout": 0} | options}
    )
    torch.manual_seed(1)
    student = Student.sized_for(VOCABULARY, recipe, 8).train()
    batch = pack(visits, VOCABULARY, 8, recipe.prompt.profile)
    teacher = torch.ones(2, 8), torch.ones(2, len(VOCABULARY.medications))
    parts = objective(student, batch, teacher, recipe.student, labelled)[1]
    return {name: value.item() for name, value in parts.items()}


def test_a_part_of_weight_zero_is_not_computed_and_the_rest_adds_up():
    parts = parts_of({"distillation_weight": 0, "alignment_weight": 0, "logit_weight": 0.5})
    assert set(parts) == {"loss", "bce", "logit_distillation"}
    assert parts["loss"] == pytest.approx(parts["bce"] + 0.5 * parts["logit_distillation"])


def test_unlabelled_visits_learn_from_the_teacher_alone():
    wrong = [VISITS[0], replace(VISITS[1], medications=VOCABULARY.medications)]
    options = {"logit_weight": 1.0}
    right, unread = parts_of(options, labelled=1), parts_of(options, labelled=1, visits=wrong)
    assert right == unread
    assert parts_of(options)["bce"] != right["bce"]
    assert parts_of(options)["distillation"] == right["distillation"]
