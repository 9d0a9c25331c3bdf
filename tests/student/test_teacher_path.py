"""The student's linear path, started from the teacher's."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from engine.config import PromptRecipe, Recipe
from engine.prompts import render
from engine.records.cohort import Cohort
from engine.student.classroom import Lessons
from engine.student.distillation import CachedTargets
from engine.student.inference import predict
from engine.student.model import Student
from engine.student.teacher_path import PathReader, start_from_teacher
from engine.student.training import train
from engine.teacher.linear_path import LinearPath


@pytest.fixture(scope="module")
def cohort(tiny_cohort) -> Cohort:
    return Cohort.open(tiny_cohort)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return Recipe.model_validate(
        {
            "name": "path",
            "prompt": {"order": "medications_first", "max_tokens": 4096, "profile": []},
            "teacher": {"linear_path": True},
            "student": {
                "hidden_size": 8,
                "heads": 2,
                "epochs": 1,
                "linear_path": True,
                "linear_path_from_teacher": 1.0,
            },
        }
    )


@pytest.fixture(scope="module")
def reader(cohort, recipe) -> PathReader:
    visits = cohort.samples("train")
    prompts = [text_of(cohort, visit, recipe.prompt) for visit in visits]
    labels = np.zeros((len(visits), len(cohort.vocabulary.medications)))
    for row, visit in enumerate(visits):
        for group in visit.medications:
            if (column := cohort.vocabulary.medication_index(group)) is not None:
                labels[row, column] = 1
    return PathReader(LinearPath.fit(prompts, labels), cohort.title, recipe.prompt)


def text_of(cohort, visit, options: PromptRecipe) -> str:
    return render(visit, cohort.title, lambda text: len(text.split()), options).text


def student_of(cohort, recipe) -> Student:
    torch.manual_seed(0)
    return Student.sized_for(cohort.vocabulary, recipe, 4).eval()


def test_a_code_given_today_adds_what_the_teachers_path_says_of_its_title(cohort, recipe, reader):
    """Two visits that differ in one known diagnosis differ by what the teacher's path says."""
    visit = next(one for one in cohort.samples("train") if len(one.diagnoses) > 1)
    without = replace(visit, diagnoses=visit.diagnoses[:-1])
    plain, started = student_of(cohort, recipe), student_of(cohort, recipe)
    start_from_teacher(started, cohort.vocabulary, reader)
    added = predict(started, [visit, without], cohort.vocabulary, recipe) - predict(
        plain, [visit, without], cohort.vocabulary, recipe
    )
    row = reader.of_codes("diagnosis", visit.diagnoses[-1:], "This visit Diagnos")[0]
    assert np.abs(row).max() > 0
    np.testing.assert_allclose(added[0] - added[1], row, atol=1e-4)


def test_what_was_given_before_counts_as_in_the_prompt(cohort, recipe, reader):
    visit = next(one for one in cohort.samples("train") if one.previous_medications)
    student = student_of(cohort, recipe)
    start_from_teacher(student, cohort.vocabulary, reader)
    group = visit.previous_medications[0]
    column = cohort.vocabulary.medication_index(group)
    said = reader.of_groups([group], " Given a")[0]
    kept = student.linear_path.previous.weight.detach().numpy()[column + 1]
    np.testing.assert_allclose(kept, said)
    assert np.abs(said).max() > 0


def test_unknown_codes_start_at_nothing(cohort, recipe, reader):
    student = student_of(cohort, recipe)
    start_from_teacher(student, cohort.vocabulary, reader)
    assert not student.linear_path.diagnoses.weight[1].any()
    assert not student.linear_path.procedures.weight[1].any()


def test_only_the_distilled_student_starts_from_the_teacher(cohort, recipe, reader, tmp_path):
    visits = cohort.samples("train")[:8]
    groups = len(cohort.vocabulary.medications)
    targets = CachedTargets(
        np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32),
        np.zeros((8, groups), np.float32),
        8,
    )
    lessons = Lessons(visits, targets, path=reader)
    weights = {}
    for distil in (True, False):
        student = train(
            recipe,
            cohort.vocabulary,
            lessons,
            visits,
            lambda logits, labels: {"prauc": 1.0},
            tmp_path / str(distil),
            distil,
        )
        weights[distil] = student.linear_path.previous.weight.detach().abs().max()
    assert weights[True] > 0.1 > weights[False]


def test_a_start_without_the_teachers_path_is_refused():
    student = {"linear_path": True, "linear_path_from_teacher": 0.5}
    with pytest.raises(ValidationError, match="teacher.linear_path"):
        Recipe.model_validate({"name": "x", "student": student})
    with pytest.raises(ValidationError, match="needs linear_path"):
        Recipe.model_validate({"name": "x", "student": {"linear_path_from_teacher": 0.5}})
