"""What a run's student learns from: the cached teacher, or the teacher itself."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.config import Recipe
from engine.errors import WorkbenchError
from engine.jobs import lessons, pipeline
from engine.recommender import Recommender
from engine.records.cohort import Cohort
from engine.student import inference
from engine.student.training import train
from engine.teacher import hidden_states

EVERYTHING = {
    "linear_path": True,
    "logit_weight": 0.5,
    "embeddings_from_teacher": True,
    "unlabelled": 1,
}


@pytest.fixture(scope="module")
def cohort(tiny_cohort) -> Cohort:
    return Cohort.open(tiny_cohort)


def edited(recipe: Recipe, **student) -> Recipe:
    options = recipe.student.model_copy(update=student)
    return recipe.model_copy(update={"student": options})


@pytest.fixture(scope="module")
def run(cohort, tiny_recipe, tiny_run, tmp_path_factory) -> Path:
    """A run whose teacher was asked about perturbed visits too."""
    folder = Path(shutil.copytree(tiny_run, tmp_path_factory.mktemp("lessons") / "run"))
    recipe = edited(tiny_recipe, **EVERYTHING)
    pipeline.cache_hidden_states(cohort, recipe, folder, say=lambda text: None)
    return folder


def gathered(cohort, recipe, run):
    training = pipeline.training_visits(cohort, recipe)
    cached = hidden_states.load(run, run / "teacher")
    return lessons.gather(cohort, recipe, run, training, cached)


def test_the_teacher_in_the_loop_says_what_the_cache_says(cohort, tiny_recipe, run):
    recipe = edited(tiny_recipe, **EVERYTHING)
    offline = gathered(cohort, recipe, run)
    online = gathered(cohort, edited(recipe, online=True), run)
    rows = [0, 5, len(offline.training) + 2, 3]
    for cached, asked in zip(offline.targets.of(rows), online.targets.of(rows), strict=True):
        np.testing.assert_allclose(cached.numpy(), asked.numpy(), rtol=1e-3, atol=1e-3)


def test_online_and_offline_distillation_end_with_the_same_student(
    cohort, tiny_recipe, run, tmp_path
):
    recipe = edited(tiny_recipe, logit_weight=0.5, epochs=1)
    validation = pipeline.validation_visits(cohort, recipe)
    students = {}
    for online in (False, True):
        learnt_from = gathered(cohort, edited(recipe, online=online), run)
        students[online] = train(
            recipe, cohort.vocabulary, learnt_from, validation, pipeline.score_logits, tmp_path
        )
    offline, online = (
        inference.predict(student, validation, cohort.vocabulary, recipe)
        for student in students.values()
    )
    np.testing.assert_allclose(offline, online, atol=1e-3)


def test_a_run_that_asks_online_keeps_validation_only(cohort, tiny_recipe):
    training = pipeline.training_visits(cohort, tiny_recipe)
    assert lessons.to_cache(cohort, edited(tiny_recipe, online=True), training) == []
    assert lessons.to_cache(cohort, edited(tiny_recipe, unlabelled=2), training)[
        : len(training)
    ] == training  # fmt: skip


def test_every_switch_at_once_makes_a_pair_that_reads_unseen_codes(cohort, tiny_recipe, run):
    recipe = edited(tiny_recipe, **EVERYTHING)
    pair = pipeline.train_student(cohort, recipe, run, say=lambda text: None)
    recommender = Recommender.load(pair)
    names = recommender.student.state_dict()
    assert any("linear_path" in name for name in names)
    assert recommender.student.categories is not None
    assert recommender._student("student_undistilled.safetensors").categories is None
    probability = recommender.student_probabilities(cohort.samples("test"))
    assert np.isfinite(probability).all()
    assert not list((run / "checkpoints").glob("student*"))


def test_a_cache_made_without_the_perturbed_visits_is_said_to_be_short(
    cohort, tiny_recipe, tiny_run
):
    with pytest.raises(WorkbenchError, match="train hidden-states"):
        gathered(cohort, edited(tiny_recipe, unlabelled=1), tiny_run)
    assert not lessons.is_cached(tiny_run, cohort.samples("test"))
    assert lessons.is_cached(tiny_run, pipeline.training_visits(cohort, tiny_recipe))
