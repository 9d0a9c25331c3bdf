"""Submitting, watching, cancelling and resuming runs; what was asked is audited and kept."""

import sqlite3
import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from engine import store
from engine.audit import Audit
from engine.errors import WorkbenchError
from engine.jobs import client as client_module
from engine.jobs import retraining
from engine.jobs.client import Client
from engine.jobs.queue import Queue
from engine.jobs.retraining import STAGES
from engine.permissions import SYSTEM, Actor, NotAllowed
from tests.jobs.worker_process import ended, until, working

ANNA = Actor("anna", "administrator")


def actions(installation) -> list[str]:
    audit = Audit(installation.database, installation.audit_key)
    audit.verify()
    with store.opened(installation.database) as database:
        return [row["action"] for row in database["audit"].rows_where(order_by="number")]


def test_runs_are_done_one_after_the_other_and_audited(
    installation, client, tiny_request, stand_ins
):
    first, second = client.submit(ANNA, tiny_request), client.submit(ANNA, tiny_request)
    queued = client.runs()
    assert [run.run_id for run in queued] == [second, first]
    assert [(run.status, run.position) for run in queued] == [("queued", 2), ("queued", 1)]
    with working(installation):
        assert ended(client, first).status == "finished"
        run = ended(client, second)
    assert (run.status, run.version, run.requested_by) == ("finished", f"tiny-{second}", "anna")
    assert run.started_at <= run.finished_at
    assert run.request.recipe == tiny_request.recipe
    begun = [line.split()[0] for line in (installation.folder / "begun.txt").open()]
    assert begun == [first] * len(STAGES) + [second] * len(STAGES)
    assert actions(installation) == ["retraining submitted"] * 2
    assert [state for _, state, _ in client.progress(first).stages] == ["done"] * len(STAGES)


def test_what_the_queue_could_not_be_told_is_submitted_all_the_same(
    installation, client, tiny_request, monkeypatch
):
    def unreachable(*_):
        raise WorkbenchError("the job database does not answer")

    with monkeypatch.context() as broken:
        broken.setattr(Queue, "add", unreachable)
        run_id = client.submit(ANNA, tiny_request)
    assert [(run.run_id, run.status) for run in client.runs()] == [(run_id, "queued")]
    assert client._queue.attempts({run_id: 1})[run_id].state == "queued"  # handed over by the look
    assert actions(installation) == ["retraining submitted"]


def test_a_running_run_is_cancelled_and_goes_on_where_it_was(
    installation, client, tiny_request, stand_ins, order
):
    order("student", "hold")
    run_id = client.submit(ANNA, tiny_request)
    with working(installation):
        until(lambda: client.progress(run_id).stage == "student" and client.run(run_id).worker)
        seen = client.progress(run_id)
        assert dict((name, state) for name, state, _ in seen.stages)["student"] == "running"
        client.cancel(ANNA, run_id)
        assert client.run(run_id).status == "cancelled"
        with pytest.raises(WorkbenchError, match="is cancelled already"):
            client.cancel(ANNA, run_id)
        order("student", None)
        client.resume(ANNA, run_id)
        assert ended(client, run_id).status == "finished"
    begun = [line.split(" ")[1] for line in (installation.folder / "begun.txt").open()]
    assert begun.count("teacher") == 1
    assert actions(installation) == [
        f"retraining {word}" for word in ("submitted", "cancelled", "resumed")
    ]


def test_a_queued_run_that_is_cancelled_is_never_begun(
    installation, client, tiny_request, stand_ins
):
    first, second = client.submit(ANNA, tiny_request), client.submit(ANNA, tiny_request)
    client.cancel(ANNA, first)
    with working(installation):
        ended(client, second)
    assert client.run(first).status == "cancelled"
    assert first not in (installation.folder / "begun.txt").read_text()


def test_a_stage_that_fails_says_why_and_can_be_taken_up_again(
    installation, client, tiny_request, stand_ins, order
):
    order("evaluate", "fail")
    run_id = client.submit(ANNA, tiny_request)
    with working(installation):
        run = ended(client, run_id)
        assert (run.status, run.stage) == ("failed", "evaluate")
        assert run.reason == "evaluate: it was told to fail"
        order("evaluate", None)
        client.resume(ANNA, run_id)
        assert ended(client, run_id).status == "finished"


@pytest.mark.parametrize("actor", [None, Actor("carl", "clinician"), Actor("olga", "auditor")])
def test_nobody_but_an_administrator_retrains(installation, client, tiny_request, actor):
    run_id = client.submit(SYSTEM, tiny_request)
    for act in (
        lambda: client.submit(actor, tiny_request),
        lambda: client.cancel(actor, run_id),
        lambda: client.resume(actor, run_id),
    ):
        with pytest.raises(NotAllowed):
            act()
    assert actions(installation) == ["retraining submitted"]
    assert len(list(installation.runs.iterdir())) == 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"device": "tpu"}, "device tpu"),
        ({"cohort": "nowhere"}, "nowhere"),
        ({"recipe": {"name": "x", "teacher": {"lora_rank": 0}}}, "teacher.lora_rank"),
        ({"recipe": {"name": "../x"}}, "name"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    installation, client, tiny_request, change, named
):
    with pytest.raises(WorkbenchError, match=named):
        client.submit(ANNA, replace(tiny_request, **change))
    assert not installation.runs.exists()


def test_a_run_that_cannot_be_audited_is_not_made(
    installation, client, tiny_request, stand_ins, monkeypatch
):
    def refuse(*_):
        raise WorkbenchError("audit.key: cannot be read")

    monkeypatch.setattr(Audit, "record", refuse)
    with pytest.raises(WorkbenchError, match=r"audit\.key"):
        client.submit(ANNA, tiny_request)
    assert client.runs() == []


def test_a_process_that_dies_before_the_queue_hears_of_a_run_loses_nothing(
    installation, client, tiny_request, stand_ins, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(Queue, "add", lambda *_: None)
        run_id = client.submit(ANNA, tiny_request)
    with working(installation):
        assert ended(Client(installation), run_id).status == "finished"


def test_of_two_who_cancel_or_resume_at_once_one_is_told(installation, client, tiny_request):
    run_id = client.submit(ANNA, tiny_request)
    for act in ("cancel", "resume"):
        clients, said = [Client(installation), Client(installation)], []
        met = threading.Barrier(2)

        def together(mine: Client, act=act, said=said, met=met) -> None:
            seen = mine.run(run_id)
            mine.run = lambda _: seen
            met.wait()
            try:
                getattr(mine, act)(ANNA, run_id)
                said.append("done")
            except WorkbenchError as error:
                said.append(str(error))

        threads = [threading.Thread(target=together, args=(each,)) for each in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert said.count("done") == 1
        assert any("changed it" in each or "already" in each for each in said)
    assert client.run(run_id).attempt == 2
    assert len(actions(installation)) == 3


def test_submitting_at_once_from_two_processes_makes_two_runs(installation, client, tiny_request):
    clients = [Client(installation), Client(installation)]
    threads = [threading.Thread(target=each.submit, args=(ANNA, tiny_request)) for each in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(run.position for run in client.runs()) == [1, 2]
    assert actions(installation) == ["retraining submitted"] * 2


def test_a_clock_that_jumps_back_changes_no_order(
    installation, client, tiny_request, stand_ins, monkeypatch
):
    class Past(datetime):
        @classmethod
        def now(cls, zone=None):
            return datetime(2001, 2, 3, tzinfo=UTC)

    first = client.submit(ANNA, tiny_request)
    monkeypatch.setattr(client_module, "datetime", Past)
    monkeypatch.setattr(retraining, "datetime", Past)
    second, third = client.submit(ANNA, tiny_request), client.submit(ANNA, tiny_request)
    assert second.startswith("20010203-000000-")
    assert second != third
    assert [run.run_id for run in client.runs()] == [third, second, first]
    with working(installation):
        ended(client, third)
    begun = [line.split()[0] for line in (installation.folder / "begun.txt").open()]
    assert list(dict.fromkeys(begun)) == [first, second, third]
    assert actions(installation) == ["retraining submitted"] * 3


def test_a_locked_database_is_waited_for_and_then_named(
    installation, client, tiny_request, monkeypatch
):
    client.submit(ANNA, tiny_request)
    other = sqlite3.connect(installation.database, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    freed = threading.Timer(1, lambda: other.execute("COMMIT"))
    freed.start()
    client.submit(ANNA, tiny_request)
    freed.join()
    assert len(client.runs()) == 2
    monkeypatch.setattr(store, "LOCK_TIMEOUT", 0.1)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(WorkbenchError, match=r"workbench\.sqlite"):
        client.submit(ANNA, tiny_request)
    other.execute("ROLLBACK")
    assert len(client.runs()) == 2
    assert actions(installation) == ["retraining submitted"] * 2


def test_a_job_database_out_of_reach_is_named_without_its_password(client, monkeypatch):
    monkeypatch.setenv(
        "WORKBENCH_JOBS_URL", "postgresql://me:secret@127.0.0.1:1/jobs?connect_timeout=1"
    )
    with pytest.raises(WorkbenchError, match=r"127\.0\.0\.1:1/jobs.*WORKBENCH_JOBS_URL") as error:
        client.runs()
    assert "secret" not in str(error.value)
