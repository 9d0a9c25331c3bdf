"""The hidden-state cache: killed anywhere it goes on, and ends with the same bytes."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from engine.config import save_recipe
from engine.records.cohort import Cohort
from engine.teacher import hidden_states, lower_layers
from engine.teacher.data import Examples
from engine.teacher.inference import Teacher, body_of

SHARD = 2_000  # tokens: the tiny cohort makes about a dozen
CHILD = """
import os, signal, sys
from pathlib import Path
from engine.config import load_recipe
from engine.jobs import lessons
from engine.records.cohort import Cohort
from engine.teacher import hidden_states

cohort, recipe, run, output, last = *sys.argv[1:5], int(sys.argv[5])
cohort, recipe = Cohort.open(cohort), load_recipe(Path(recipe))
teacher = lessons.open_teacher(cohort, recipe, Path(run))
read, calls = teacher.read, []

def die(ids):
    calls.append(ids)
    if len(calls) > last:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(ids)

teacher.read = die
teacher.batch_tokens = 1_000
visits = cohort.samples("train")
hidden_states.compute(
    teacher, Path(run) / "teacher", visits, cohort.title, Path(output), shard_tokens=2_000
)
"""


@pytest.fixture(scope="module")
def cohort(tiny_cohort) -> Cohort:
    return Cohort.open(tiny_cohort)


@pytest.fixture
def teacher(tiny_run, tiny_recipe, cohort) -> Teacher:
    groups = len(cohort.vocabulary.medications)
    teacher = Teacher(tiny_recipe.teacher, tiny_run / "teacher", groups, tiny_recipe.prompt)
    teacher.batch_tokens = 1_000
    return teacher


def counted(teacher: Teacher) -> list[int]:
    """Let a teacher note how many prompts each batch holds that it reads."""
    read, prompts = teacher.read, []

    def note(ids):
        prompts.append(len(ids))
        return read(ids)

    teacher.read = note
    return prompts


def test_the_cache_holds_what_the_teacher_says_one_visit_at_a_time(
    teacher, tiny_run, cohort, tmp_path
):
    visits = cohort.samples("train")[:12]
    adapter = tiny_run / "teacher"
    hidden_states.compute(teacher, adapter, visits, cohort.title, tmp_path, SHARD)
    hidden, logits = hidden_states.load(tmp_path, adapter).of(visits)
    for row, visit in enumerate(visits):
        alone = teacher.predict([teacher.prompt(visit, cohort.title).text])
        np.testing.assert_allclose(logits[row], alone[0][0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(hidden[row], alone[1][0], rtol=1e-4, atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == [hidden_states.FOLDER]


def test_killed_in_its_midst_it_goes_on_and_ends_with_the_same_bytes(
    teacher, tiny_run, tiny_recipe, tiny_cohort, cohort, tmp_path
):
    visits, adapter = cohort.samples("train"), tiny_run / "teacher"
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    batches = counted(teacher)
    hidden_states.compute(teacher, adapter, visits, cohort.title, straight, SHARD)
    whole = len(batches)
    save_recipe(tiny_recipe, tmp_path / "recipe.yaml")
    last = whole * 2 // 3
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(tiny_cohort), str(tmp_path / "recipe.yaml")]
        + [str(tiny_run), str(killed), str(last)],
        capture_output=True,
        env=os.environ | {"PYTHONPATH": "."},
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()[-2000:]
    assert not (killed / hidden_states.FOLDER).exists()

    batches.clear()
    hidden_states.compute(teacher, adapter, visits, cohort.title, killed, SHARD)
    assert whole - last <= len(batches) < whole
    for name in ("states.safetensors", "visits.json"):
        one, other = (run / hidden_states.FOLDER / name for run in (straight, killed))
        assert one.read_bytes() == other.read_bytes(), name


def test_shards_of_other_prompts_or_cut_off_are_not_used(teacher, tiny_run, cohort, tmp_path):
    visits, adapter = cohort.samples("train")[:20], tiny_run / "teacher"
    shards = tmp_path / hidden_states.SHARDS

    def stop(ids):
        if any(shards.glob("*.safetensors")):
            raise KeyboardInterrupt
        return Teacher.read(teacher, ids)

    teacher.read = stop
    with pytest.raises(KeyboardInterrupt):
        hidden_states.compute(teacher, adapter, visits, cohort.title, tmp_path, SHARD)
    first = shards / "00000.safetensors"
    kept = first.read_bytes()

    def batches_read(some, content: bytes) -> int:
        shards.mkdir(exist_ok=True)
        first.write_bytes(content)
        del teacher.read
        batches = counted(teacher)
        hidden_states.compute(teacher, adapter, some, cohort.title, tmp_path, SHARD)
        return sum(batches)

    assert batches_read(visits, kept) < 20
    assert batches_read(visits, kept[:-100]) == 20
    assert batches_read(cohort.samples("train")[1:21], kept) == 20


@pytest.fixture
def kept(tiny_run, tiny_recipe, tiny_cohort, cohort, teacher, tmp_path):
    """What a training keeps of the lower layers for its prompts, made by the same base model."""
    ids = [
        teacher.token_ids(teacher.prompt(visit, cohort.title).text) for visit in visits_of(cohort)
    ]
    examples = Examples(tuple(map(tuple, ids)), torch.zeros(len(ids), 1))
    folder = tmp_path / "lower_layers"
    folder.mkdir()
    lower_layers.compute(teacher.model, 1, examples, folder / "training", 4, bf16=False)
    return lower_layers.kept(teacher.model, 1, folder, bf16=False)


def visits_of(cohort: Cohort) -> list:
    return cohort.samples("train")[:12]


@pytest.mark.parametrize("shape", ["llama", "another"])
def test_from_what_the_training_kept_come_the_same_states(
    teacher, tiny_run, cohort, kept, tmp_path, shape
):
    if shape == "another":  # one that has no shorter way of its own
        teacher.body = body_of(teacher.model)
    visits = cohort.samples("train")[:20]  # eight of which the training did not see
    adapter = tiny_run / "teacher"
    found = []
    for given in (None, kept):
        hidden_states.compute(teacher, adapter, visits, cohort.title, tmp_path, SHARD, kept=given)
        found.append(hidden_states.load(tmp_path, adapter).of(visits))
    (hidden, logits), (short_hidden, short_logits) = found
    assert (short_hidden != hidden).any(), "nothing was read from what was kept"
    np.testing.assert_allclose(short_hidden, hidden, atol=5e-3)  # three digits on disk
    np.testing.assert_allclose(short_logits, logits, atol=5e-3)


def test_the_lower_layers_are_not_run_again(teacher, cohort, kept):
    visit = visits_of(cohort)[0]
    ids = teacher.token_ids(teacher.prompt(visit, cohort.title).text)
    teacher.body = body_of(teacher.model)
    calls = []
    hook = teacher.body.layers[0].register_forward_pre_hook(lambda *_: calls.append(1))
    teacher.read([ids], kept)
    assert not calls
    teacher.read([ids])
    hook.remove()
    assert calls, "the whole model is whole again"


def test_what_another_base_model_kept_is_not_used(teacher, cohort, kept, tmp_path):
    folder = tmp_path / "lower_layers"
    assert kept.has(teacher.token_ids(teacher.prompt(visits_of(cohort)[0], cohort.title).text))
    assert lower_layers.kept(teacher.model, 1, tmp_path / "none", bf16=False) is None
    (folder / "training.sha256").write_text("of another")
    assert lower_layers.kept(teacher.model, 1, folder, bf16=False) is None
