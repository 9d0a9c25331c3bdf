"""The prompt is what the teacher reads and the clinician checks: golden texts, and the budget."""

from datetime import datetime

import pytest

from engine.config import PromptRecipe
from engine.prompts import QUESTION, render
from tests.visits import make_visit, title

UNLIMITED = PromptRecipe(max_tokens=100_000)


def words(text: str) -> int:
    return len(text.split())


def earlier(number: int, year: int, **changes):
    return make_visit(
        visit_id=str(number), admit_time=datetime(year, 6, 1), discharge_time=None, **changes
    )


def test_first_visit_reads_as_plain_english():
    prompt = render(make_visit(), title, words, UNLIMITED)
    assert prompt.text == (
        "The patient is a woman aged 60-69. Marital status: married. Race: White. "
        "Language: English. Insurance: Medicare. Admission: emergency.\n"
        "This is the first visit on record.\n"
        "This visit.\n"
        "Diagnoses: Essential (primary) hypertension; "
        "Type 2 diabetes mellitus without complications.\n"
        "Procedure: Insertion of infusion device into superior vena cava.\n"
        "Which medication groups does the patient need during this visit?"
    )
    assert prompt.omitted == ()
    assert prompt.tokens == words(prompt.text)


def test_history_shows_each_visits_own_codes_and_names_its_medications():
    past = earlier(10, 2149, diagnoses=("10:I5021",), procedures=(), medications=("C03C",))
    text = render(make_visit(history=(past,)), title, words, UNLIMITED).text
    assert (
        "1 earlier visit is on record.\n"
        "Earlier visit 1, 12 months before this one.\n"
        "Diagnosis: Acute systolic (congestive) heart failure.\n"
        "Medication group given: high-ceiling (loop) diuretics.\n"
        "This visit.\n"
    ) in text


def test_the_answer_is_never_in_the_prompt():
    text = render(make_visit(medications=("C03C",)), title, words, UNLIMITED).text
    assert "diuretics" not in text.lower()
    assert "C03C" not in text


def test_missing_parts_are_said_or_left_out():
    bare = make_visit(
        age=None, insurance=None, language=None, marital_status=None, race=None, procedures=()
    )
    text = render(bare, title, words, UNLIMITED).text
    assert text.startswith("The patient is a woman. Admission: emergency.\n")
    assert "Procedures: none recorded." in text
    assert "None" not in text


@pytest.mark.parametrize(
    ("field", "gone"),
    [("sex", "woman"), ("age_band", "60-69"), ("race", "White"), ("insurance", "Medicare")],
)
def test_each_profile_field_can_be_switched_off(field, gone):
    kept = tuple(name for name in UNLIMITED.profile if name != field)
    options = UNLIMITED.model_copy(update={"profile": kept})
    assert gone not in render(make_visit(), title, words, options).text


def test_history_can_be_switched_off():
    options = UNLIMITED.model_copy(update={"history": False})
    text = render(make_visit(history=(earlier(10, 2149),)), title, words, options).text
    assert "arlier" not in text
    assert "first visit" not in text


def test_over_budget_the_oldest_visit_goes_first():
    history = tuple(earlier(number, 2140 + number) for number in range(5))
    full = render(make_visit(history=history), title, words, UNLIMITED)
    budget = PromptRecipe(max_tokens=full.tokens - 1)
    prompt = render(make_visit(history=history), title, words, budget)
    assert prompt.tokens <= budget.max_tokens
    assert "Earlier visit 1," not in prompt.text
    assert "Earlier visit 5, " in prompt.text
    assert "5 earlier visits are on record; the latest 4 are shown." in prompt.text
    assert prompt.omitted == ("the oldest 1 of 5 earlier visits",)


def test_then_the_tails_of_long_lists_go_and_the_question_stays():
    long = tuple(f"10:Z{number:02}" for number in range(60))
    visit = make_visit(diagnoses=long, history=(earlier(10, 2149, diagnoses=long),))
    prompt = render(visit, title, words, PromptRecipe(max_tokens=100))
    assert prompt.tokens <= 100
    assert prompt.text.endswith(QUESTION)
    assert "diagnosis Z00" in prompt.text
    assert any("of 60 diagnoses of the present visit" in line for line in prompt.omitted)


def test_latest_earlier_visit_keeps_its_medications_when_its_lists_shrink():
    long = tuple(f"10:Z{number:02}" for number in range(60))
    past = earlier(10, 2149, diagnoses=long, medications=("C03C",))
    prompt = render(make_visit(history=(past,)), title, words, PromptRecipe(max_tokens=120))
    assert "high-ceiling (loop) diuretics" in prompt.text
    assert prompt.omitted[0].startswith("the last ")
    assert prompt.omitted[0].endswith("of 60 diagnoses of the latest earlier visit")


def returning():
    """A third visit: two earlier ones, of which only the older brought a heart drug."""
    old = earlier(9, 2148, diagnoses=("10:I5021",), procedures=(), medications=("C01A", "C03C"))
    late = earlier(10, 2149, diagnoses=("10:E119",), procedures=(), medications=("A10A", "C03C"))
    return make_visit(history=(old, late))


def test_medications_first_lists_what_was_given_once_and_before_the_earlier_visits():
    options = UNLIMITED.model_copy(update={"order": "medications_first"})
    text = render(returning(), title, words, options).text
    assert (
        "2 earlier visits are on record.\n"
        "Given at the latest earlier visit: insulins; high-ceiling (loop) diuretics.\n"
        "Ever given before: cardiac glycosides.\n"
        "Earlier visit 1, 24 months before this one.\n"
        "Diagnosis: Acute systolic (congestive) heart failure.\n"
        "Earlier visit 2, 12 months before this one.\n"
        "Diagnosis: Type 2 diabetes mellitus without complications.\n"
        "This visit.\n"
    ) in text


@pytest.mark.parametrize("budget", [80, 90, 100])
def test_medications_first_keeps_the_latest_medications_when_the_earlier_visits_go(budget):
    long = tuple(f"10:Z{number:02}" for number in range(60))
    visit = make_visit(diagnoses=long, history=returning().history)
    recent = render(visit, title, words, PromptRecipe(max_tokens=budget))
    assert "diuretics" not in recent.text
    first = PromptRecipe(max_tokens=budget, order="medications_first")
    prompt = render(visit, title, words, first)
    assert prompt.tokens <= budget
    assert "high-ceiling (loop) diuretics" in prompt.text
    assert "2 earlier visits are on record; only medications are shown." in prompt.text
    assert prompt.omitted[0] == "2 of 2 earlier visits"
    assert any("of the present visit" in line for line in prompt.omitted)


def test_medications_of_an_older_visit_are_not_called_those_of_the_latest():
    silent = earlier(11, 2150, procedures=(), medications=())
    visit = make_visit(history=(*returning().history, silent))
    options = UNLIMITED.model_copy(update={"order": "medications_first"})
    text = render(visit, title, words, options).text
    assert "Given at the latest earlier visit with medications on record: insulins" in text


def test_a_recipe_may_show_the_latest_visits_only_and_the_prompt_says_so():
    options = UNLIMITED.model_copy(update={"max_earlier_visits": 1})
    prompt = render(returning(), title, words, options)
    assert "2 earlier visits are on record; the latest one is shown." in prompt.text
    assert "Earlier visit 2, 12 months" in prompt.text
    assert "Earlier visit 1" not in prompt.text
    assert prompt.omitted == ("the oldest 1 of 2 earlier visits, by the recipe",)


def test_short_titles_say_the_same_in_fewer_words():
    options = UNLIMITED.model_copy(update={"titles": "short"})
    long, short = (render(returning(), title, words, one) for one in (UNLIMITED, options))
    assert "Diagnoses: Essential hypertension; Type 2 diabetes mellitus." in short.text
    assert "high-ceiling diuretics" in short.text
    assert short.tokens < long.tokens


def test_codes_whose_short_titles_are_the_same_are_said_once():
    options = UNLIMITED.model_copy(update={"titles": "short"})
    visit = make_visit(diagnoses=("10:E785", "10:E784"))
    names = {"10:E785": "Hyperlipidemia, unspecified", "10:E784": "Hyperlipidemia"}
    text = render(visit, lambda kind, code: names.get(code, code), words, options).text
    assert "Diagnosis: Hyperlipidemia.\n" in text


def test_codes_without_meaning_leave_no_title_behind():
    options = UNLIMITED.model_copy(update={"titles": "code"})
    text = render(returning(), title, words, options).text
    assert "Diagnoses: I10 (ICD-10); E11.9 (ICD-10)." in text
    assert "Procedure: 02HV33Z (ICD-10)." in text
    assert "Medication groups given: A10A (ATC); C03C (ATC)." in text
    for word in ("hypertension", "diabetes", "diuretics"):
        assert word not in text
