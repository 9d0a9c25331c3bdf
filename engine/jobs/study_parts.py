"""The parts of a study: each computed once, kept whole, and computed again when it changed.

A part is `parts/NAME.json` (its facts, and a sum of everything its outcome depends on), with
`parts/NAME.safetensors` where it has arrays. The JSON is written last: without it there is no part.
"""

import fcntl
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from engine.errors import WorkbenchError
from engine.files import sha256, write_json
from engine.jobs.pipeline import hardware

FORMAT = 2  # raised when the same settings would give another outcome


@dataclass(frozen=True)
class Outcome:
    """What a part found: `facts` for JSON, and named arrays."""

    facts: dict
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A named piece of work; `settings`, ready for JSON, holds all that its outcome depends on.

    `needs` are the parts it reads: costly ones that many share.
    """

    name: str
    settings: dict
    compute: Callable[[], Outcome]
    needs: tuple["Part", ...] = ()
    alone: bool = False  # computed before any other, with the whole machine to itself

    @property
    def key(self) -> str:
        """The sum of its settings."""
        text = json.dumps({"format": FORMAT, **self.settings}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


class Parts:
    """The parts of one study folder."""

    def __init__(self, output: Path) -> None:
        self.folder = output / "parts"
        self.folder.mkdir(parents=True, exist_ok=True)

    def get(self, part: Part) -> Outcome:
        """Return a part's outcome, from the folder or computed and then kept there."""
        known = self.kept(part)
        if known is not None:
            return known
        start = time.perf_counter()
        outcome = part.compute()
        facts = {
            **outcome.facts,
            "seconds": round(time.perf_counter() - start, 1),
            "threads": torch.get_num_threads(),
            "hardware": hardware(),
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
        }
        content = {"key": part.key, "settings": part.settings, "facts": facts, "arrays": None}
        if outcome.arrays:
            target = self._arrays(part)
            building = target.with_name(f".{target.name}.partial")
            arrays = {name: np.ascontiguousarray(array) for name, array in outcome.arrays.items()}
            save_file(arrays, building)
            content["arrays"] = sha256(building)
            building.replace(target)
        write_json(self._facts(part), content)
        return Outcome(facts, outcome.arrays)

    def kept(self, part: Part) -> Outcome | None:
        """Return a part as it was kept; None where it is absent, damaged or of other settings."""
        try:
            content = json.loads(self._facts(part).read_text(encoding="utf-8"))
            if content["key"] != part.key:
                return None
            if content["arrays"] is None:
                return Outcome(content["facts"])
            if sha256(self._arrays(part)) != content["arrays"]:
                return None
            return Outcome(content["facts"], load_file(self._arrays(part)))
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            return None

    def _facts(self, part: Part) -> Path:
        return self.folder / f"{part.name}.json"

    def _arrays(self, part: Part) -> Path:
        return self.folder / f"{part.name}.safetensors"


@contextmanager
def sole_study(output: Path) -> Iterator[None]:
    """Hold a study's folder; WorkbenchError when another study is running in it."""
    if output.exists() and not output.is_dir():
        raise WorkbenchError(f"{output}: is a file; name a folder for the study")
    if output.is_dir() and any(output.iterdir()) and not (output / "parts").is_dir():
        raise WorkbenchError(f"{output}: is not empty and holds no study; name a new folder")
    (output / "parts").mkdir(parents=True, exist_ok=True)
    with (output / "parts" / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WorkbenchError(
                f"{output}: another study is running in this folder; wait for it, or name another"
            ) from None
        yield
