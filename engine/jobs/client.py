"""What the app and the command line ask of retraining: submit, watch, cancel, resume.

    run_id = Client(Installation.current()).submit(actor, Request(cohort, recipe, device="cuda:0"))

Three places know of a run, each of its own part. The table `runs` holds what people asked for: the
request, who made it, whether it is to run or to be cancelled, and which attempt this is; a row
changes in one transaction with the audit. The job database (`engine.jobs.queue`) alone knows how an
attempt fares. The run's folder holds the work. A status is computed from them and kept nowhere.
When a process dies between the first and the second, the next one to look hands over what is
missing.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from engine import permissions, store
from engine.audit import Audit
from engine.config import Recipe
from engine.errors import WorkbenchError
from engine.installation import Installation
from engine.jobs import presence, progress
from engine.jobs.devices import Device, devices
from engine.jobs.presence import LivingWorker
from engine.jobs.progress import Progress
from engine.jobs.retraining import (
    DEVICE,
    STAGES,
    Request,
    RunFolder,
    is_local,
    new_run_folder,
)
from engine.permissions import Actor

if TYPE_CHECKING:
    from engine.jobs.queue import Attempt, Queue

Status = Literal["queued", "running", "interrupted", "cancelled", "failed", "finished"]
UNDER_WAY: tuple[Status, ...] = ("queued", "running", "interrupted")
RESUMABLE: tuple[Status, ...] = ("interrupted", "cancelled", "failed")


@dataclass(frozen=True)
class Run:
    """A run as it stands; times are UTC."""

    run_id: str
    number: int  # order of submission, whatever clocks say
    status: Status
    position: int | None  # in the queue of its kind of device, from 1
    requested_by: str
    submitted_at: datetime
    started_at: datetime | None  # of the present attempt
    finished_at: datetime | None
    request: Request
    attempt: int
    worker: str | None
    stage: str | None  # at work or next; None when all are done
    reason: str | None  # one line, when it failed or was interrupted
    version: str | None  # once it is registered


class Client:
    """Retraining as seen from outside a worker. Its methods may be called from any thread."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._audit = Audit(installation.database, installation.audit_key)

    @cached_property
    def _queue(self) -> "Queue":
        from engine.jobs.queue import Queue  # a second to import, which other pages need not wait

        return Queue(self._installation.jobs_url)

    def submit(self, actor: Actor | None, request: Request) -> str:
        """Queue a run and return its id.

        Raises:
            NotAllowed: `actor` may not retrain.
            WorkbenchError: the cohort, a field of the recipe, or the device cannot be.
        """
        permissions.require(actor, "retrain")
        request, fingerprint = _checked(replace(request, requested_by=actor.name))
        facts = {"fingerprint": fingerprint, "champion": self._champion()}
        run = new_run_folder(self._installation.runs)
        run.write_request(request, facts)
        with store.transaction(self._installation.database) as database:
            row = {
                "run_id": run.run_id,
                "submitted_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "requested_by": actor.name,
                "request": json.dumps(asdict(request)),
                "attempt": 1,
                "wanted": "run",
            }
            number = database["runs"].insert(row).last_pk
            details = {
                "run": run.run_id,
                "recipe": request.recipe["name"],
                "cohort": fingerprint,
                "device": request.device,
            }
            self._audit.record(database, actor, "retraining submitted", details)
        with suppress(WorkbenchError):  # it is submitted: whoever looks next hands it over
            self._queue.add(run.run_id, 1, request.device, number)
        return run.run_id

    def runs(self) -> list[Run]:
        """Return every run, the newest first."""
        self._collect()
        with store.opened(self._installation.database) as database:
            rows = list(database["runs"].rows_where(order_by="number"))
        attempts = self._handed_over(rows)
        found, queued = [], {}
        for row in rows:
            run = self._run(row, attempts.get(row["run_id"]))
            if run.status == "queued":
                kind = run.request.device.partition(":")[0]
                queued[kind] = queued.get(kind, 0) + 1
                run = replace(run, position=queued[kind])
            found.append(run)
        return found[::-1]

    def run(self, run_id: str) -> Run:
        """Return one run; WorkbenchError when there is none of that id."""
        for run in self.runs():
            if run.run_id == run_id:
                return run
        raise WorkbenchError(f"run {run_id}: there is none; see the list of runs for their ids")

    def progress(self, run_id: str) -> Progress:
        """Return how far a run has come; WorkbenchError when there is none of that id."""
        run = self.run(run_id)
        return progress.read(RunFolder(self._installation.runs / run_id), run.status)

    def cancel(self, actor: Actor | None, run_id: str) -> None:
        """End a run, or keep it from beginning; it can be resumed.

        Raises NotAllowed, or WorkbenchError when the run has ended already.
        """
        permissions.require(actor, "cancel run")
        run = self.run(run_id)
        if run.status not in UNDER_WAY:
            raise WorkbenchError(f"run {run_id}: is {run.status} already; nothing to cancel")
        self._change(actor, run, "retraining cancelled", {"wanted": "cancel"})
        with suppress(WorkbenchError):
            self._queue.cancel(run_id, run.attempt)

    def resume(self, actor: Actor | None, run_id: str) -> None:
        """Queue a run again that was interrupted, was cancelled or failed; what is done stays done.

        Raises NotAllowed, or WorkbenchError when the run is under way or finished.
        """
        permissions.require(actor, "retrain")
        run = self.run(run_id)
        if run.status not in RESUMABLE:
            raise WorkbenchError(f"run {run_id}: is {run.status}; there is nothing to resume")
        change = {"wanted": "run", "attempt": run.attempt + 1}
        self._change(actor, run, "retraining resumed", change)
        with suppress(WorkbenchError):
            self._queue.cancel(run_id, run.attempt)  # its worker, should it come back, leaves it
            self._queue.add(run_id, run.attempt + 1, run.request.device, run.number)

    def workers(self) -> list[LivingWorker]:
        """Return the workers that live."""
        return presence.living(self._installation)

    def devices(self) -> list[Device]:
        """Return the devices of this machine; those of others are with `workers`."""
        return devices()

    def hand_over(self) -> None:
        """Tell the queue what it was not told because a process died just before."""
        self.runs()

    def _collect(self) -> None:
        """Register what workers on other machines have left in the shared folder."""
        if not is_local(self._installation):
            from engine.registry.versions import Registry

            Registry(self._installation).collect()

    def _champion(self) -> str | None:
        from engine.registry.versions import Registry

        try:
            return Registry(self._installation).champion().version
        except WorkbenchError:  # a damaged one must not stand in the way of its successor
            return None

    def _change(self, actor: Actor, run: Run, action: str, change: dict) -> None:
        """Change a run's row, if it is still as it was read, and write the audit."""
        with store.transaction(self._installation.database) as database:
            row = next(database["runs"].rows_where("number = ?", [run.number]))
            wanted = "cancel" if run.status == "cancelled" else row["wanted"]
            if row["attempt"] != run.attempt or row["wanted"] != wanted:
                raise WorkbenchError(
                    f"run {run.run_id}: somebody else has just changed it; look at it again"
                )
            if row["wanted"] == change["wanted"] == "cancel":
                raise WorkbenchError(f"run {run.run_id}: is cancelled already")
            database["runs"].update(run.number, change)
            self._audit.record(database, actor, action, {"run": run.run_id})

    def _handed_over(self, rows: Iterable[dict]) -> dict[str, "Attempt"]:
        """Return how the present attempts fare, after what the queue had missed is made good."""
        rows = list(rows)
        attempts = self._queue.attempts({row["run_id"]: row["attempt"] for row in rows})
        for row in rows:
            attempt = attempts.get(row["run_id"])
            request = json.loads(row["request"])
            if attempt is None and row["wanted"] == "run":
                self._queue.add(row["run_id"], row["attempt"], request["device"], row["number"])
            elif attempt and row["wanted"] == "cancel" and attempt.state in ("queued", "running"):
                self._queue.cancel(row["run_id"], row["attempt"])
        return attempts

    def _run(self, row: dict, attempt: "Attempt | None") -> Run:
        folder = RunFolder(self._installation.runs / row["run_id"])
        finished = {stage: folder.done(stage) for stage in STAGES}
        status, reason = self._status(row, attempt)
        return Run(
            run_id=row["run_id"],
            number=row["number"],
            status=status,
            position=None,
            requested_by=row["requested_by"],
            submitted_at=datetime.fromisoformat(row["submitted_at"]),
            started_at=_moment(attempt and attempt.started_at),
            finished_at=_moment(attempt and attempt.finished_at),
            request=Request(**json.loads(row["request"])),
            attempt=row["attempt"],
            worker=attempt and attempt.worker,
            stage=next((stage for stage in STAGES if finished[stage] is None), None),
            reason=reason,
            version=(finished["register"] or {}).get("version"),
        )

    def _status(self, row: dict, attempt: "Attempt | None") -> tuple[Status, str | None]:
        if attempt is not None and attempt.state in ("finished", "failed"):
            return attempt.state, attempt.reason
        if row["wanted"] == "cancel":
            return "cancelled", None
        if attempt is None:
            return "queued", None
        if attempt.state == "running" and not presence.is_living(
            self._installation, attempt.worker
        ):
            return "interrupted", f"its worker, {attempt.worker}, has ended"
        return attempt.state, None


def _checked(request: Request) -> tuple[Request, str]:
    """Return a request with its recipe spelled out and its cohort's place, and the cohort's sum."""
    from engine.records.cohort import Cohort

    if not DEVICE.fullmatch(request.device):
        raise WorkbenchError(f"device {request.device}: expected cpu, cuda, cuda:0, cuda:1, …")
    try:
        recipe = Recipe.model_validate(request.recipe)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise WorkbenchError(f"recipe, field '{field}': {first['msg']}") from None
    cohort = Cohort.open(request.cohort)
    spelled_out = replace(
        request, recipe=recipe.model_dump(mode="json"), cohort=str(cohort.folder.resolve())
    )
    return spelled_out, cohort.fingerprint


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
