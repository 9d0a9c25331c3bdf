"""The queue of retraining runs: what DBOS is told, and what it knows of an attempt.

DBOS keeps it in SQLite beside the workbench's own database, or in PostgreSQL where machines share
the work. It is told a run's id and the number of the attempt, nothing else, and in JSON: no pickle
is ever read. A run that is resumed is another attempt, which finds what the former ones finished.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from dbos import DBOS, DBOSClient
from dbos._serialization import DBOSPortableJSON  # the package does not export it by another name
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from engine.errors import WorkbenchError

APPLICATION = "workbench"
VERSION = "1"  # raised when a worker cannot go on with what an older one began
WORKFLOW = "retrain"
SERIALIZER = DBOSPortableJSON
ENDED = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")

State = Literal["queued", "running", "finished", "failed", "cancelled"]
STATES: dict[str, State] = {
    "ENQUEUED": "queued",
    "DELAYED": "queued",
    "PENDING": "running",
    "SUCCESS": "finished",
    "ERROR": "failed",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed",
    "CANCELLED": "cancelled",
}
TOO_OFTEN = (
    "the worker ended again and again while it was at this run, perhaps for want of memory; "
    "see the log, ask for less (batch_size, max_tokens), and resume the run"
)


@dataclass(frozen=True)
class Attempt:
    """What DBOS knows of one attempt at a run."""

    state: State
    worker: str | None  # that has it, or had it
    started_at: float | None  # seconds since 1970, by the database's clock
    finished_at: float | None
    reason: str | None  # one line, when it failed


class Queue:
    """The queue as seen from outside a worker. Its methods may be called from any thread.

    Every method raises WorkbenchError when the database cannot be reached.
    """

    def __init__(self, url: str) -> None:
        """Connect, and make the tables where there are none yet."""
        self._url = url
        with self._mended():
            DBOS.migrate(url)
            self._client = DBOSClient(
                system_database_url=url,
                serializer=SERIALIZER,
                application_name=APPLICATION,
                retry_connection_errors=False,
            )

    def close(self) -> None:
        self._client.destroy()

    def add(self, run_id: str, attempt: int, device: str, number: int) -> None:
        """Queue an attempt; it stands by its run's `number`, not by a clock. Twice is once."""
        with self._mended():
            self._client.enqueue(
                {
                    "workflow_name": WORKFLOW,
                    "queue_name": queue_for(device),
                    "workflow_id": workflow_id(run_id, attempt),
                    "app_version": VERSION,
                    "priority": number,
                },
                run_id,
            )

    def cancel(self, run_id: str, attempt: int) -> None:
        """End an attempt, or keep it from beginning; the worker at it notices within seconds."""
        with self._mended():
            self._client.cancel_workflow(workflow_id(run_id, attempt))

    def attempts(self, runs: dict[str, int]) -> dict[str, Attempt]:
        """Return what is known of the given attempt of each run; a run never queued is left out."""
        if not runs:
            return {}
        ids = {workflow_id(run_id, attempt): run_id for run_id, attempt in runs.items()}
        with self._mended():
            found = self._client.list_workflows(workflow_ids=list(ids), load_input=False)
        return {ids[status.workflow_id]: _attempt(status) for status in found}

    @contextmanager
    def _mended(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, ArgumentError) as error:
            raise unreachable(self._url, error) from error


def queue_for(device: str) -> str:
    """Return the queue that serves a kind of device: any free card of a worker will do."""
    return f"retraining {device.partition(':')[0]}"


def workflow_id(run_id: str, attempt: int) -> str:
    return f"{run_id}.{attempt}"


def unreachable(url: str, error: Exception) -> WorkbenchError:
    """Return the error of a job database that does not answer, without its password."""
    try:
        place = make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        place = "WORKBENCH_JOBS_URL"
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    reason = lines[0] if lines else type(error).__name__
    return WorkbenchError(
        f"{place}: the database of the retraining queue does not answer ({reason}); "
        "check WORKBENCH_JOBS_URL, and that the database runs"
    )


def _attempt(status) -> Attempt:
    reason = str(status.error).strip() if status.error else None
    if status.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
        reason = TOO_OFTEN
    return Attempt(
        state=STATES[status.status],
        worker=status.executor_id,
        started_at=_seconds(status.dequeued_at),
        finished_at=_seconds(status.completed_at),
        reason=reason,
    )


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
