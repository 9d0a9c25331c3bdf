"""Which workers live: each holds a lock beside a file that says what it is.

    data/workers/NAME.json, NAME.lock

The lock is let go by the kernel when the worker ends, however it ends, so that no clock decides
whether one is alive. On a shared folder the file system has to know locks (NFS 4 does).
"""

import contextlib
import fcntl
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from engine.errors import WorkbenchError
from engine.files import write_json
from engine.installation import Installation
from engine.jobs.devices import devices

EVERY = 5.0  # seconds between two signs of life
START_TIMEOUT = 2.0  # seconds; whoever looks whether a lock is held, holds it for a moment


@dataclass(frozen=True)
class LivingWorker:
    """A worker as others see it; memory in bytes, of its device."""

    name: str
    device: str
    title: str
    memory_total: int | None
    memory_free: int | None
    last_seen: float  # seconds since 1970, by the worker's own clock


@contextmanager
def present(installation: Installation, name: str, device: str) -> Iterator[None]:
    """Be seen as a living worker within the block.

    Raises WorkbenchError when a worker of that name lives already.
    """
    folder = _folder(installation)
    folder.mkdir(parents=True, exist_ok=True)
    ended = threading.Event()
    with (folder / f"{name}.lock").open("w") as lock:
        _take(lock, name)
        thread = threading.Thread(
            target=_be_seen, args=(folder / f"{name}.json", name, device, ended), daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            (folder / f"{name}.json").unlink(missing_ok=True)


def living(installation: Installation) -> list[LivingWorker]:
    """Return the workers that live, by name."""
    workers = []
    for file in sorted(_folder(installation).glob("*.json")):
        if not is_living(installation, file.stem):
            continue
        with contextlib.suppress(OSError, ValueError, TypeError):  # it has just ended
            workers.append(LivingWorker(**json.loads(file.read_text(encoding="utf-8"))))
    return workers


def is_living(installation: Installation, name: str) -> bool:
    """Whether a worker of that name lives."""
    try:
        with (_folder(installation) / f"{name}.lock").open() as lock:
            return not _try(lock, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def _folder(installation: Installation) -> Path:
    return installation.folder / "workers"


def _take(lock: IO, name: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not _try(lock, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            raise WorkbenchError(
                f"worker {name}: runs already; stop it first, or give this one another --name"
            )
        time.sleep(0.05)


def _try(lock: IO, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _be_seen(file: Path, name: str, device: str, ended: threading.Event) -> None:
    while True:
        known = {each.name: each for each in devices()}.get(device)
        worker = LivingWorker(
            name,
            device,
            known.title if known else device,
            known.memory_total if known else None,
            known.memory_free if known else None,
            time.time(),
        )
        with contextlib.suppress(OSError):  # a full disk: it lives all the same
            write_json(file, asdict(worker))
        if ended.wait(EVERY):
            return
