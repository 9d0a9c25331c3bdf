"""The card: every required question points at a section that is there, and numbers are measured."""

import json
from pathlib import Path

import pytest

from engine.config import Recipe, load_recipe
from engine.jobs.card import render_card
from engine.jobs.card_requirements import HOSPITAL, SOURCE_ATTRIBUTES, TRIPOD_AI

SHIPPED = Path(__file__).resolve().parents[2] / "pretrained"
FACTS = {
    "version": "tiny-1",
    "created": "2026-01-02T03:04:05+00:00",
    "base_model": "default",
    "cohort": {"fingerprint": "ab" * 32, "training_patients": 7, "training_visits": 1234},
}
METRICS = {"validation": {"visits": 9, "student": {"prauc": 0.5, "jaccard": 0.4}}, "stages": {}}


@pytest.fixture(scope="module")
def shipped() -> str:
    """The card of the shipped pair, rendered anew from its metrics."""
    name = json.loads((SHIPPED / "aliases.json").read_text())["champion"]
    metrics = json.loads((SHIPPED / name / "metrics.json").read_text())
    manifest = json.loads((SHIPPED / name / "manifest.json").read_text())
    return render_card(manifest, load_recipe(SHIPPED / name / "recipe.yaml"), metrics)


def test_every_question_is_answered_by_a_section_of_the_card(shipped):
    headings = {line.removeprefix("## ") for line in shipped.splitlines() if line.startswith("## ")}
    named = [section for _, section in SOURCE_ATTRIBUTES] + [row[2] for row in TRIPOD_AI]
    for section in named:
        assert section in headings or section == HOSPITAL or section.startswith("("), section
    assert [int(row[0]) for row in TRIPOD_AI] == list(range(1, 28))
    assert len(SOURCE_ATTRIBUTES) == 31


def test_what_was_not_measured_says_so():
    card = render_card(FACTS, Recipe(name="tiny"), METRICS)
    assert card.count("ot measured.") >= 4
    assert "1,234 visits of 7 patients" in card
    assert "never a directive" in card


def test_measured_groups_and_left_out_fields_are_shown():
    interval = {"mean": 0.7, "low": 0.6, "high": 0.8}
    measured = {"prauc": interval, "jaccard": interval, "calibration_error": 0.012}
    row = {"field": "race", "metric": "prauc", "difference": -0.002, "low": -0.004, "high": 0.001}
    report = {
        "demographics": {"sex: F": {"visits": 20, "patients": 11, "models": {"student": measured}}},
        "left_out": {"student": [row]},
        "faithfulness": None,
    }
    from engine.jobs import card_figures

    assert any(
        "| sex: F | 20 | 11 | 0.700" in line for line in card_figures.by_group({"x": report})
    )
    assert any("−0.002" in line and "race" in line for line in card_figures.left_out({"x": report}))
    assert card_figures.faithfulness({"x": report}) == ["Not measured.", ""]


def test_a_recipe_without_sensitive_inputs_says_that_none_is_used():
    recipe = Recipe.model_validate({"name": "bare", "prompt": {"profile": ["age_band"]}})
    card = render_card(FACTS, recipe, METRICS)
    assert "Used of race, language, insurance and sex: none." in card
    assert "Effect of leaving them out" not in card
