"""The preparatory stage in a run: before the teacher, once, and part of the finished pair."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.config import PreparationRecipe, Recipe
from engine.errors import WorkbenchError
from engine.jobs import pipeline
from engine.recommender import Recommender
from engine.records.cohort import Cohort
from engine.registry.pair import MANIFEST, open_pair

FILES = {"preparation/adapter_config.json", "preparation/adapter_model.safetensors"}


@pytest.fixture(scope="module")
def cohort(tiny_cohort) -> Cohort:
    return Cohort.open(tiny_cohort)


@pytest.fixture(scope="module")
def recipe(tiny_recipe) -> Recipe:
    options = PreparationRecipe(steps=10, learning_rate=1e-2, max_tokens=32, lora_rank=4)
    teacher = tiny_recipe.teacher.model_copy(update={"preparation": options})
    return tiny_recipe.model_copy(update={"teacher": teacher})


@pytest.fixture(scope="module")
def run(cohort, recipe, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("prepared_run")
    pipeline.train_pair(cohort, recipe, output, say=lambda text: None)
    return output


def test_the_pair_holds_the_preparation_and_seals_it(run):
    pair = open_pair(run)
    assert set(pair.manifest["files"]) >= FILES
    assert "| preparation |" in (pair.folder / "card.md").read_text()


def test_a_recommendation_needs_the_preparation(run, cohort, tiny_pair):
    visits = cohort.samples("test")[:2]
    recommender = Recommender.load(run)
    prepared = recommender.teacher_probabilities(cohort, visits)
    assert np.isfinite(prepared).all()
    texts = [recommender.prompt(cohort, visit).text for visit in visits]
    hidden = recommender.teacher.predict(texts)[1]
    plain = Recommender.load(tiny_pair).teacher.predict(texts)[1]
    assert not np.allclose(hidden, plain, atol=1e-2)


def test_a_changed_preparation_is_not_loaded(run, tmp_path):
    folder = Path(shutil.copytree(run / "pair", tmp_path / "pair"))
    (folder / "preparation" / "adapter_model.safetensors").write_bytes(b"changed")
    with pytest.raises(WorkbenchError, match="SHA-256"):
        open_pair(folder)


def test_a_pair_that_lost_its_preparation_is_not_loaded(run, tmp_path):
    folder = Path(shutil.copytree(run / "pair", tmp_path / "pair"))
    shutil.rmtree(folder / "preparation")
    manifest = json.loads((folder / MANIFEST).read_text())
    for name in list(manifest["files"]):
        if name.startswith("preparation/"):
            del manifest["files"][name]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(WorkbenchError, match="has a preparation"):
        open_pair(folder)


def test_a_resumed_run_does_not_prepare_again(run, cohort, recipe, tmp_path):
    stopped, said = Path(shutil.copytree(run, tmp_path / "run")), []
    shutil.rmtree(stopped / "teacher")
    pipeline.train_teacher(cohort, recipe, stopped, resume=True, say=said.append)
    assert "preparation: finished already" in said
    assert "preparation: started" not in said


def test_its_log_survives_a_resumed_teacher(run, cohort, recipe, tmp_path):
    stopped = Path(shutil.copytree(run, tmp_path / "run"))
    shutil.rmtree(stopped / "teacher")
    shutil.rmtree(stopped / "checkpoints" / "checkpoint-4")
    pipeline.train_teacher(cohort, recipe, stopped, resume=True, say=lambda text: None)
    lines = [json.loads(line) for line in (stopped / "metrics.jsonl").open()]
    assert any(line["stage"] == "preparation" for line in lines)


def test_a_pair_without_one_has_none(tiny_pair):
    assert not (tiny_pair / "preparation").exists()
    assert open_pair(tiny_pair).recipe.teacher.preparation is None


def test_the_last_visit_of_each_patient_alone(cohort, tiny_recipe):
    every = pipeline.training_visits(cohort, tiny_recipe)
    data = tiny_recipe.data.model_copy(update={"samples": "last"})
    recipe = tiny_recipe.model_copy(update={"data": data})
    last = pipeline.training_visits(cohort, recipe)
    patients = [visit.patient_id for visit in last]
    assert sorted(set(patients)) == patients == sorted({visit.patient_id for visit in every})
    for visit in last:
        assert visit.admit_time == max(
            other.admit_time for other in every if other.patient_id == visit.patient_id
        )
    assert len(last) < len(every)
    assert pipeline.validation_visits(cohort, recipe) == pipeline.validation_visits(
        cohort, tiny_recipe
    )
