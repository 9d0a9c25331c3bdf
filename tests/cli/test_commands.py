"""The command line: what it prints, and how it fails."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engine.cli import build_parser, main
from engine.config import save_recipe
from engine.records.cohort import Cohort

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def recipe_file(tiny_recipe, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "tiny.yaml"
    save_recipe(tiny_recipe, path)
    return path


@pytest.fixture
def patient(tiny_cohort) -> str:
    return Cohort.open(tiny_cohort).samples("test")[0].patient_id


def fails(capsys, *arguments) -> str:
    """Run a command that must fail as the user can mend it; returns its one line."""
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert len(said.strip().splitlines()) == 1
    return said.strip()


def test_prompt_prints_text_tokens_and_what_was_left_out(capsys, tiny_cohort, patient, recipe_file):
    command = ["prompt", tiny_cohort, "--patient", patient, "--recipe", recipe_file]
    assert main([str(word) for word in command]) == 0
    printed = capsys.readouterr().out
    assert "This visit.\n" in printed
    assert " tokens of at most 512]" in printed
    assert "[left out: " in printed


def test_recommend_prints_a_table_and_the_notice(capsys, tiny_cohort, tiny_pair, patient):
    command = ["recommend", tiny_cohort, "--patient", patient, "--models", tiny_pair]
    assert main([str(word) for word in command]) == 0
    printed = capsys.readouterr().out
    assert "ATC" in printed
    assert "A clinician decides." in printed


def test_evaluate_writes_the_documented_report(capsys, tiny_cohort, tiny_pair, tmp_path):
    output = tmp_path / "report.json"
    command = ["evaluate", tiny_cohort, "--models", tiny_pair, "--output", output]
    assert main([str(word) for word in command]) == 0
    report = json.loads(output.read_text())
    assert set(report["models"]) == {
        "teacher",
        "student",
        "student_undistilled",
        "most_frequent",
        "copy_previous",
        "logistic_regression",
    }
    for groups in report["models"].values():
        assert set(groups) == {"overall", "first_visit", "returning"}
        for metrics in groups.values():
            assert {"jaccard", "prauc", "f1", "medications"} <= set(metrics)
            assert set(metrics["jaccard"]) == {"mean", "low", "high"}
    assert {"thresholds", "counts"} <= set(report)
    expected = {"a", "b", "group", "metric", "difference", "low", "high"}
    assert set(report["paired"][0]) == expected
    assert all(
        set(group["models"]) == {"teacher", "student"} for group in report["demographics"].values()
    )


def test_a_thorough_evaluation_leaves_fields_out_and_tests_the_basis(
    tiny_cohort, tiny_pair, tmp_path
):
    output = tmp_path / "report.json"
    command = ["evaluate", tiny_cohort, "--models", tiny_pair, "--output", output, "--thorough"]
    assert main([str(word) for word in command]) == 0
    report = json.loads(output.read_text())
    assert "--thorough" in report["settings"]["command"]
    assert {row["field"] for row in report["left_out"]["teacher"]} == {"all four"}
    fields = {row["field"] for row in report["left_out"]["student"]}
    assert fields == {"race", "language", "insurance", "sex", "all four"}
    assert report["faithfulness"]["left_out"] == 3


def test_an_unknown_patient_is_named_with_exit_code_2(capsys, tiny_cohort, tiny_pair):
    said = fails(capsys, "recommend", tiny_cohort, "--patient", "404", "--models", tiny_pair)
    assert "404" in said


def test_an_unknown_visit_is_named(capsys, tiny_cohort, tiny_pair, patient):
    command = ["recommend", tiny_cohort, "--patient", patient, "--models", tiny_pair]
    assert "405" in fails(capsys, *command, "--visit", "405")


def test_a_missing_cohort_is_named(capsys, tmp_path):
    assert str(tmp_path / "none") in fails(capsys, "prompt", tmp_path / "none", "--patient", "1")


def test_missing_models_are_named(capsys, tiny_cohort, patient, tmp_path):
    command = ["recommend", tiny_cohort, "--patient", patient, "--models", tmp_path]
    assert "no trained pair there" in fails(capsys, *command)


@pytest.mark.parametrize("name", ["student.safetensors", "adapter/adapter_model.safetensors"])
@pytest.mark.parametrize("damage", ["cut off", "missing"])
def test_a_damaged_model_file_is_named(
    capsys, tiny_cohort, tiny_pair, patient, tmp_path, name, damage
):
    pair = Path(shutil.copytree(tiny_pair, tmp_path / "pair"))
    content = (pair / name).read_bytes()
    (pair / name).unlink()
    if damage == "cut off":
        (pair / name).write_bytes(content[: len(content) // 2])
    command = ["recommend", tiny_cohort, "--patient", patient, "--models", pair]
    assert name in fails(capsys, *command)


def test_a_cut_off_teacher_in_a_run_is_named(capsys, tiny_cohort, tiny_run, recipe_file, tmp_path):
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    weights = run / "teacher" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    command = ["train", "hidden-states", tiny_cohort, "--recipe", recipe_file, "--output", run]
    assert str(run / "teacher") in fails(capsys, *command)


def test_an_output_that_cannot_be_written_is_named(capsys, tiny_cohort, recipe_file, tmp_path):
    (tmp_path / "file").write_text("")
    command = ["train", "teacher", tiny_cohort, "--recipe", recipe_file]
    assert str(tmp_path / "file") in fails(capsys, *command, "--output", tmp_path / "file")


def test_training_a_student_before_a_teacher_says_what_comes_first(
    capsys, tiny_cohort, recipe_file, tmp_path
):
    command = ["train", "student", tiny_cohort, "--recipe", recipe_file, "--output", tmp_path]
    assert "hidden-states" in fails(capsys, *command)


def test_hidden_states_before_a_teacher_says_what_comes_first(
    capsys, tiny_cohort, recipe_file, tmp_path
):
    command = ["train", "hidden-states", tiny_cohort, "--recipe", recipe_file]
    assert "train teacher" in fails(capsys, *command, "--output", tmp_path)


def test_a_failed_command_leaves_no_traceback_and_exit_code_2(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "engine", "ingest", "mimic-iv", tmp_path, tmp_path / "out"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_every_command_has_help():
    choices = build_parser()._subparsers._group_actions[0].choices
    for command in choices.values():
        assert command.format_help()
