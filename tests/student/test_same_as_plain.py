"""The fast student answers as the plain one: same weights, same logits, same gradients."""

import random

import pytest
import torch

from bench import plain_student
from engine.config import Recipe
from engine.records.vocabulary import Vocabulary
from engine.student import inference
from engine.student.categories import Categories
from engine.student.model import Student
from engine.student.packed import pack
from engine.student.tables import Tables
from engine.student.tensors import collate, encode
from tests.visits import make_visit

DIAGNOSES = [f"10:I{n}" for n in range(100, 160)]
PROCEDURES = [f"10:02HV{n}Z" for n in range(10, 30)]
MEDICATIONS = [f"A{n:02d}B" for n in range(25)]


def drawn_visits(count: int, seed: int):
    """Visits of 0 to 10 earlier ones, with empty sets of every kind among them."""
    draw = random.Random(seed)

    def some(codes, most):
        return tuple(draw.sample(codes, draw.randint(0, most)))

    def one(**more):
        return make_visit(
            diagnoses=some(DIAGNOSES, 20) or tuple(DIAGNOSES[:1]),
            procedures=some(PROCEDURES, 4),
            medications=some(MEDICATIONS, 12),
            age=draw.randint(18, 95),
            sex=draw.choice(["F", "M", None]),
            **more,
        )

    return [
        one(visit_id=str(n), history=tuple(one() for _ in range(draw.choice([0, 0, 1, 2, 10]))))
        for n in range(count)
    ]


VISITS = drawn_visits(40, seed=1)
VOCABULARY = Vocabulary.from_visits(VISITS[:20])


def made(seed: int = 1, **options) -> tuple[Recipe, Student]:
    """An untrained student with weights everywhere, in training mode but without dropout."""
    options = {"hidden_size": 16, "heads": 4, "linear_path": True, "dropout": 0} | options
    recipe = Recipe.model_validate({"name": "t", "student": options})
    torch.manual_seed(seed)
    categories = Categories.known(VOCABULARY) if options.get("embeddings_from_teacher") else None
    student = Student.sized_for(VOCABULARY, recipe, 8, categories)
    with torch.no_grad():
        for weight in student.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return recipe, student


def plain(student: Student, recipe: Recipe, visits) -> torch.Tensor:
    reading = recipe.student.max_history, recipe.prompt.profile, student.categories
    encoded = [encode(visit, VOCABULARY, *reading) for visit in visits]
    batch = plain_student.padded(encoded, len(VOCABULARY.medications))
    return plain_student.answer(student, batch).logits


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"linear_path": False},
        {"layers": 2},
        {"max_history": 0},
        {"heads": 1},
        {"embeddings_from_teacher": True},
    ],
    ids=str,
)
def test_the_same_logits_for_many_visits_and_for_one(options):
    recipe, student = made(**options)
    student.eval()
    with torch.no_grad():
        expected = plain(student, recipe, VISITS)
    for answering in (student, inference.ready(student)):
        reached = torch.from_numpy(inference.predict(answering, VISITS, VOCABULARY, recipe))
        torch.testing.assert_close(reached, expected, atol=1e-5, rtol=1e-5)
        alone = torch.from_numpy(inference.predict(answering, VISITS[3:4], VOCABULARY, recipe))
        torch.testing.assert_close(alone, expected[3:4], atol=1e-5, rtol=1e-5)
    assert (student.tables is not None) == (options.get("layers", 1) == 1)


def test_tables_are_void_after_more_training_or_with_other_weights():
    _, student = made()
    _, other = made(seed=2)
    assert inference.ready(student).tables
    assert student.train().tables is None
    assert inference.ready(student).tables
    student.load_state_dict(other.state_dict())
    assert student.tables is None


def test_scores_too_wide_for_tables_are_worked_out_one_by_one():
    recipe, student = made()
    with torch.no_grad():
        student.diagnosis_encoder.encoder.layers[0].self_attn.in_proj_weight.mul_(20)
        expected = plain(student.eval(), recipe, VISITS)
    assert Tables.of(student) is None
    reached = inference.predict(inference.ready(student), VISITS, VOCABULARY, recipe)
    torch.testing.assert_close(torch.from_numpy(reached), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("layers", [1, 2])
def test_the_same_gradients(layers):
    recipe, student = made(layers=layers)
    reading = recipe.student.max_history, recipe.prompt.profile
    target = torch.randn(len(VISITS), len(VOCABULARY.medications))
    gradients = []
    for logits in (
        plain(student, recipe, VISITS),
        student(pack(VISITS, VOCABULARY, *reading)).logits,
    ):
        student.zero_grad()
        (logits * target).sum().backward()
        gradients.append(
            {
                name: weight.grad.to_dense()
                for name, weight in student.named_parameters()
                if weight.grad is not None
            }
        )
    assert gradients[0].keys() == gradients[1].keys()
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, atol=2e-4, rtol=1e-4, msg=name)


def test_packing_and_choosing_are_one():
    recipe, _ = made()
    reading = recipe.student.max_history, recipe.prompt.profile
    chosen = [7, 3, 30]
    direct = pack([VISITS[number] for number in chosen], VOCABULARY, *reading)
    picked = pack(VISITS, VOCABULARY, *reading).select(torch.tensor(chosen))
    assert torch.equal(direct.profile, picked.profile)
    for kind in ("rows", "diagnoses", "procedures", "medications"):
        one, other = getattr(direct, kind), getattr(picked, kind)
        assert torch.equal(one.entries, other.entries), kind
        assert torch.equal(one.offsets, other.offsets), kind
    groups = len(VOCABULARY.medications)
    encoded = [encode(VISITS[number], VOCABULARY, *reading) for number in chosen]
    assert torch.equal(direct.labels(groups), collate(encoded, groups).labels)
