"""One visit in, a side-by-side recommendation out."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from engine.evaluation.conformal import SetRule
from engine.recommender import Recommender
from engine.records.cohort import Cohort
from tests.visits import make_visit

KEYS = {
    "patient_id",
    "visit_id",
    "versions",
    "thresholds",
    "recommendations",
    "omitted",
    "latency_ms",
    "prediction_sets",
}


@pytest.fixture(scope="module")
def cohort(tiny_cohort) -> Cohort:
    return Cohort.open(tiny_cohort)


@pytest.fixture(scope="module")
def recommender(tiny_pair) -> Recommender:
    return Recommender.load(tiny_pair)


@pytest.fixture(scope="module")
def returning(cohort):
    return next(visit for visit in cohort.samples() if visit.history)


def test_the_json_has_the_documented_keys(recommender, cohort, returning):
    said = recommender.recommend(cohort, returning).to_json()
    assert set(said) == KEYS
    assert set(said["recommendations"][0]) == {
        "atc",
        "name",
        "teacher",
        "student",
        "status",
        "given",
    }
    assert json.loads(json.dumps(said))["versions"].keys() == {"teacher", "student"}


def test_rows_are_what_a_model_proposes_or_the_patient_had(recommender, cohort, returning):
    recommendation = recommender.recommend(cohort, returning)
    had = set(returning.previous_medications)
    thresholds = recommendation.thresholds
    assert had <= {row.atc for row in recommendation.rows}
    for row in recommendation.rows:
        proposed = any(
            getattr(row, model) is not None and getattr(row, model) >= thresholds[model]
            for model in ("teacher", "student")
        )
        expected = ("continued" if row.atc in had else "new") if proposed else "stopped"
        assert row.status == expected
        assert row.given == (row.atc in returning.medications)


def test_a_visit_without_records_of_medications_claims_nothing_about_them(recommender, cohort):
    rows = recommender.recommend(cohort, make_visit(medications=(), drugs=())).rows
    assert rows
    assert all(row.given is None for row in rows)


def test_one_model_alone_leaves_the_other_unasked(recommender, cohort, returning):
    recommendation = recommender.recommend(cohort, returning, model="student")
    assert recommendation.latency_ms["teacher"] is None
    assert all(row.teacher is None for row in recommendation.rows)


def test_a_group_the_models_lack_is_shown_when_the_patient_had_it(recommender, cohort):
    past = make_visit(visit_id="1", medications=("Z99Z",))
    rows = recommender.recommend(cohort, make_visit(history=(past,))).rows
    row = next(row for row in rows if row.atc == "Z99Z")
    assert (row.teacher, row.student, row.status) == (None, None, "stopped")


def test_the_previous_visit_is_the_latest_with_medications():
    history = (make_visit(medications=("C03C",)), make_visit(medications=()))
    assert make_visit(history=history).previous_medications == ("C03C",)


@pytest.fixture
def with_sets(recommender, tiny_pair, monkeypatch):
    """The same models, whose sets hold every group with a logit of at least -1."""
    rule = SetRule(coverage=0.9, logit=-1.0, patients=12)
    calibration = {
        model: replace(each, prediction_set=rule)
        for model, each in recommender.pair.calibration.items()
    }
    monkeypatch.setattr(recommender, "pair", replace(recommender.pair, calibration=calibration))
    return recommender


def test_the_sets_are_the_groups_above_the_rules_logit(with_sets, cohort, returning):
    answer = with_sets.recommend(cohort, returning)
    logits = with_sets.student_logits([returning])[0]
    expected = {
        group
        for group, logit in zip(with_sets.vocabulary.medications, logits, strict=True)
        if logit >= -1
    }
    student = answer.prediction_sets["student"]
    assert set(student.groups) == expected
    assert (student.coverage, student.patients) == (0.9, 12)
    ranked = [logits[with_sets.vocabulary.medication_index(group)] for group in student.groups]
    assert ranked == sorted(ranked, reverse=True)
    assert set(answer.prediction_sets) == {"teacher", "student"}
    only = with_sets.recommend(cohort, returning, model="student")
    assert set(only.prediction_sets) == {"student"}
    assert json.loads(json.dumps(answer.to_json()))["prediction_sets"]["student"]["groups"]


def test_a_pair_without_a_rule_has_no_sets(recommender, cohort, returning, monkeypatch):
    calibration = {
        model: replace(each, prediction_set=None)
        for model, each in recommender.pair.calibration.items()
    }
    monkeypatch.setattr(recommender, "pair", replace(recommender.pair, calibration=calibration))
    assert recommender.recommend(cohort, returning).prediction_sets == {}


def test_a_fresh_process_gives_identical_probabilities(
    recommender, cohort, returning, tiny_pair, tiny_cohort
):
    command = ["recommend", tiny_cohort, "--patient", returning.patient_id, "--visit"]
    command += [returning.visit_id, "--models", tiny_pair, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "engine", *map(str, command)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    there = json.loads(done.stdout)
    here = recommender.recommend(cohort, returning).to_json()
    assert there["recommendations"] == here["recommendations"]
