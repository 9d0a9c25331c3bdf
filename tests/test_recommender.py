"""One visit in, a side-by-side recommendation out."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

from engine.errors import WorkbenchError
from engine.evaluation.conformal import SetRule
from engine.recommender import Recommender
from engine.records.cohort import Cohort
from engine.teacher import base_model, inference
from engine.teacher.inference import Teacher
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


def test_the_student_first_and_the_teacher_later_say_the_same_as_both(
    recommender, cohort, returning
):
    student = recommender.ask(cohort, returning, "student")
    first = recommender.combine(returning, [student])
    assert all(row.teacher is None for row in first.rows)
    assert first.latency_ms == {"teacher": None, "student": student.latency_ms}

    teacher = recommender.ask(cohort, returning, "teacher")
    both = recommender.combine(returning, [student, teacher])
    expected = recommender.recommend(cohort, returning)
    assert both.rows == expected.rows
    assert both.omitted == expected.omitted
    assert both.latency_ms["teacher"] > 0


def test_an_answer_about_another_visit_is_never_shown(recommender, cohort, returning):
    other = cohort.visits(returning.patient_id)[0]
    answer = recommender.ask(cohort, other, "student")
    with pytest.raises(ValueError, match="another visit"):
        recommender.combine(returning, [answer])


def test_threads_that_ask_at_the_same_moment_load_each_model_once(
    tiny_pair, cohort, returning, monkeypatch
):
    loaded = []
    places = ((Teacher, "of"), (base_model, "load_tokenizer"), (inference, "load_tokenizer"))
    for owner, name in places:
        load = getattr(owner, name)
        monkeypatch.setattr(
            owner, name, lambda *a, load=load, name=name: loaded.append(name) or load(*a)
        )
    shared = Recommender.load(tiny_pair)
    together = Barrier(4)

    def ask(model):
        together.wait(timeout=60)
        return shared.ask(cohort, returning, model)

    with ThreadPoolExecutor(4) as sessions:
        answers = list(sessions.map(ask, ["teacher", "teacher", "student", "student"]))
    assert sorted(loaded) == ["load_tokenizer", "of"]
    assert (answers[0].logits == answers[1].logits).all()
    assert (answers[2].logits == answers[3].logits).all()


def test_what_could_not_be_loaded_is_tried_again(tiny_pair, cohort, returning, monkeypatch):
    def missing(*_):
        raise WorkbenchError("the base model is not there yet")

    fresh = Recommender.load(tiny_pair)
    with monkeypatch.context() as broken:
        broken.setattr(base_model, "load_tokenizer", missing)
        with pytest.raises(WorkbenchError, match="not there yet"):
            fresh.ask(cohort, returning, "teacher")
    assert fresh.ask(cohort, returning, "teacher").model == "teacher"


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
