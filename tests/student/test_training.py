"""Training: what is hidden, who is asked, and what a recipe's switches change."""

import numpy as np
import pytest
import torch

from engine.config import Recipe
from engine.errors import WorkbenchError
from engine.records.vocabulary import UNKNOWN, Vocabulary
from engine.student.categories import Categories, parents
from engine.student.classroom import hide_codes
from engine.student.distillation import CachedTargets
from engine.student.model import Student
from engine.student.optimizer import optimizer_for
from engine.student.packed import pack
from engine.student.training import Lessons, train
from tests.visits import make_visit

PAST = make_visit(visit_id="10", diagnoses=("10:I5021",), procedures=(), medications=("C03C",))
VISITS = [
    make_visit(visit_id=str(number), sex="FM"[number % 2], history=(PAST,) * (number % 3))
    for number in range(11, 18)
]
VOCABULARY = Vocabulary.from_visits(VISITS)
GROUPS = len(VOCABULARY.medications)


def recipe(**student) -> Recipe:
    options = {"hidden_size": 16, "heads": 2, "epochs": 2, "batch_size": 4}
    return Recipe.model_validate({"name": "t", "student": options | student})


def targets(visits: int) -> CachedTargets:
    draw = np.random.default_rng(0)
    hidden = draw.normal(size=(visits, 8)).astype(np.float32)
    logits = draw.normal(size=(visits, GROUPS)).astype(np.float32)
    return CachedTargets(hidden, logits, len(VISITS))


def score(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {"prauc": float(((logits > 0) == (labels > 0)).mean())}


class NoTeacher:
    """Targets that must not be read."""

    hidden_size = 8

    def of(self, rows):
        raise AssertionError("the teacher was asked")


def weights_after(tmp_path, lessons: Lessons, distil: bool = True, **student) -> torch.Tensor:
    taught = train(recipe(**student), VOCABULARY, lessons, VISITS, score, tmp_path, distil)
    return torch.cat([weight.detach().flatten() for weight in taught.parameters()])


def test_without_distillation_the_teacher_is_not_asked(tmp_path):
    lessons = Lessons(VISITS, NoTeacher())
    switches = {"logit_weight": 1.0, "embeddings_from_teacher": True, "unlabelled": 2}
    plain = weights_after(tmp_path, lessons, distil=False)
    switched = weights_after(tmp_path, lessons, distil=False, **switches)
    assert torch.equal(plain, switched)
    with pytest.raises(AssertionError, match="was asked"):
        weights_after(tmp_path, lessons)


@pytest.mark.parametrize("copies", [1, 2])
def test_unlabelled_visits_change_what_is_learnt_and_their_labels_do_not(copies, tmp_path):
    extra = [make_visit(visit_id=f"{n}~0", diagnoses=("10:I10",)) for n in range(7 * copies)]
    other = [make_visit(visit_id=v.visit_id, diagnoses=("10:I10",), medications=()) for v in extra]
    known = targets(len(VISITS) + len(extra))
    without = weights_after(tmp_path, Lessons(VISITS, known))
    some, same = (
        weights_after(tmp_path, Lessons(VISITS, known, visits), unlabelled=copies)
        for visits in (extra, other)
    )
    assert not torch.equal(without, some)
    assert torch.equal(some, same)


def test_logits_of_the_teacher_change_what_is_learnt(tmp_path):
    lessons = Lessons(VISITS, targets(len(VISITS)))
    assert not torch.equal(
        weights_after(tmp_path, lessons), weights_after(tmp_path, lessons, logit_weight=1.0)
    )


def test_hidden_states_have_mean_0_and_variance_1_over_the_labelled_visits():
    hidden, _ = targets(len(VISITS) + 3).of(range(len(VISITS)))
    torch.testing.assert_close(hidden.mean(dim=0), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(hidden.std(dim=0, correction=0), torch.ones(8))


@pytest.mark.parametrize("with_categories", [False, True])
def test_a_hidden_code_becomes_its_category_or_unknown(with_categories):
    categories = Categories.known(VOCABULARY) if with_categories else None
    visit = make_visit(diagnoses=("10:I10", "10:E119"), procedures=())
    batch = pack([visit] * 200, VOCABULARY, 8, (), categories)
    torch.manual_seed(0)
    hidden = hide_codes(batch, 0.5, parents(VOCABULARY, categories))
    expected = {
        VOCABULARY.diagnosis_index("10:I10"),
        VOCABULARY.diagnosis_index("10:E119"),
        UNKNOWN,
    }
    if categories:
        expected |= {categories.diagnosis_entry(code, VOCABULARY) for code in ("10:I10", "10:E119")}
    assert set(hidden.diagnoses.entries.tolist()) == expected
    assert not len(hidden.procedures.entries)
    changed = hidden.diagnoses.entries != batch.diagnoses.entries
    assert 0.4 < changed.float().mean() < 0.6


def test_the_linear_path_does_not_decay():
    options = recipe(linear_path=True).student
    student = Student.sized_for(VOCABULARY, recipe(linear_path=True), 8)
    rest, direct = optimizer_for(student, options).param_groups
    assert (rest["weight_decay"], direct["weight_decay"]) == (options.weight_decay, 0.0)
    assert len(rest["params"]) + len(direct["params"]) == len(list(student.parameters()))


def test_nothing_to_learn_from_is_said(tmp_path):
    with pytest.raises(WorkbenchError, match="no labelled visits"):
        train(recipe(), VOCABULARY, Lessons([], NoTeacher()), VISITS, score, tmp_path)
