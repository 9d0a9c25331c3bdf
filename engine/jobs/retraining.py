"""A retraining run: what was asked for, and the folder in which it is done.

    runs/RUN_ID/
        request.json      cohort, recipe and device, as submitted
        cohort/           the cohort as it was when the run began
        run.json, teacher/, hidden_states/, pair/, checkpoints/ …   see `engine.jobs.pipeline`
        comparison.json   the finished pair beside the champion
        registered.json   its version in the registry
        done/STAGE.json   written when a stage is finished, and never before
        progress.json, metrics.jsonl, log.txt

What is done is known from `done/` alone: a stage that was killed has no file there and is taken up
again, from its last checkpoint.
"""

import fcntl
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from engine.config import Recipe
from engine.errors import WorkbenchError
from engine.files import read_json, write_json
from engine.installation import Installation

STAGES = ("snapshot", "teacher", "hidden states", "student", "evaluate", "register")
PAIR = "pair"
DONE = "done"
COMPARISON = "comparison.json"
RUN_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
DEVICE = re.compile(r"cpu|cuda(:\d+)?")
LOCK_TIMEOUT = 30  # seconds in which a process that was told to end lets go of its run


@dataclass(frozen=True)
class Request:
    """What an administrator asks for."""

    cohort: str  # folder
    recipe: dict  # a valid `engine.config.Recipe`
    requested_by: str = ""  # whoever submits it
    device: str = "cpu"  # or "cuda", "cuda:0", …: any worker with that kind of device takes it


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def cohort(self) -> Path:
        """The run's own copy of its cohort."""
        return self.path / "cohort"

    @property
    def progress(self) -> Path:
        return self.path / "progress.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    def write_request(self, request: Request, facts: dict) -> None:
        """Keep a request and what stood when it was made: the cohort's fingerprint, champion."""
        write_json(self.path / "request.json", {**asdict(request), **facts})

    def request(self) -> tuple[Request, dict]:
        """Return the request and what stood when it was made; WorkbenchError when it is damaged."""
        content = read_json(self.path / "request.json", "submit the run again")
        try:
            return Request(
                **{name: content[name] for name in ("cohort", "recipe", "requested_by", "device")}
            ), {name: content[name] for name in ("fingerprint", "champion")}
        except (KeyError, TypeError):
            raise WorkbenchError(
                f"{self.path / 'request.json'}: is not a request; submit the run again"
            ) from None

    def recipe(self) -> Recipe:
        return Recipe.model_validate(self.request()[0].recipe)

    def done(self, stage: str) -> dict | None:
        """Return what a stage left when it was finished, `seconds` among it, or None.

        A marker that a power cut left empty counts as none: the stage is done again.
        """
        try:
            return json.loads(self._marker(stage).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None

    def finish(self, stage: str, facts: dict) -> None:
        """Mark a stage as finished."""
        marker = self._marker(stage)
        marker.parent.mkdir(exist_ok=True)
        write_json(marker, facts)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep any other process from working on the run, for as long as this one lives.

        Raises WorkbenchError when another one does not let go.
        """
        with (self.path / "lock").open("w") as file:
            deadline = time.monotonic() + LOCK_TIMEOUT
            while not _is_locked(file.fileno()):
                if time.monotonic() > deadline:
                    raise WorkbenchError(
                        f"{self.path}: another process is working on this run; "
                        "wait until it has ended and resume the run"
                    )
                time.sleep(0.2)
            yield

    def clear(self) -> None:
        """Remove what a registered run needs no more, all that holds records among it."""
        for entry in list(self.path.iterdir()):
            if entry.is_dir() and entry.name != DONE:
                shutil.rmtree(entry)

    def _marker(self, stage: str) -> Path:
        return self.path / DONE / f"{stage.replace(' ', '_')}.json"


def is_local(installation: Installation) -> bool:
    """Whether all workers are on the machine of the workbench's own database."""
    return installation.jobs_url.startswith("sqlite:")


def new_run_folder(runs: Path) -> RunFolder:
    """Make the folder of a new run, named by the time (UTC) and four random characters."""
    runs.mkdir(parents=True, exist_ok=True)
    while True:
        path = runs / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return RunFolder(path)


def _is_locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    os.set_inheritable(handle, False)
    return True
