"""Two processes under `torchrun`: the training of one, and one writer."""

import json
import os
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
from engine.teacher import distributed, trainer
from engine.teacher.model import WEIGHTS


def torchrun(*arguments) -> subprocess.CompletedProcess:
    """Run an engine command in two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    command += ["2", "-m", "engine", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def changed(recipe: Recipe, **teacher) -> Recipe:
    return recipe.model_copy(update={"teacher": recipe.teacher.model_copy(update=teacher)})


def train_both_ways(cohort: Path, recipe: Recipe, folder: Path) -> tuple[Path, Path, str]:
    """Train in one process and in two; returns both run folders and what the two printed."""
    alone, shared = folder / "alone", folder / "shared"
    alone_recipe = changed(recipe, sharding="none")
    pipeline.train_teacher(Cohort.open(cohort), alone_recipe, alone, say=lambda text: None)
    save_recipe(recipe, folder / "recipe.yaml")
    run = torchrun(
        "train", "teacher", cohort, "--recipe", folder / "recipe.yaml", "--output", shared
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return alone, shared, run.stdout


def assert_same_training(alone: Path, shared: Path) -> None:
    for name in ("loss", "eval_loss", "eval_prauc"):
        values = [logged(run, name) for run in (alone, shared)]
        assert values[0]
        assert values[1] == pytest.approx(values[0], abs=1e-4)
    weights = [load_file(run / "teacher" / WEIGHTS) for run in (alone, shared)]
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=1e-3, atol=1e-4)


def logged(run: Path, name: str) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if name in line]


@pytest.mark.slow
def test_two_processes_train_as_one_and_one_of_them_writes(tiny_cohort, tiny_recipe, tmp_path):
    recipe = changed(tiny_recipe, learning_rate=1e-2)
    alone, shared, printed = train_both_ways(tiny_cohort, recipe, tmp_path)
    assert_same_training(alone, shared)
    assert printed.count("teacher: started") == printed.count("finished: ") == 1
    assert len(list(shared.rglob("events.out.tfevents*"))) == 1
    left = {path.name for path in shared.iterdir()}
    assert left == {path.name for path in alone.iterdir()}


@pytest.mark.slow
def test_two_processes_share_the_base_weights(tiny_cohort, tiny_recipe, tmp_path):
    recipe = changed(
        tiny_recipe, sharding="fsdp", cache_lower_layers=False, learning_rate=1e-2, max_steps=2
    )
    alone, shared, _ = train_both_ways(tiny_cohort, recipe, tmp_path)
    assert_same_training(alone, shared)


@pytest.mark.slow
def test_what_a_user_can_mend_is_said_once_and_every_process_ends(
    tiny_cohort, tiny_recipe, tmp_path
):
    save_recipe(tiny_recipe, tmp_path / "recipe.yaml")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    run = torchrun(
        *("train", "teacher", tiny_cohort),
        *("--recipe", tmp_path / "recipe.yaml", "--output", tmp_path / "mine"),
    )
    assert run.returncode != 0
    assert run.stderr.count("is no training run") == 1
    assert "engine/jobs/pipeline.py" not in run.stderr  # no traceback of ours
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_only_the_first_process_does_the_later_stages(tmp_path, monkeypatch):
    from engine.cli import main

    monkeypatch.setenv("RANK", "1")
    for stage in ("hidden-states", "student"):
        missing = [str(tmp_path / "none")] * 3
        command = ["train", stage, missing[0], "--recipe", missing[1], "--output", missing[2]]
        assert main(command) == 0
    assert not list(tmp_path.iterdir())


def test_without_torchrun_work_of_the_first_process_is_just_done():
    with distributed.connected():
        assert distributed.is_first()
        assert distributed.first_only(lambda: 42) == 42


def test_a_batch_that_processes_cannot_share_is_refused(tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(WorkbenchError, match="batch_size: 8 cannot be shared evenly by 3"):
        trainer.arguments(tiny_recipe, 100, tmp_path, resume=False)


def test_sharding_without_torchrun_is_refused(tiny_recipe, tmp_path):
    recipe = changed(tiny_recipe, sharding="fsdp", cache_lower_layers=False)
    with pytest.raises(WorkbenchError, match="torchrun"):
        trainer.arguments(recipe, 100, tmp_path, resume=False)


def test_one_process_uses_one_card_of_several(tiny_recipe, tmp_path):
    options = trainer.arguments(tiny_recipe, 100, tmp_path, resume=False)
    assert options.device.type in ("cpu", "cuda")
    options._n_gpu = 4
    assert options.n_gpu == 1
    assert options.train_batch_size == tiny_recipe.teacher.batch_size
