import json

import numpy as np
import pytest

from engine.evaluation.conformal import SetRule
from engine.evaluation.report import (
    GROUPS,
    MODELS,
    PAIRED_METRICS,
    PROBABILISTIC,
    as_markdown,
    build_report,
)
from engine.records.labels import label_matrix


@pytest.fixture
def visits(make_visit):
    """Five first visits, and five returning ones with a group outside the vocabulary."""
    first = [make_visit(f"p{number}", ("A02B", "B01A")) for number in range(5)]
    again = [make_visit(visit.patient_id, ("C07A", "Z99Z"), history=(visit,)) for visit in first]
    return first + again


@pytest.fixture
def predictions(visits, vocabulary):
    """Everyone guesses, but the teacher knows."""
    truth, _ = label_matrix(visits, vocabulary)
    generator = np.random.default_rng(0)
    guesses = {name: generator.random(truth.shape) for name in MODELS}
    guesses["teacher"] = np.where(truth, 0.9, 0.1)
    return {name: (guess, guess >= 0.5) for name, guess in guesses.items()}


THRESHOLDS = {"teacher": 0.5, "student": 0.5}


@pytest.fixture
def report(visits, predictions, vocabulary):
    return build_report(visits, predictions, vocabulary, THRESHOLDS, seed=1, resamples=200)


def test_layout_survives_json(report):
    read = json.loads(json.dumps(report, allow_nan=False))
    assert read == report
    assert set(read["models"]) == set(MODELS)
    for groups in read["models"].values():
        assert list(groups) == ["overall", "first_visit", "returning"]
        for metrics in groups.values():
            assert {"jaccard", "prauc", "f1", "medications", "precision", "recall"} <= set(metrics)
            assert all(set(value) == {"mean", "low", "high"} for value in metrics.values())
    assert read["thresholds"] == THRESHOLDS
    assert read["settings"]["resamples"] == 200
    assert len(read["paired"]) == 8 * len(GROUPS) * len(PAIRED_METRICS)
    assert set(read["paired"][0]) == {"a", "b", "group", "metric", "difference", "low", "high"}


def test_values_are_those_of_the_visits(report):
    teacher = report["models"]["teacher"]
    assert teacher["first_visit"]["jaccard"] == {"mean": 1, "low": 1, "high": 1}
    assert teacher["returning"]["jaccard"]["mean"] == 0.5  # Z99Z cannot be named
    assert teacher["overall"]["jaccard"]["mean"] == 0.75
    assert teacher["overall"]["expected_calibration_error"]["mean"] == pytest.approx(0.1)
    assert report["counts"]["returning"] == {
        "visits": 5,
        "patients": 5,
        "medications": 2,
        "prescribed": 10,
        "outside_vocabulary": 5,
        "interaction_rate": 0,
    }


def test_a_pair_is_a_minus_b(report):
    row = next(row for row in report["paired"] if (row["a"], row["b"]) == ("teacher", "student"))
    of = {name: report["models"][name][row["group"]][row["metric"]]["mean"] for name in MODELS}
    assert row["difference"] == pytest.approx(of["teacher"] - of["student"])
    assert row["low"] <= row["difference"] <= row["high"]


def test_a_group_without_visits_is_null(visits, predictions, vocabulary):
    only_first = {name: (each[0][:5], each[1][:5]) for name, each in predictions.items()}
    report = build_report(visits[:5], only_first, vocabulary, THRESHOLDS, resamples=50)
    nothing = {"mean": None, "low": None, "high": None}
    assert all(value == nothing for value in report["models"]["teacher"]["returning"].values())
    assert report["counts"]["returning"]["visits"] == 0
    assert report["counts"]["returning"]["medications"] is None
    assert "not measured" in as_markdown(report)


def test_an_absent_model_is_left_out(visits, predictions, vocabulary):
    two = {name: predictions[name] for name in ("student", "teacher")}
    report = build_report(visits, two, vocabulary, THRESHOLDS, resamples=50)
    assert list(report["models"]) == ["teacher", "student"]
    assert {(row["a"], row["b"]) for row in report["paired"]} == {("teacher", "student")}
    assert "Paired difference" in as_markdown(report)
    one = build_report(visits, {"student": predictions["student"]}, vocabulary, {}, resamples=50)
    assert "Paired difference" not in as_markdown(one)


def test_markdown_is_aligned_and_signed(report):
    text = as_markdown(report)
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 7
    for table in tables:
        assert len({len(line) for line in table}) == 1
    assert "| Jaccard " in text and "Returning patients" in text
    teacher = next(line for line in tables[0] if line.startswith("| Teacher"))
    assert teacher.split("|")[3].strip() == "1.000 (1.000–1.000)"
    assert "As prescribed" in text
    difference = report["paired"][0]["difference"]
    assert f"+{difference:.3f} (+" in text
    assert "5 lie outside the vocabulary" in text


def test_interaction_rates_name_their_source_and_stand_beside_the_truth(report):
    rates = as_markdown(report).split("| Interaction rate")[1].split("\n\n")[0]
    assert "As prescribed" in rates and "0.0000" in rates
    assert "this workbench's own list" in as_markdown(report)


def test_a_report_from_before_the_interaction_rates_is_still_written(report):
    for groups in report["models"].values():
        for metrics in groups.values():
            del metrics["interaction_rate"]
    del report["settings"]["interactions"]
    assert "Interaction rate" not in as_markdown(report)


def test_a_model_the_report_does_not_know_is_refused(visits, predictions, vocabulary):
    with pytest.raises(ValueError, match="oracle"):
        build_report(visits, {"oracle": predictions["teacher"]}, vocabulary, {})


# ---------------------------------------------------------------- calibration and sets


def test_reliability_is_kept_of_every_model_that_claims_probabilities(report):
    assert set(report["reliability"]) == set(PROBABILISTIC) & set(report["models"])
    low, high = report["reliability"]["teacher"]
    assert (low["pairs"], high["pairs"]) == (25, 15)
    assert (low["predicted"], low["observed"]) == (pytest.approx(0.1), 0)
    assert (high["predicted"], high["observed"]) == (pytest.approx(0.9), 1)
    assert "Expected calibration error" in as_markdown(report)


@pytest.fixture
def with_sets(visits, predictions, vocabulary):
    """The teacher's set holds every known given group; the undistilled student has no rule."""
    logits = {name: np.log(p / (1 - p)) for name, (p, _) in predictions.items()}
    rules = {"teacher": SetRule(0.9, 0.0, 40), "student_undistilled": None}
    return build_report(
        visits, predictions, vocabulary, THRESHOLDS, resamples=50, logits=logits, set_rules=rules
    )


def test_sets_are_measured_beside_what_was_promised(with_sets):
    assert set(with_sets["prediction_sets"]) == {"teacher"}
    teacher = with_sets["prediction_sets"]["teacher"]
    assert (teacher["coverage"], teacher["patients"]) == (0.9, 40)
    assert teacher["groups"]["first_visit"]["held"]["mean"] == 1
    assert teacher["groups"]["returning"]["held"]["mean"] == 0.5  # Z99Z lies in no set
    assert teacher["groups"]["overall"]["held"]["mean"] == 0.75
    assert teacher["groups"]["overall"]["size"]["mean"] == 1.5
    text = as_markdown(with_sets)
    row = next(line for line in text.splitlines() if "Teacher: 90% set, share held" in line)
    assert "0.750" in row
    assert json.loads(json.dumps(with_sets, allow_nan=False)) == with_sets


def test_the_logits_rank_where_probabilities_are_tied(visits, predictions, vocabulary):
    truth, _ = label_matrix(visits, vocabulary)
    flat = {"teacher": (np.full(truth.shape, 0.5), truth)}
    tied = build_report(visits, flat, vocabulary, {}, resamples=50)
    ranked = build_report(
        visits, flat, vocabulary, {}, resamples=50, logits={"teacher": truth.astype(float)}
    )
    prauc = [
        report["models"]["teacher"]["first_visit"]["prauc"]["mean"] for report in (tied, ranked)
    ]
    assert prauc == [0.5, 1]


def test_a_report_from_before_can_still_be_read(report):
    del report["reliability"], report["prediction_sets"]
    assert "Paired difference" in as_markdown(report)
