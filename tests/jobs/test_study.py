"""A study end to end on a tiny cohort: every question, resumed, reported, and refused."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from engine.cli import main
from engine.config import save_recipe
from engine.errors import WorkbenchError
from engine.jobs import study_models, study_questions
from engine.jobs.study import study
from engine.jobs.study_baselines import BASELINES, baseline_class, fit_baseline
from engine.jobs.study_parts import Outcome, Part, Parts, sole_study
from engine.jobs.study_plan import Setting
from engine.jobs.study_report import html, markdown, write
from engine.records.cohort import Cohort
from engine.registry.pair import open_pair

HEADINGS = [
    "In words",
    "What the words mean",
    "RQ1: How do the models compare?",
    "RQ2: What is each piece of the method worth?",
    "RQ3: How do the weights of the losses matter?",
    "RQ4: What does each model cost?",
    "RQ5: What do levers beyond the paper give?",
    "Calibration: does what a model says come true?",
    "Demographic groups",
    "Figures of the literature",
    "What was not run",
]


@pytest.fixture(scope="module")
def asked(tiny_cohort, tiny_pair, tmp_path_factory) -> Setting:
    pair = open_pair(tiny_pair)
    return Setting(
        Cohort.open(tiny_cohort),
        pair.recipe,
        tmp_path_factory.mktemp("studies") / "study",
        pair,
        seeds=2,
        grid_seeds=1,
        only=("rq1", "rq2", "rq3", "rq4"),
        command="python -m engine study COHORT",
        resamples=50,
        alphas=(0.0,),
        betas=(0.0,),
    )


@pytest.fixture(scope="module")
def report(asked) -> dict:
    return json.loads(json.dumps(study(asked, say=lambda text: None)))


def test_every_question_is_answered(report):
    assert set(report["questions"]) == {"rq1", "rq2", "rq3", "rq4"}
    compared = set(report["questions"]["rq1"]["models"])
    assert {"teacher", "student", "student_undistilled", "logistic_regression"} <= compared
    for model in report["models"].values():
        assert {"overall", "first_visit", "returning", "added"} <= set(model["groups"])
        assert {"rare_diagnosis", "unseen_code"} <= set(model["groups"])
        assert set(model["groups"]["overall"]["prauc"]) == {"mean", "low", "high", "spread"}
        assert 0 <= model["groups"]["overall"]["prauc"]["mean"] <= 1


def test_seeds_are_averaged_and_differ(report):
    student = report["models"]["student"]
    assert len(student["runs"]) == 2
    assert student["groups"]["overall"]["prauc"]["spread"] > 0
    assert report["models"]["teacher"]["groups"]["overall"]["prauc"]["spread"] is None


def test_a_paired_difference_is_the_difference_of_the_means(report):
    row = next(
        row
        for row in report["questions"]["rq1"]["paired"]
        if (row["a"], row["b"], row["group"], row["metric"])
        == ("teacher", "student", "overall", "prauc")
    )
    teacher, student = (
        report["models"][name]["groups"]["overall"]["prauc"]["mean"]
        for name in (row["a"], row["b"])
    )
    assert row["difference"] == pytest.approx(teacher - student)
    assert row["low"] <= row["difference"] <= row["high"]


def test_the_calibration_is_told_and_drawn_from_every_seed(report, asked):
    assert set(report["reliability"]) == {"teacher", "student", "student_undistilled"}
    groups = len(asked.cohort.vocabulary.medications)
    pairs = report["counts"]["overall"]["visits"] * groups
    for name, bins in report["reliability"].items():
        assert sum(each["pairs"] for each in bins) == pairs * len(report["models"][name]["runs"])
        error = sum(each["pairs"] * abs(each["predicted"] - each["observed"]) for each in bins)
        told = report["models"][name]["groups"]["overall"]["expected_calibration_error"]["mean"]
        if len(report["models"][name]["runs"]) == 1:
            assert error / pairs == pytest.approx(told)
    assert 'id="chart-reliability"' in html(report)


def test_gamenet_knows_which_groups_interact(asked):
    gamenet = baseline_class(BASELINES["gamenet"])
    visits = asked.cohort.samples("train")[:4]
    model = fit_baseline(gamenet, visits, visits, asked.cohort.vocabulary, 0)
    assert len(model.interactions) > 100


def test_the_recipes_own_weights_are_not_trained_twice(report):
    alphas = {row["value"]: row["model"] for row in report["questions"]["rq3"]["alpha"]}
    assert alphas[1.0] == "student"
    assert alphas[0.0] == "alpha_0"


def test_the_report_has_every_section_and_says_where_its_figures_come_from(report, tmp_path):
    paths = write(report, tmp_path)
    assert [path.name for path in paths] == ["report.json", "report.md", "report.html"]
    text = paths[1].read_text()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    tables = text.count("\n### ")
    assert text.count("python -m engine study COHORT") >= tables - 1  # all but the published ones
    assert "not measured" in text
    assert "from other data" in text
    assert json.loads(paths[0].read_text()) == report


def test_the_page_needs_nothing_but_itself(report):
    page = html(report)
    assert "default-src 'none'" in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page)
    for heading in HEADINGS:
        assert heading in page


def test_a_study_goes_on_where_it_was_killed(asked, report, monkeypatch):
    """Two parts are lost: only they are made again, and the figures are the same."""
    lost = ["student.seed-1", "nearest_neighbour"]
    for name in lost:
        (asked.output / "parts" / f"{name}.json").unlink()
    made = []

    def counting(parts, part):
        if parts.kept(part) is None:
            made.append(part.name)
        return get(parts, part)

    get = Parts.get
    monkeypatch.setattr(Parts, "get", counting)
    again = study(asked, say=lambda text: None)
    assert sorted(made) == sorted(lost)
    for name, model in report["models"].items():
        overall = again["models"][name]["groups"]["overall"]["prauc"]["mean"]
        assert overall == pytest.approx(model["groups"]["overall"]["prauc"]["mean"]), name


def test_a_killed_study_keeps_its_finished_parts(tmp_path, asked, monkeypatch):
    setting = Setting(
        asked.cohort, asked.recipe, tmp_path / "s", asked.pair, seeds=1, only=("rq1",)
    )
    few = ("most_frequent", "copy_previous", "nearest_neighbour", "logistic_regression")
    monkeypatch.setattr(study_questions, "BASELINES", {name: BASELINES[name] for name in few})
    fitted = []

    def fit(cls, *rest):
        fitted.append(cls.__name__)
        if len(fitted) == 3:
            raise KeyboardInterrupt
        return real(cls, *rest)

    real = study_models.fit_baseline
    monkeypatch.setattr(study_models, "fit_baseline", fit)
    with pytest.raises(KeyboardInterrupt):
        study(setting, say=lambda text: None)
    kept = {path.stem for path in (tmp_path / "s" / "parts").glob("*.json")}
    assert {"teacher", "student.seed-0", "most_frequent", "copy_previous"} <= kept
    third = fitted[2]
    study(setting, say=lambda text: None)
    assert fitted[3] == third
    assert len(fitted) == len(set(fitted)) + 1


def test_a_part_is_made_again_when_its_settings_change_or_its_file_is_damaged(tmp_path):
    made = []

    def part(value: int) -> Part:
        def compute() -> Outcome:
            made.append(value)
            return Outcome({"value": value}, {"array": np.full(3, value)})

        return Part("one", {"value": value}, compute)

    parts = Parts(tmp_path)
    for value in (1, 1, 2):
        outcome = parts.get(part(value))
        assert outcome.arrays["array"].tolist() == [value] * 3
    assert made == [1, 2]
    (tmp_path / "parts" / "one.safetensors").write_bytes(b"cut")
    assert parts.get(part(2)).facts["value"] == 2
    assert made == [1, 2, 2]


def test_two_studies_do_not_share_a_folder(tmp_path):
    output = tmp_path / "s"
    again = pytest.raises(WorkbenchError, match="another study is running")
    with sole_study(output), again, sole_study(output):
        pass
    with sole_study(output):
        assert (output / "parts").is_dir()


def fails(capsys, *arguments) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
    return said


def test_a_study_that_cannot_be_is_refused_in_a_line(capsys, tiny_cohort, tiny_pair, tmp_path):
    output = tmp_path / "study"
    command = ["study", tiny_cohort, "--output", output, "--models", tiny_pair]
    assert "--preset paper" in fails(capsys, *command, "--preset", "paper")
    assert "rq9" in fails(capsys, *command, "--only", "rq1,rq9")
    for option in ("--seeds", "--grid-seeds", "--workers"):
        assert f"{option} 0" in fails(capsys, *command, option, "0")
    assert "leave one of them out" in fails(capsys, *command, "--only", "rq1", "--folds", "5")
    assert not output.exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    command[3] = tmp_path / "full"
    assert "holds no study" in fails(capsys, *command)


def test_a_pair_of_another_cohort_is_refused(asked, tmp_path):
    vocabulary = asked.cohort.vocabulary
    fewer = vocabulary.from_dict(vocabulary.to_dict() | {"medications": ["A02B"]})
    cohort = Cohort(asked.cohort.folder, asked.cohort.manifest, fewer, asked.cohort.splits, {})
    setting = Setting(cohort, asked.recipe, tmp_path / "s", asked.pair)
    with pytest.raises(WorkbenchError, match="--folds 5"):
        study(setting)


def test_a_study_without_a_question_says_not_measured(asked, tmp_path):
    setting = Setting(
        asked.cohort,
        asked.recipe,
        tmp_path / "s",
        asked.pair,
        seeds=1,
        only=("rq3",),
        resamples=50,
        alphas=(),
        betas=(),
    )
    text = markdown(study(setting, say=lambda text: None))
    assert "RQ2: not asked for: not measured." in text
    assert "RQ1: not asked for: not measured." in text
    assert "RQ5: not asked for: not measured." in text


def test_the_command_writes_the_report(capsys, asked, report, tiny_cohort, tiny_pair):
    command = ["study", tiny_cohort, "--output", asked.output, "--models", tiny_pair]
    assert main([*map(str, command), "--seeds", "2", "--grid-seeds", "1", "--only", "rq1,rq4"]) == 0
    printed = capsys.readouterr().out
    assert "ranks best: PRAUC" in printed
    assert Path(asked.output / "report.html").exists()


def test_a_study_of_the_papers_cohort_prints_the_published_figures(
    capsys, sample_tables, tiny_recipe, tmp_path
):
    cohort, recipe = tmp_path / "cohort", tmp_path / "recipe.yaml"
    assert main(["ingest", "mimic-iv", str(sample_tables), str(cohort), "--preset", "paper"]) == 0
    save_recipe(tiny_recipe, recipe)
    command = ["study", cohort, "--output", tmp_path / "s", "--recipe", recipe]
    options = ["--preset", "paper", "--only", "rq2", "--seeds", "1"]
    assert main([*map(str, command), *options]) == 0
    printed = capsys.readouterr().out
    assert "Published figures, from other data:" in printed
    assert re.search(r"LEADER, student +MIMIC-III +0\.7795 +0\.5175", printed)
    text = (tmp_path / "s" / "report.md").read_text()
    assert "--preset paper" in text
    assert "LEADER, student" in text
    del command[command.index("--recipe") :]  # the paper's own: its base model is not here
    command[-1] = tmp_path / "other"
    assert "./models/llama-7b': no such folder" in fails(capsys, *command, *options)
