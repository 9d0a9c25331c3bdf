"""A training run: its stages, its finished pair, its card."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.errors import WorkbenchError
from engine.jobs import lessons, pipeline
from engine.jobs.evaluate import evaluate, keep_in_card
from engine.records.cohort import Cohort
from engine.records.ingest import ingest
from engine.registry.pair import open_pair
from engine.teacher import hidden_states
from sample_data.generate import generate
from sample_data.tables import write_tables


@pytest.fixture(scope="module")
def cohort(tiny_cohort) -> Cohort:
    return Cohort.open(tiny_cohort)


def test_the_finished_pair_is_whole_and_sealed(tiny_pair):
    pair = open_pair(tiny_pair)
    assert {"recipe.yaml", "vocabulary.json", "calibration.json", "card.md", "metrics.json"} <= set(
        pair.manifest["files"]
    )
    assert pair.manifest["version"].startswith("tiny-")


def test_no_pickle_is_shipped_with_a_pair(tiny_pair):
    suffixes = {file.suffix for file in tiny_pair.rglob("*") if file.is_file()}
    assert suffixes <= {".safetensors", ".json", ".yaml", ".md"}


def test_a_recipe_may_ask_for_fewer_patients_and_gets_whole_ones(cohort, tiny_recipe):
    data = tiny_recipe.data.model_copy(update={"training_patients": 10})
    recipe = tiny_recipe.model_copy(update={"data": data})
    visits = pipeline.training_visits(cohort, recipe)
    patients = {visit.patient_id for visit in visits}
    assert len(patients) == 10
    assert all(cohort.split_of(patient) == "train" for patient in patients)
    everyone = [visit for visit in cohort.samples("train") if visit.patient_id in patients]
    assert visits == everyone


def test_hidden_states_cover_training_and_validation_and_find_their_visit(
    cohort, tiny_recipe, tiny_run
):
    cached = hidden_states.load(tiny_run, tiny_run / "teacher")
    validation = pipeline.validation_visits(cohort, tiny_recipe)
    one = cached.of(validation[:1])[0]
    both = cached.of(list(reversed(validation)))[0]
    np.testing.assert_array_equal(one[0], both[-1])
    with pytest.raises(WorkbenchError, match="do not cover this cohort"):
        cached.of(cohort.samples("test"))


def test_a_student_can_be_trained_again_from_the_cache(cohort, tiny_recipe, tiny_run, tmp_path):
    """Same seed, same cache: the same student, in a run of its own."""
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    again = pipeline.train_student(cohort, tiny_recipe, run, say=lambda text: None)
    first, second = open_pair(tiny_run).manifest["files"], open_pair(again).manifest["files"]
    assert first["student.safetensors"] == second["student.safetensors"]


def test_a_failed_last_stage_leaves_the_former_pair_alone(
    cohort, tiny_recipe, tiny_run, tmp_path, monkeypatch
):
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    before = open_pair(run).manifest

    def no_space(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(pipeline, "seal", no_space)
    with pytest.raises(OSError, match="No space left"):
        pipeline.train_student(cohort, tiny_recipe, run, say=lambda text: None)
    assert open_pair(run).manifest == before


def test_an_evaluation_enters_metrics_and_card_and_the_pair_stays_sealed(
    cohort, tiny_pair, tmp_path
):
    folder = Path(shutil.copytree(tiny_pair, tmp_path / "pair"))
    report = evaluate(cohort, folder)
    report["settings"]["command"] = "python -m engine evaluate …"
    keep_in_card(folder, "test split", report)
    pair = open_pair(folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["evaluations"]["test split"]["counts"] == report["counts"]
    card = (folder / "card.md").read_text()
    assert "## Evaluation: test split" in card
    assert "| Teacher" in card
    assert pair.versions == open_pair(tiny_pair).versions


def test_another_hospital_is_judged_by_baselines_of_the_first(cohort, tiny_pair, tmp_path):
    write_tables(generate(patients=12, seed=8), tmp_path / "tables")
    ingest(tmp_path / "tables", tmp_path / "other")
    other = Cohort.open(tmp_path / "other")
    report = evaluate(other, tiny_pair, split="all", baselines_from=cohort)
    assert report["counts"]["overall"]["visits"] == len(other.samples())
    assert report["settings"]["baselines_from"] == cohort.fingerprint


def test_training_patients_are_not_measured_on(cohort, tiny_pair):
    with pytest.raises(WorkbenchError, match="trained on this cohort"):
        evaluate(cohort, tiny_pair, split="all")


def test_a_folder_that_is_no_run_is_left_alone(cohort, tiny_recipe, tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "mine.txt").write_text("precious")
    with pytest.raises(WorkbenchError, match="no training run"):
        pipeline.train_teacher(cohort, tiny_recipe, tmp_path)
    assert (tmp_path / "logs" / "mine.txt").read_text() == "precious"


def test_training_again_into_a_finished_run_is_refused_and_nothing_is_lost(
    cohort, tiny_recipe, tiny_run
):
    with pytest.raises(WorkbenchError, match="would be lost"):
        pipeline.train_pair(cohort, tiny_recipe, tiny_run, say=lambda text: None)
    assert open_pair(tiny_run)


def test_resuming_a_finished_teacher_goes_on_with_the_next_stage(
    cohort, tiny_recipe, tiny_run, tmp_path
):
    run, said = Path(shutil.copytree(tiny_run, tmp_path / "run")), []
    pipeline.train_pair(cohort, tiny_recipe, run, resume=True, say=said.append)
    assert "teacher: finished already" in said
    assert "teacher: started" not in said


def test_a_student_of_another_prompt_than_its_teachers_is_refused(cohort, tiny_recipe, tiny_run):
    prompt = tiny_recipe.prompt.model_copy(update={"history": False})
    other = tiny_recipe.model_copy(update={"prompt": prompt})
    with pytest.raises(WorkbenchError, match="another cohort or recipe"):
        pipeline.train_student(cohort, other, tiny_run)


def test_a_run_of_before_a_field_existed_goes_on(cohort, tiny_recipe, tiny_run, tmp_path):
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    stored = json.loads((run / "run.json").read_text())
    del stored["recipe"]["calibration"], stored["recipe"]["coverage"]
    del stored["recipe"]["prompt"]["history"]
    (run / "run.json").write_text(json.dumps(stored))
    assert pipeline.train_student(cohort, tiny_recipe, run, say=lambda text: None)
    (run / "run.json").write_text(json.dumps(stored | {"recipe": {"future": 1}}))
    with pytest.raises(WorkbenchError, match="another cohort or recipe"):
        pipeline.train_student(cohort, tiny_recipe, run)


def test_the_calibration_can_be_chosen_again_and_the_pair_opens_with_it(
    cohort, tiny_recipe, tiny_run, tmp_path
):
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    recipe = tiny_recipe.model_copy(update={"calibration": "isotonic", "coverage": 0.5})
    pair = open_pair(pipeline.train_student(cohort, recipe, run, say=lambda text: None))
    validation = {visit.patient_id for visit in pipeline.validation_visits(cohort, recipe)}
    for calibration in pair.calibration.values():
        assert calibration.isotonic
        assert calibration.prediction_set.coverage == 0.5
        assert calibration.prediction_set.patients == len(validation)
    report = evaluate(cohort, pair.folder)
    assert set(report["prediction_sets"]) == {"teacher", "student", "student_undistilled"}
    held = report["prediction_sets"]["student"]["groups"]["overall"]["held"]["mean"]
    assert 0.2 < held <= 1


def test_logits_that_are_no_numbers_stop_the_training_with_a_reason():
    with pytest.raises(WorkbenchError, match="diverged"):
        pipeline.score_logits(np.full((1, 2), np.nan), np.ones((1, 2)))


def test_the_card_says_what_it_was_trained_on_and_how_long(tiny_pair):
    card = (tiny_pair / "card.md").read_text()
    for words in ("## Time and hardware", "| teacher |", "Not a medical device", "seed 0"):
        assert words in card


def test_hidden_states_start_from_what_the_teachers_training_kept(
    cohort, tiny_recipe, tmp_path, monkeypatch
):
    quiet = {"say": lambda text: None}
    pipeline.train_teacher(cohort, tiny_recipe, tmp_path, **quiet)
    kept = lessons.kept_by_training(
        lessons.open_teacher(cohort, tiny_recipe, tmp_path), tiny_recipe, tmp_path
    )
    teacher = lessons.open_teacher(cohort, tiny_recipe, tmp_path)
    visits = pipeline.training_visits(cohort, tiny_recipe)
    visits += pipeline.validation_visits(cohort, tiny_recipe)
    texts = [teacher.prompt(visit, cohort.title).text for visit in visits]
    assert all(kept.has(teacher.token_ids(text)) for text in texts)
    pipeline.cache_hidden_states(cohort, tiny_recipe, tmp_path, **quiet)
    hidden, _ = hidden_states.load(tmp_path, tmp_path / "teacher").of(visits)
    np.testing.assert_allclose(hidden, teacher.predict(texts)[1], atol=5e-3)
    assert not (tmp_path / "lower_layers").exists()
