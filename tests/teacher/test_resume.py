"""Killed at any step and resumed, a teacher ends with the weights of an uninterrupted run."""

import json
import os
import random
import signal
import subprocess
import sys

import pytest

from engine.config import Recipe, save_recipe
from engine.jobs import pipeline
from engine.records.cohort import Cohort
from engine.teacher.model import WEIGHTS
from engine.teacher.trainer import CHECKPOINT_EVERY, LOG, forget_after

CHILD = """
import os, signal, sys
from pathlib import Path
from engine.config import load_recipe
from engine.jobs import pipeline
from engine.records.cohort import Cohort
from engine.teacher import trainer

cohort, recipe, output, last = *map(Path, sys.argv[1:4]), int(sys.argv[4])

def die(self, args, state, control, **kwargs):
    if state.global_step == last:
        os.kill(os.getpid(), signal.SIGKILL)

trainer.PassNumber.on_step_begin = die
pipeline.train_teacher(Cohort.open(cohort), load_recipe(recipe), output)
"""


@pytest.fixture
def recipe(tiny_recipe) -> Recipe:
    """Two passes and a half over 24 prompts and a few, with dropout, whose numbers must agree."""
    teacher = {"max_steps": None, "epochs": 2.5, "evaluations": 10, "patience": 20}
    teacher |= {"lora_dropout": 0.1, "learning_rate": 1e-2}
    return tiny_recipe.model_copy(
        update={
            "data": tiny_recipe.data.model_copy(update={"training_patients": 16}),
            "teacher": tiny_recipe.teacher.model_copy(update=teacher),
        }
    )


def test_killed_at_a_random_step_of_the_second_pass(tiny_cohort, recipe, tmp_path):
    cohort, quiet = Cohort.open(tiny_cohort), {"say": lambda text: None}
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    pipeline.train_teacher(cohort, recipe, straight, **quiet)

    steps = -(-len(pipeline.training_visits(cohort, recipe)) // recipe.teacher.batch_size)
    last = steps + random.randrange(1, steps)
    save_recipe(recipe, tmp_path / "recipe.yaml")
    command = [sys.executable, "-c", CHILD]
    command += [str(tiny_cohort), str(tmp_path / "recipe.yaml"), str(killed), str(last)]
    child = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONPATH": "."})
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()[-2000:]
    assert not (killed / "teacher").exists()

    pipeline.train_teacher(cohort, recipe, killed, resume=True, **quiet)
    for name in (f"teacher/{WEIGHTS}", f"checkpoints/{last_checkpoint(straight)}/{WEIGHTS}"):
        assert (straight / name).read_bytes() == (killed / name).read_bytes(), f"step {last}"
    assert losses(killed) == losses(straight), f"step {last}"


def test_killed_before_the_first_checkpoint_it_starts_again(tiny_cohort, tiny_recipe, tmp_path):
    cohort, quiet = Cohort.open(tiny_cohort), {"say": lambda text: None}
    pipeline.open_run(tmp_path / "run", cohort, tiny_recipe, resume=False)
    (tmp_path / "run" / LOG).write_text('{"stage": "teacher", "step": 1, "loss": 0.5}\n{"sta')
    done = pipeline.train_teacher(cohort, tiny_recipe, tmp_path / "run", resume=True, **quiet)
    assert (done / WEIGHTS).exists()
    assert 1 not in losses(tmp_path / "run")


def test_what_was_logged_after_the_checkpoint_is_forgotten(tmp_path):
    lines = [f'{{"stage": "teacher", "step": {step}, "loss": 1.0}}\n' for step in range(1, 6)]
    (tmp_path / LOG).write_text("".join(lines) + '{"stage": "teacher", "st')
    forget_after(tmp_path, 3)
    assert (tmp_path / LOG).read_text() == "".join(lines[:3])


def test_a_long_run_is_kept_between_evaluations(tiny_cohort, tiny_recipe, tmp_path):
    teacher = tiny_recipe.teacher.model_copy(
        update={"max_steps": CHECKPOINT_EVERY + 2, "evaluations": 1, "batch_size": 1}
    )
    recipe = tiny_recipe.model_copy(update={"teacher": teacher})
    pipeline.train_teacher(Cohort.open(tiny_cohort), recipe, tmp_path, say=lambda text: None)
    kept = {folder.name for folder in (tmp_path / "checkpoints").glob("checkpoint-*")}
    assert kept == {f"checkpoint-{CHECKPOINT_EVERY}", f"checkpoint-{CHECKPOINT_EVERY + 2}"}


def last_checkpoint(run) -> str:
    folders = (run / "checkpoints").glob("checkpoint-*")
    return max((folder.name for folder in folders), key=lambda name: int(name.split("-")[1]))


def losses(run) -> dict[int, float]:
    """Return the logged training loss by step; each step must be there once."""
    lines = [json.loads(line) for line in (run / LOG).read_text().splitlines()]
    logged = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    assert len(dict(logged)) == len(logged)
    return dict(logged)
