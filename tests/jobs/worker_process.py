"""Real workers for tests of retraining, and how a test waits for what they do."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from engine.installation import Installation
from engine.jobs import presence
from engine.jobs.client import Client, Run
from engine.jobs.worker import Worker

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 600  # seconds after which a test gives up; nothing takes a tenth of it on a quiet core
Result = TypeVar("Result")


def until(found: Callable[[], Result | None], patience: float = PATIENCE) -> Result:
    """Return what `found` returns as soon as it is true."""
    deadline, pause = time.monotonic() + patience, threading.Event()
    while not (result := found()):
        assert time.monotonic() < deadline, "nothing came of it"
        pause.wait(0.2)
    return result


def ended(client: Client, run_id: str) -> Run:
    """Return a run once it has ended, one way or the other."""
    over = ("finished", "failed", "cancelled")
    return until(lambda: (run := client.run(run_id)).status in over and run)


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


class WorkerProcess:
    """A worker in a process of its own, with children that train, or with stand-ins for them."""

    def __init__(
        self, installation: Installation, name: str = "a", stand_in: bool = True, **environment: str
    ) -> None:
        program = ["tests.jobs.stand_in", "worker", name]
        if not stand_in:
            program = ["engine", "worker", "--name", name, "--device", "cpu"]
        installation.folder.mkdir(parents=True, exist_ok=True)
        with (installation.folder / f"worker-{name}.txt").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *program],
                cwd=ROOT,
                env={
                    **os.environ,
                    "WORKBENCH_DATA": str(installation.folder),
                    "OMP_NUM_THREADS": "1",
                    **environment,
                },
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> "WorkerProcess":
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it in an orderly way; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextmanager
def working(installation: Installation, name: str = "a") -> Iterator[Worker]:
    """Have a worker in this process, on a thread, within the block."""
    worker = Worker(installation, name, "cpu")
    thread = threading.Thread(target=worker.work)
    thread.start()
    try:
        until(lambda: presence.is_living(installation, name) or not thread.is_alive())
        yield worker
    finally:
        worker.stop()
        thread.join(PATIENCE)
    assert not thread.is_alive()
