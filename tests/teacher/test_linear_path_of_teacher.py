"""The linear path: which phrases it sees, what it learns from them, and how it is kept."""

import numpy as np
import pytest

from engine.config import PromptRecipe
from engine.errors import WorkbenchError
from engine.jobs import pipeline
from engine.prompts import render
from engine.records.cohort import Cohort
from engine.teacher.inference import Teacher
from engine.teacher.linear_path import FILE, LinearPath, as_text, phrases_of, together

PROMPT = """The patient is a woman aged 50-59. Race: White.
1 earlier visit is on record.
Given at the latest earlier visit: insulins; laxatives.
Ever given before: antacids.
Earlier visit 1, 2 months before this one.
Diagnosis: Gout.
This visit.
Diagnoses: Essential hypertension; Gout.
Procedures: none recorded.
Which medication groups does the patient need during this visit?"""
PROMPTS = [
    f"This visit.\nDiagnosis: {name}.\nProcedures: none recorded."
    for name in ("Gout", "Asthma", "Gout", "Asthma", "Acute gout", "Rare thing")
]
LABELS = np.array([[1, 0], [0, 1], [1, 0], [0, 1], [1, 0], [0, 0]])


def test_a_phrase_is_known_by_where_it_stands():
    phrases = phrases_of(PROMPT)
    assert "The patient is a woman aged 50-59" in phrases
    assert "Race: White" in phrases
    named = [phrase for phrase in phrases if phrase.endswith(": Gout")]
    assert len(named) == 2  # earlier and now are two things
    given = [phrase for phrase in phrases if phrase.endswith("insulins")]
    assert len(given) == 2  # at the latest visit, and ever
    assert len([phrase for phrase in phrases if phrase.endswith("antacids")]) == 1
    assert len(phrases) == len(set(phrases))


def test_words_count_in_the_present_visit_only():
    phrases = phrases_of(PROMPT)
    assert any(phrase.endswith("with hypertension") for phrase in phrases)
    assert sum(phrase.endswith("with gout") for phrase in phrases) == 1


@pytest.mark.parametrize("order", ["recent", "medications_first"])
def test_every_entry_of_a_real_prompt_is_a_phrase(tiny_cohort, order):
    cohort = Cohort.open(tiny_cohort)
    visit = next(visit for visit in cohort.samples() if visit.previous_medications)
    options = PromptRecipe(order=order, max_tokens=4096)
    text = render(visit, cohort.title, lambda text: len(text.split()), options).text
    phrases = phrases_of(text)
    for kind, codes in (("diagnosis", visit.diagnoses), ("procedure", visit.procedures)):
        for code in codes:
            assert any(phrase.endswith(f": {cohort.title(kind, code)}") for phrase in phrases)
    assert not any("; " in phrase for phrase in phrases)


def test_it_learns_what_a_phrase_stands_for_and_a_words_part_in_an_unseen_title():
    path = LinearPath.fit(PROMPTS, LABELS)
    logits = path.logits([PROMPTS[0], PROMPTS[1], "This visit.\nDiagnosis: Tophaceous gout."])
    assert logits[0, 0] > logits[1, 0]
    assert logits[1, 1] > logits[0, 1]
    assert logits[2, 0] > logits[2, 1]
    assert not any("Rare thing" in phrase for phrase in path.columns)


def test_another_hospital_moves_it_no_further_than_its_visits_warrant():
    path = LinearPath.fit(PROMPTS, LABELS)
    turned = path.adapted(PROMPTS[:1] * 4, np.array([[0, 1]] * 4))
    before, after = path.logits(PROMPTS[:2]), turned.logits(PROMPTS[:2])
    assert after[0, 0] < before[0, 0]
    assert after[0, 1] > before[0, 1]
    few = path.adapted(PROMPTS[:1], np.array([[0, 1]])).logits(PROMPTS[:1])
    assert after[0, 0] < few[0, 0] < before[0, 0]


def test_a_kept_path_gives_the_same_numbers_and_a_damaged_one_is_named(tmp_path):
    path, file = LinearPath.fit(PROMPTS, LABELS), tmp_path / "linear_path.safetensors"
    path.save(file)
    np.testing.assert_array_equal(LinearPath.load(file, 2).logits(PROMPTS), path.logits(PROMPTS))
    with pytest.raises(WorkbenchError, match="medication groups"):
        LinearPath.load(file, 3)
    file.write_bytes(b"damaged")
    with pytest.raises(WorkbenchError, match="restore the pair"):
        LinearPath.load(file, 2)


def test_a_teacher_with_a_path_answers_with_the_mean(tiny_cohort, tiny_recipe, tmp_path):
    cohort = Cohort.open(tiny_cohort)
    groups = len(cohort.vocabulary.medications)
    options = tiny_recipe.teacher.model_copy(update={"linear_path": True})
    recipe = tiny_recipe.model_copy(update={"teacher": options})
    adapter = pipeline.train_teacher(cohort, recipe, tmp_path / "run", say=lambda text: None)
    both, alone = Teacher.of(recipe, adapter, groups), Teacher.of(tiny_recipe, adapter, groups)
    texts = [both.prompt(visit, cohort.title).text for visit in cohort.samples()[:3]]
    path = LinearPath.load(adapter / FILE, groups)
    read = as_text(both.tokenizer, [both.token_ids(text) for text in texts])
    expected = together(alone.predict(texts)[0], path.logits(read))
    np.testing.assert_allclose(both.predict(texts)[0], expected, atol=1e-5)
    np.testing.assert_allclose(both.score(texts[0])[0], expected[0], atol=1e-4)


def test_together_is_the_mean_of_the_logits():
    both = together(np.array([[1.0, -1.0]]), np.array([[3.0, 1.0]]))
    np.testing.assert_array_equal(both, [[2.0, 0.0]])
    assert both.dtype == np.float32
