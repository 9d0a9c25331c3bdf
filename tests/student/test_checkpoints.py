"""Killed at any step and resumed, a student's training ends with the same weights."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from engine.config import Recipe, save_recipe
from engine.errors import WorkbenchError
from engine.jobs import pipeline
from engine.records.cohort import Cohort
from engine.records.vocabulary import Vocabulary
from engine.student import checkpoints
from engine.student.model import Student
from tests.visits import make_visit

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import os, signal, sys
from pathlib import Path
import torch
from engine.config import load_recipe
from engine.jobs import pipeline
from engine.records.cohort import Cohort

cohort, recipe, run, fatal = sys.argv[1:]
step, taken = torch.optim.AdamW.step, []

def fatal_step(optimizer, *arguments, **options):
    taken.append(1)
    if len(taken) == int(fatal):
        os.kill(os.getpid(), signal.SIGKILL)
    return step(optimizer, *arguments, **options)

torch.optim.AdamW.step = fatal_step
pipeline.train_student(
    Cohort.open(cohort), load_recipe(Path(recipe)), Path(run), print, resume=True
)
"""


def quiet(text: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def recipe(tiny_recipe) -> Recipe:
    changes = {"linear_path": True, "logit_weight": 0.5, "epochs": 3, "batch_size": 8}
    student = tiny_recipe.student.model_copy(update=changes)
    return tiny_recipe.model_copy(update={"student": student})


@pytest.fixture(scope="module")
def straight(tiny_cohort, recipe, tiny_run, tmp_path_factory) -> Path:
    """The pair of a training that nothing stopped."""
    run = Path(shutil.copytree(tiny_run, tmp_path_factory.mktemp("straight") / "run"))
    return pipeline.train_student(Cohort.open(tiny_cohort), recipe, run, quiet)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_at_random_steps_it_ends_with_the_same_weights(
    seed, tiny_cohort, recipe, tiny_run, straight, tmp_path
):
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    (run / "metrics.jsonl").write_text("")
    save_recipe(recipe, tmp_path / "recipe.yaml")
    cohort = Cohort.open(tiny_cohort)
    an_epoch = -(-len(pipeline.training_visits(cohort, recipe)) // 8)
    chance = random.Random(seed)
    for fatal in (chance.randint(1, 2 * an_epoch), chance.randint(an_epoch, 4 * an_epoch)):
        child = subprocess.run(
            [
                sys.executable,
                "-c",
                CHILD,
                str(tiny_cohort),
                str(tmp_path / "recipe.yaml"),
                str(run),
                str(fatal),
            ],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
            capture_output=True,
            check=False,
        )
        assert child.returncode == -signal.SIGKILL, child.stderr.decode()[-2000:]
    pair = pipeline.train_student(cohort, recipe, run, quiet, resume=True)
    for name in ("student.safetensors", "student_undistilled.safetensors"):
        expected, reached = load_file(straight / name), load_file(pair / name)
        assert expected.keys() == reached.keys()
        assert all(torch.equal(expected[key], reached[key]) for key in expected)
    logged = (run / "metrics.jsonl").read_text().splitlines()
    assert len(logged) == len({line.split(",")[0] + line.split(",")[1] for line in logged}) == 6


def parts(recipe: Recipe):
    student = Student.sized_for(Vocabulary.from_visits([make_visit()]), recipe, 8)
    optimizer = torch.optim.AdamW(student.parameters(), lr=0.5)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    return student, optimizer, schedule


def one_step(student, optimizer, schedule) -> None:
    for weight in student.parameters():
        weight.grad = torch.rand_like(weight)
    optimizer.step()
    schedule.step()


def test_what_is_saved_comes_back(recipe, tmp_path):
    student, optimizer, schedule = parts(recipe)
    one_step(student, optimizer, schedule)
    progress = checkpoints.Progress(3, 0.5, 1)
    best = {name: value.clone() for name, value in student.state_dict().items()}
    checkpoints.save(tmp_path / "s.safetensors", "k", progress, student, best, optimizer, schedule)
    one_step(student, optimizer, schedule)
    again = parts(recipe)
    reached, _ = checkpoints.load(tmp_path / "s.safetensors", "k", *again)
    assert reached == progress
    one_step(*again)
    assert all(
        torch.equal(one, other)
        for one, other in zip(student.parameters(), again[0].parameters(), strict=True)
    )
    assert again[1].param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


def test_a_checkpoint_of_another_recipe_or_a_damaged_one_is_refused(recipe, tmp_path):
    path, made = tmp_path / "s.safetensors", parts(recipe)
    checkpoints.save(path, "k", checkpoints.Progress(), made[0], {}, *made[1:])
    with pytest.raises(WorkbenchError, match="another recipe"):
        checkpoints.load(path, "other", *made)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(WorkbenchError, match="damaged"):
        checkpoints.load(path, "k", *made)
