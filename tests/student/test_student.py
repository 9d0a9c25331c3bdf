"""The student: packed tensors, what it may see, and its losses."""

import numpy as np
import pytest
import torch

from engine.config import Recipe
from engine.records.vocabulary import Vocabulary
from engine.student import inference, losses
from engine.student.model import Student
from engine.student.tensors import PAD, collate, encode
from tests.visits import make_visit

PAST = make_visit(visit_id="10", diagnoses=("10:I5021",), procedures=(), medications=("C03C",))
VISITS = [
    make_visit(),
    make_visit(visit_id="12", procedures=(), history=(PAST,)),
    make_visit(visit_id="13", diagnoses=("10:Z999",), history=(PAST, PAST, PAST)),
]
VOCABULARY = Vocabulary.from_visits([VISITS[0], VISITS[1]])
RECIPE = Recipe.model_validate(
    {"name": "t", "student": {"hidden_size": 16, "heads": 2, "max_history": 2}}
)


@pytest.fixture
def student() -> Student:
    torch.manual_seed(1)
    return Student.sized_for(VOCABULARY, RECIPE, teacher_hidden_size=8).eval()


def encode_all(visits):
    return [encode(visit, VOCABULARY, 2, RECIPE.prompt.profile) for visit in visits]


def test_a_batch_has_one_row_a_visit_and_pads_to_its_own_longest_set():
    batch = collate(encode_all(VISITS), len(VOCABULARY.medications))
    assert batch.diagnoses.shape == (1 + 2 + 3, 2)
    assert batch.visit_rows.tolist() == [[PAD, PAD, 0], [PAD, 1, 2], [3, 4, 5]]


def test_the_latest_visits_are_kept():
    history = tuple(
        make_visit(visit_id=str(n), diagnoses=(code,))
        for n, code in enumerate(("10:E119", "10:I10", "10:I5021"))
    )
    encoded = encode(make_visit(history=history), VOCABULARY, 2, ())
    kept = [VOCABULARY.diagnosis_index(code) for code in ("10:I10", "10:I5021")]
    assert [codes[0] for codes in encoded.diagnoses[:2]] == kept


def test_an_unseen_code_is_unknown_and_does_not_crash(student):
    logits = inference.predict(student, [VISITS[2]], VOCABULARY, RECIPE)
    assert np.isfinite(logits).all()


def test_a_batch_answers_as_one_by_one(student):
    together = inference.predict(student, VISITS, VOCABULARY, RECIPE)
    alone = [inference.predict(student, [visit], VOCABULARY, RECIPE)[0] for visit in VISITS]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-5)


def test_the_order_of_codes_does_not_matter(student):
    turned = make_visit(diagnoses=tuple(reversed(VISITS[0].diagnoses)))
    np.testing.assert_allclose(
        inference.predict(student, [VISITS[0]], VOCABULARY, RECIPE),
        inference.predict(student, [turned], VOCABULARY, RECIPE),
        atol=1e-5,
    )


def test_the_visits_own_medications_never_reach_the_answer(student):
    other = make_visit(medications=("C03C",))
    np.testing.assert_array_equal(
        inference.predict(student, [VISITS[0]], VOCABULARY, RECIPE),
        inference.predict(student, [other], VOCABULARY, RECIPE),
    )


@pytest.mark.parametrize("change", [{"age": 20}, {"sex": "M"}, {"diagnoses": ("10:I5021",)}])
def test_profile_and_codes_do_reach_the_answer(change, student):
    base = make_visit(history=(make_visit(age=20, sex="M"),))
    vocabulary = Vocabulary.from_visits([base, VISITS[1]])
    student = Student.sized_for(vocabulary, RECIPE, 8).eval()
    before = inference.predict(student, [make_visit()], vocabulary, RECIPE)
    after = inference.predict(student, [make_visit(**change)], vocabulary, RECIPE)
    assert np.abs(before - after).max() > 1e-6


def test_a_switched_off_profile_field_changes_nothing():
    recipe = RECIPE.model_copy(
        update={"prompt": RECIPE.prompt.model_copy(update={"profile": ("sex",)})}
    )
    student = Student.sized_for(VOCABULARY, recipe, 8).eval()
    np.testing.assert_array_equal(
        inference.predict(student, [make_visit()], VOCABULARY, recipe),
        inference.predict(student, [make_visit(race="ASIAN", age=20)], VOCABULARY, recipe),
    )


def test_saved_weights_come_back_equal(student, tmp_path):
    inference.save(student, tmp_path / "student.safetensors")
    again = inference.load(tmp_path / "student.safetensors", VOCABULARY, RECIPE)
    np.testing.assert_array_equal(
        inference.predict(inference.ready(student), VISITS, VOCABULARY, RECIPE),
        inference.predict(again, VISITS, VOCABULARY, RECIPE),
    )


def test_distillation_loss_golden_value():
    features, hidden = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]])
    assert losses.distillation(features, hidden).item() == pytest.approx((1 + 4) / 2)


def test_distillation_refuses_shapes_that_would_broadcast():
    with pytest.raises(ValueError, match="against"):
        losses.distillation(torch.zeros(2, 3), torch.zeros(1, 3))


def test_alignment_golden_value():
    # Two orthogonal pairs, temperature 1: each row is log(e / (e + 1)) away from certainty.
    pair = torch.eye(2)
    expected = -np.log(np.e / (np.e + 1))
    assert losses.alignment(pair, pair, 1.0).item() == pytest.approx(expected)


def test_alignment_of_one_visit_is_zero():
    assert losses.alignment(torch.ones(1, 4), torch.randn(1, 4), 0.1).item() == 0.0
