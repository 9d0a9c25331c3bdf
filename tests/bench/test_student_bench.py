"""The student's benchmarks: complete figures, and a plain way that gives the same answers."""

import json

import pytest

from bench import student, train_student
from bench.__main__ import main

FACTS = {"benchmark", "date", "revision", "machine", "versions", "threads"}


def measured(name: str, tmp_path, *arguments) -> dict:
    file = tmp_path / "figures.json"
    assert main([name, *map(str, arguments), "--json", str(file)]) == 0
    return json.loads(file.read_text())


def test_answers_are_timed_beside_the_same_answers_worked_out_plainly(
    tiny_cohort, tiny_pair, tmp_path, capsys
):
    arguments = (tiny_cohort, "--models", tiny_pair, "--visits", 20)
    figures = measured("student", tmp_path, *arguments)
    assert FACTS | {"one_patient", "batch", "plain", "ratios", "targets", "met"} < figures.keys()
    assert figures["largest_difference"] <= 1e-5
    assert 0 < figures["visits"] <= 20
    assert "torch" in figures["versions"]
    assert 0 < figures["basis"]["median_ms"] <= figures["basis"]["max_ms"]
    assert figures["one_patient"]["median_ms"] <= figures["one_patient"]["p99_ms"]
    for ways in (figures, figures["plain"]):
        assert ways["batch"]["patients_per_second"] > 0
    assert "sets of 100 codes, 10 visits a patient" in capsys.readouterr().out


@pytest.mark.parametrize("linear_path", [False, True])
def test_training_is_timed_beside_plain_training(
    linear_path, tiny_cohort, tiny_pair, tmp_path, capsys
):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "name: wide\nstudent: {hidden_size: 16, heads: 2, batch_size: 8, logit_weight: 0.5, "
        f"linear_path: {str(linear_path).lower()}}}\n"
    )
    arguments = (tiny_cohort, "--models", tiny_pair, "--recipe", recipe, "--steps", 2)
    figures = measured("train-student", tmp_path, *arguments)
    assert FACTS | {"patients_per_second", "plain", "ratio", "target", "met"} < figures.keys()
    assert (figures["recipe"], figures["linear_path"]) == ("wide", linear_path)
    assert 8 < figures["visits"] <= 16
    assert figures["patients_per_second"] > 0 and figures["plain"]["patients_per_second"] > 0
    shown = "with the linear path" if linear_path else "without the linear path"
    assert shown in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "option"),
    [("student", "--visits"), ("train-student", "--steps"), ("student", "--threads")],
)
def test_a_number_below_1_is_refused(name, option, capsys):
    assert main([name, option, "0"]) == 2
    assert f"error: {option}: expected 1 or more, not 0" in capsys.readouterr().err


def test_a_missed_target_is_said():
    one = {"median_ms": 2.0, "p99_ms": 3.0, "processor_median_ms": 2.0}
    batch = {"patients_per_second": 5000.0, "patients_per_processor_second": 5000.0}
    way = {"one_patient": one, "batch": batch}
    figures = {
        "visits": 10,
        **way,
        "basis": {"median_ms": 3.0, "p99_ms": 90.0, "max_ms": 200.0},
        "plain": {"codes": 100, "visits": 10, "batch_size": 16, **way},
        "ratios": {"one_patient": 1.0, "batch": 1.0},
        "largest_difference": 1e-6,
        "targets": student.TARGETS,
        "met": {"median_ms": False, "p99_ms": True, "patients_per_second": True, "basis": False},
    }
    lines = student.as_text(figures).splitlines()
    assert [line.endswith("NOT MET") for line in lines] == [False, True, *[False] * 6, True, False]
    training = {
        "recipe": "full",
        "hidden_size": 64,
        "linear_path": False,
        "batch_size": 32,
        "visits": 10,
        **batch,
        "plain": {"codes": 100, "visits": 10, **batch},
        "ratio": 70.0,
        "target": train_student.TARGET,
        "met": False,
    }
    assert train_student.as_text(training).splitlines()[1].endswith("NOT MET")
