"""The teacher's hidden states and logits, computed once and kept for the student.

A cache is a folder with `states.safetensors` (`hidden` (visits, width) and `logits` (visits,
groups), float32) and `visits.json` (patient and visit ids in row order, and the sum of the teacher
that made them).

It is made in shards of some minutes of work beside its place. A run that was killed goes on behind
the last whole shard and ends with the same numbers, for the batches are always the same ones.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

from engine.errors import WorkbenchError
from engine.files import sha256, whole_folder, write_json
from engine.prompts import Title
from engine.records.schema import Visit
from engine.teacher import memory
from engine.teacher.inference import Teacher, by_length
from engine.teacher.linear_path import FILE as LINEAR_PATH
from engine.teacher.lower_layers import Kept

FOLDER = "hidden_states"
SHARDS = "hidden_states_in_progress"  # beside it, until it is whole
SHARD_TOKENS = 2**17  # of a shard: about a minute on two processor cores, of which a kill costs one


@dataclass(frozen=True)
class HiddenStates:
    """Cached teacher outputs, found by visit."""

    hidden: np.ndarray  # (visits, width) float32
    logits: np.ndarray  # (visits, groups) float32
    rows: dict[tuple[str, str], int]

    def of(self, visits: Sequence[Visit]) -> tuple[np.ndarray, np.ndarray]:
        """Return (hidden, logits) of `visits` in their order; WorkbenchError if one is absent."""
        try:
            rows = [self.rows[visit.patient_id, visit.visit_id] for visit in visits]
        except KeyError:
            raise WorkbenchError(
                "the cached hidden states do not cover this cohort; "
                "run `train hidden-states` again with the same cohort and recipe"
            ) from None
        return self.hidden[rows], self.logits[rows]


def compute(
    teacher: Teacher,
    adapter: Path,
    visits: Sequence[Visit],
    title: Title,
    output: Path,
    shard_tokens: int = SHARD_TOKENS,
    report: Callable[[int, int], None] | None = None,
    kept: Kept | None = None,
) -> Path:
    """Run the teacher over `visits` and store the cache in `output/hidden_states`.

    Goes on with the shards of an earlier run on the same teacher, prompts and kind of device.
    `report` is called with the prompts done, and all of them, after each batch. Prompts whose
    lower layers' output was `kept` by the training go through the upper layers only.
    """
    memory.keep()
    made_by = _teacher_sum(adapter)
    ids = tokenised(teacher, visits, title)
    work = _Work(teacher, ids, kept, shard_tokens, made_by)
    logits, hidden = _by_shards(work, output / SHARDS, report)
    keys = [[visit.patient_id, visit.visit_id] for visit in visits]
    final = output / FOLDER
    with whole_folder(final) as building:
        save_file({"hidden": hidden, "logits": logits}, building / "states.safetensors")
        write_json(building / "visits.json", {"teacher_sha256": made_by, "visits": keys})
    shutil.rmtree(output / SHARDS, ignore_errors=True)
    return final


def tokenised(teacher: Teacher, visits: Sequence[Visit], title: Title) -> list[np.ndarray]:
    """Return the prompts of `visits` as the teacher reads them, int32.

    A thread a core: most of the time goes into counting tokens, outside Python's lock.
    """

    def ids_of(visit: Visit) -> np.ndarray:
        return np.array(teacher.token_ids(teacher.prompt(visit, title).text), np.int32)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        rendered = threads.map(ids_of, visits)
        return list(tqdm(rendered, total=len(visits), desc="prompts", unit="prompt", leave=False))


def load(output: Path, adapter: Path) -> HiddenStates:
    """Open the cache of a run; WorkbenchError if it is missing or another teacher made it."""
    folder = output / FOLDER
    again = "run `train hidden-states` again"
    try:
        index = json.loads((folder / "visits.json").read_text(encoding="utf-8"))
        made_by, keys = index["teacher_sha256"], index["visits"]
        states = load_file(folder / "states.safetensors")
    except FileNotFoundError:
        raise WorkbenchError(
            f"{folder}: no cached hidden states; run `train hidden-states`"
        ) from None
    except (OSError, ValueError, KeyError, SafetensorError):
        raise WorkbenchError(f"{folder}: the cached hidden states are damaged; {again}") from None
    if made_by != _teacher_sum(adapter):
        raise WorkbenchError(f"{folder}: made by another teacher; {again}")
    rows = {tuple(key): row for row, key in enumerate(keys)}
    return HiddenStates(states["hidden"], states["logits"], rows)


@dataclass(frozen=True)
class _Work:
    """What is to be read, and how: all that a shard's numbers depend on."""

    teacher: Teacher
    ids: Sequence[np.ndarray]
    kept: Kept | None
    shard_tokens: int
    made_by: str

    def read(self, batch: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return logits and hidden states of a batch of rows."""
        ids = [self.ids[row] for row in batch]
        if self.kept and self.kept.has(ids[0]):
            return self.teacher.read(ids, self.kept)
        return self.teacher.read(ids)

    def batches(self) -> Iterator[list[int]]:
        """Give rows of similar length; those kept and those not are never in the same batch."""
        known = [bool(self.kept and self.kept.has(row)) for row in self.ids]
        for wanted in (True, False):
            rows = [row for row, is_kept in enumerate(known) if is_kept is wanted]
            lengths = [len(self.ids[row]) for row in rows]
            for batch in by_length(lengths, self.teacher.batch_tokens):
                yield [rows[place] for place in batch]

    def shards(self) -> list[list[list[int]]]:
        """Return the batches of every shard, in the order they are run."""
        shards, tokens = [[]], 0
        for batch in self.batches():
            if tokens >= self.shard_tokens:
                shards.append([])
                tokens = 0
            shards[-1].append(batch)
            tokens += sum(len(self.ids[row]) for row in batch)
        return shards if shards[0] else []

    def origin(self) -> dict[str, str]:
        """Name what a shard was made from, as its metadata."""
        teacher = self.teacher
        settings = f"{self.made_by} {teacher.precision} {teacher.device.type}"
        settings += f" {teacher.batch_tokens} {self.shard_tokens}"
        if self.kept:
            settings += f" above {self.kept.below}"
        digest = hashlib.sha256(settings.encode())
        for row in self.ids:
            digest.update(len(row).to_bytes(8) + row.tobytes())
        return {"made_from": digest.hexdigest()}


def _by_shards(
    work: _Work, folder: Path, report: Callable[[int, int], None] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return (logits, hidden) of all prompts; every shard is on disk before the next begins."""
    folder.mkdir(parents=True, exist_ok=True)
    origin = work.origin()
    logits, hidden = work.teacher.empty(len(work.ids))
    read = 0
    with tqdm(total=len(work.ids), desc="hidden states", unit="prompt") as bar:
        for number, batches in enumerate(work.shards()):
            file = folder / f"{number:05}.safetensors"
            rows = [row for batch in batches for row in batch]
            earlier = _read_shard(file, origin)
            if earlier:
                logits[rows], hidden[rows] = earlier["logits"], earlier["hidden"]
                read += len(rows)
                bar.update(len(rows))
                continue
            for batch in batches:
                logits[batch], hidden[batch] = work.read(batch)
                read += len(batch)
                bar.update(len(batch))
                if report:
                    report(read, len(work.ids))
            _write_shard(file, {"logits": logits[rows], "hidden": hidden[rows]}, origin)
    return logits, hidden


def _read_shard(file: Path, origin: dict[str, str]) -> dict[str, np.ndarray] | None:
    """Return a shard that an earlier run finished, or None: there is none, or it is of others."""
    try:
        with safe_open(file, framework="numpy") as shard:
            return load_file(file) if shard.metadata() == origin else None
    except (OSError, SafetensorError):
        return None


def _write_shard(file: Path, content: dict[str, np.ndarray], origin: dict[str, str]) -> None:
    building = file.with_suffix(f".{os.getpid()}")
    save_file(content, building, metadata=origin)
    building.replace(file)


def _teacher_sum(adapter: Path) -> str:
    try:
        sums = [sha256(adapter / "adapter_model.safetensors")]
        if (adapter / LINEAR_PATH).exists():
            sums.append(sha256(adapter / LINEAR_PATH))
        return "+".join(sums)
    except OSError:
        raise WorkbenchError(
            f"{adapter}: no trained teacher there; run `train teacher` first"
        ) from None
