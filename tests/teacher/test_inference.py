"""A trained teacher's answers: the same in any batch, in bf16 weights, and as the plain path's."""

import numpy as np
import pytest
import torch

from engine.records.cohort import Cohort
from engine.teacher import inference, precision
from engine.teacher import model as teacher_model
from engine.teacher.inference import Teacher, by_length

TEXTS = ["a short prompt", "a prompt that is a good deal longer than the first one", "third"]


def open_teacher(tiny_run, tiny_recipe, tiny_cohort, asked: str) -> Teacher:
    groups = len(Cohort.open(tiny_cohort).vocabulary.medications)
    recipe = tiny_recipe.teacher.model_copy(update={"precision": asked})
    return Teacher(recipe, tiny_run / "teacher", groups, tiny_recipe.prompt)


@pytest.fixture(scope="module")
def teacher(tiny_run, tiny_recipe, tiny_cohort) -> Teacher:
    return open_teacher(tiny_run, tiny_recipe, tiny_cohort, "fp32")


def plain(model, tokenizer, text: str, bf16: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """What the model itself says to one prompt, with its mask and every token through the head."""
    batch = tokenizer([text], return_tensors="pt")
    with (
        torch.inference_mode(),
        torch.autocast("cpu", torch.bfloat16, enabled=bf16),
        teacher_model.head_input(model) as seen,
    ):
        logits = model(**batch).logits
    return logits[0].float().numpy(), seen[0][0, -1].float().numpy()


def test_batches_give_what_the_plain_model_gives_one_at_a_time(teacher):
    logits, hidden = teacher.predict(TEXTS)
    for row, text in enumerate(TEXTS):
        expected = plain(teacher.model, teacher.tokenizer, text)
        np.testing.assert_allclose(logits[row], expected[0], atol=1e-5)
        np.testing.assert_allclose(hidden[row], expected[1], atol=1e-5)


def test_weights_kept_in_bf16_change_nothing(tiny_run, tiny_recipe, tiny_cohort, monkeypatch):
    """Autocast would cast them at every call; cast once they are the same numbers."""
    monkeypatch.setattr(precision, "bf16_over_fp32", lambda: 0.5)  # whatever machine this is
    teacher = open_teacher(tiny_run, tiny_recipe, tiny_cohort, "bf16")
    assert torch.bfloat16 in {weight.dtype for weight in teacher.model.parameters()}
    head = teacher_model.head_of(teacher.model)
    assert {weight.dtype for weight in head.parameters()} == {torch.float32}
    options = tiny_recipe.teacher, tiny_run / "teacher", len(head.linear.bias)
    whole = teacher_model.load(*options, teacher.tokenizer.pad_token_id)
    for text in TEXTS:
        expected = plain(whole, teacher.tokenizer, text, bf16=True)
        for before, after in zip(
            expected, plain(teacher.model, teacher.tokenizer, text, bf16=True), strict=True
        ):
            np.testing.assert_array_equal(after, before)
        # A padded batch multiplies matrices of another shape: a rounding step of bf16 apart.
        np.testing.assert_allclose(teacher.predict([text])[0][0], expected[0], atol=1e-2)


def test_no_prompts_give_empty_arrays_of_the_right_width(teacher):
    logits, hidden = teacher.predict([])
    assert logits.shape == (0, teacher.predict(["one"])[0].shape[1])
    assert hidden.shape == (0, 32)


def test_batches_hold_every_prompt_once_within_the_budget_and_with_little_padding():
    random = np.random.default_rng(0)
    lengths = random.integers(1, 600, 500).tolist()
    batches = list(by_length(lengths, tokens=2_048))
    assert sorted(row for rows in batches for row in rows) == list(range(500))
    read = 0
    for rows in batches:
        longest = max(lengths[row] for row in rows)
        width = -(-longest // inference.PAD_TO) * inference.PAD_TO
        assert len(rows) * width <= 2_048
        assert min(lengths[row] for row in rows) >= width * 7 / 8 - inference.PAD_TO
        read += len(rows) * width
    assert read < 1.05 * sum(lengths)


def test_a_prompt_over_the_budget_goes_alone():
    assert list(by_length([10, 5_000, 12], tokens=100)) == [[1], [2, 0]]
