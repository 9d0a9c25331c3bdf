"""A worker: takes one run after another from the queue and has its stages done by child processes.

    Worker(Installation.current(), name, device).work()

Each stage is a step of a DBOS workflow. A worker that is killed finds its run again when it is
started; when it stays away, another worker takes the run over. Either goes on at the stage that was
interrupted, from its last checkpoint. The worker itself never loads a model.
"""

import contextlib
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from dbos import DBOS
from sqlalchemy.exc import SQLAlchemyError

from engine.errors import WorkbenchError
from engine.installation import Installation
from engine.jobs import child, presence
from engine.jobs.client import Client
from engine.jobs.queue import (
    APPLICATION,
    SERIALIZER,
    VERSION,
    WORKFLOW,
    queue_for,
    unreachable,
)
from engine.jobs.retraining import DEVICE, STAGES, RunFolder, is_local

TRIES = 3  # of a stage whose process was killed
RECOVERIES = 20  # of a run whose worker ended
POLL = 1.0  # seconds between two looks at the queue, at a child, and for lost workers
LOG_LIMIT = 2**20  # characters of a stage's output that are kept
CHILD = ("-m", "engine.jobs.child")
PROJECT = Path(__file__).resolve().parents[2]
NAME = re.compile(r"[\w.-]{1,64}")


def default_name(device: str) -> str:
    """Return the name of a machine's only worker on a device."""
    return re.sub(r"[^\w.-]", "-", f"{socket.gethostname()}-{device}")[:64]


class Worker:
    """One worker on one device; `work` returns when `stop` is called."""

    def __init__(self, installation: Installation, name: str, device: str) -> None:
        """Raises WorkbenchError for a name or device that cannot be."""
        if not NAME.fullmatch(name):
            raise WorkbenchError(f"--name {name}: use letters, digits, '.', '_' and '-', up to 64")
        if not DEVICE.fullmatch(device):
            raise WorkbenchError(f"--device {device}: expected cpu, cuda, cuda:0, cuda:1, …")
        self._installation = installation
        self._name = name
        self._device = device
        self._stopping = threading.Event()
        self._child: subprocess.Popen | None = None

    def work(self, drain: bool = False) -> None:
        """Take runs from the queue until told to stop; with `drain`, until it is empty.

        Raises WorkbenchError when a worker of this name lives, or the job database does not answer.
        """
        with presence.present(self._installation, self._name, self._device), self._launched():
            if is_local(self._installation):
                Client(self._installation).hand_over()
            while not self._stopping.wait(POLL):
                self._take_over()
                if drain and not self._has_work():
                    return

    def stop(self) -> None:
        """End the child at once and `work` soon; the run goes on when a worker is there again."""
        self._stopping.set()
        if self._child is not None:
            _kill(self._child)

    @contextlib.contextmanager
    def _launched(self) -> Iterator[None]:
        """Run DBOS within the block; it takes up what this worker was killed at."""
        url = self._installation.jobs_url
        logging.getLogger("dbos").addFilter(_is_for_operators)
        DBOS(
            config={
                "name": APPLICATION,
                "system_database_url": url,
                "application_version": VERSION,
                "executor_id": self._name,
                "serializer": SERIALIZER,
                "log_level": "WARNING",
            }
        )
        DBOS.workflow(name=WORKFLOW, max_recovery_attempts=RECOVERIES)(self._workflow())
        queue = queue_for(self._device)
        DBOS.listen_queues([queue])
        try:
            DBOS.launch()
            DBOS.register_queue(
                queue,
                worker_concurrency=1,
                polling_interval_sec=POLL,
                on_conflict="always_update",
            )
            yield
        except SQLAlchemyError as error:
            raise unreachable(url, error) from error
        finally:
            self.stop()
            DBOS.destroy()

    def _workflow(self):
        """Return what is done for a run; DBOS wants a function, by whose name it is found again."""

        def retrain(run_id: str) -> None:
            for stage in STAGES:
                DBOS.run_step({"name": stage}, self._do, run_id, stage)

        return retrain

    def _do(self, run_id: str, stage: str) -> None:
        """Have a stage done, unless it is; again when its process was killed."""
        run = RunFolder(self._installation.runs / run_id)
        attempt = DBOS.workflow_id
        for _ in range(TRIES):
            if run.done(stage) is not None:
                return
            print(f"worker {self._name}: run {run_id}, {stage}", flush=True)
            code, reason = self._have_done(run, stage, attempt)
            if code == 0 and run.done(stage) is not None:
                return
            if reason:
                raise WorkbenchError(f"{stage}: {reason}")
        raise WorkbenchError(
            f"{stage}: its process was killed {TRIES} times (exit code {code}), perhaps for want "
            "of memory; see the log, ask for less (batch_size, max_tokens), or resume the run"
        )

    def _have_done(self, run: RunFolder, stage: str, attempt: str) -> tuple[int, str]:
        """Start a stage's process and wait for it; returns its exit code and why it failed."""
        self._child = subprocess.Popen(
            [sys.executable, *CHILD, str(run.path.resolve()), stage],
            cwd=PROJECT,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        if self._stopping.is_set():  # since before it was known to `stop`
            _kill(self._child)
        lines = _Lines(self._child, run.log)
        while not lines.ended.wait(POLL):
            if _is_cancelled(attempt):
                _kill(self._child)
        code = self._child.wait()
        if self._stopping.is_set():
            raise SystemExit  # not an Exception: the run stays as interrupted as it is
        return code, lines.reason

    def _environment(self) -> dict[str, str]:
        """Let a child see the worker's device alone, and print no bars."""
        environment = dict(os.environ)
        environment |= {
            child.PARENT: str(os.getpid()),
            child.DEVICE: self._device,
            "WORKBENCH_DATA": str(self._installation.folder.resolve()),
            "TQDM_DISABLE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONUNBUFFERED": "1",
        }
        kind, _, number = self._device.partition(":")
        cards = [card for card in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if card]
        if kind == "cpu":
            environment["CUDA_VISIBLE_DEVICES"] = ""
        elif number:
            is_listed = int(number) < len(cards)
            environment["CUDA_VISIBLE_DEVICES"] = cards[int(number)] if is_listed else number
        return environment

    def _has_work(self) -> bool:
        waiting = DBOS.list_workflows(
            status=["ENQUEUED", "PENDING"], queue_name=queue_for(self._device), load_input=False
        )
        return any(status.executor_id in (None, self._name) for status in waiting)

    def _take_over(self) -> None:
        """Put runs of workers that live no more back into the queue, for whoever is free."""
        busy = DBOS.list_workflows(status="PENDING", name=WORKFLOW, load_input=False)
        lost = {status.executor_id for status in busy} - {self._name}
        lost = [name for name in lost if not presence.is_living(self._installation, name)]
        if lost:
            # Not public, but the one call that changes nothing for a run another worker has taken.
            DBOS._recover_pending_workflows(lost)


class _Lines:
    """Reads a child's output into the run's log, and keeps the line that says why it failed."""

    def __init__(self, process: subprocess.Popen, log: Path) -> None:
        self.reason = ""
        self.ended = threading.Event()
        self._process = process
        self._log = log
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        written = 0
        for raw in self._process.stdout:
            line = raw.decode("utf-8", "replace").rstrip().rpartition("\r")[2]  # of a bar, its end
            if line.startswith("error: "):
                self.reason = line.removeprefix("error: ")
            if written < LOG_LIMIT:
                written += len(line)
                # A full disk: the process hears of it itself, and the reason must get through.
                with contextlib.suppress(OSError), self._log.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
        self._process.stdout.close()
        self.ended.set()


def _kill(process: subprocess.Popen) -> None:
    """End a child and all it started: training loses nothing but the steps since a checkpoint."""
    with contextlib.suppress(ProcessLookupError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def _is_cancelled(attempt: str) -> bool:
    status = DBOS.get_workflow_status(attempt)
    return status is not None and status.status == "CANCELLED"


def _is_for_operators(record: logging.LogRecord) -> bool:
    """Keep DBOS from printing the traceback of a run that failed with a reason."""
    return not record.getMessage().startswith("Exception encountered in background workflow")
