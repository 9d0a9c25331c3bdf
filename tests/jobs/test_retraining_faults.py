"""What breaks a run, and what becomes of it: kills, full disks, locks. No model is trained."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from engine.audit import Audit
from engine.errors import WorkbenchError
from engine.jobs import child, queue, worker
from engine.jobs.retraining import STAGES, RunFolder
from engine.permissions import SYSTEM
from engine.registry.versions import Registry
from tests.jobs.worker_process import ROOT, WorkerProcess, ended, is_alive, until, working


def begun(installation) -> list[str]:
    """Stages in the order in which children began them."""
    return [
        line.split(" ", 1)[1].rsplit(" ", 1)[0].strip()
        for line in (installation.folder / "begun.txt").read_text().splitlines()
    ]


def begun_times(installation) -> int:
    return len(begun(installation)) if (installation.folder / "begun.txt").exists() else 0


def child_of(installation, run_id: str) -> int:
    return int((installation.runs / run_id / "child.pid").read_text())


def is_at(installation, stage: str) -> bool:
    """Whether a child has begun a stage, and none a later one."""
    file = installation.folder / "begun.txt"
    return file.exists() and begun(installation)[-1:] == [stage]


def test_a_worker_killed_in_every_stage_goes_on_at_that_stage(
    installation, client, tiny_request, order
):
    """Also what a reboot does: all that runs is gone, and the worker is started again."""
    champion = Registry(installation).champion().version
    run_id = client.submit(SYSTEM, tiny_request)
    for stage in STAGES:
        order(stage, "hold")
    for stage in STAGES:
        one = WorkerProcess(installation)
        until(lambda stage=stage: is_at(installation, stage))
        at_work = child_of(installation, run_id)
        assert is_alive(at_work)
        one.kill()
        until(lambda at_work=at_work: not is_alive(at_work))
        run = client.run(run_id)
        assert (run.status, run.stage) == ("interrupted", stage)
        assert Registry(installation).champion().version == champion
        order(stage, None)
    with WorkerProcess(installation):
        assert ended(client, run_id).status == "finished"
    assert begun(installation) == [stage for stage in STAGES for _ in range(2)]
    Audit(installation.database, installation.audit_key).verify()


def test_a_worker_that_is_told_to_stop_takes_its_child_along_and_leaves_the_run_to_be_gone_on_with(
    installation, client, tiny_request, stand_ins, order
):
    order("teacher", "hold")
    run_id = client.submit(SYSTEM, tiny_request)
    with working(installation):
        until(lambda: is_at(installation, "teacher"))
    assert not is_alive(child_of(installation, run_id))
    assert client.run(run_id).status == "interrupted"
    order("teacher", None)
    with working(installation):
        assert ended(client, run_id).status == "finished"


def test_another_worker_takes_over_from_one_that_stays_away(
    installation, client, tiny_request, stand_ins, order
):
    order("student", "hold")
    run_id = client.submit(SYSTEM, tiny_request)
    with working(installation, "gone"):
        until(lambda: is_at(installation, "student"))
    order("student", None)
    with working(installation, "here"):
        run = ended(client, run_id)
    assert (run.status, run.worker) == ("finished", "here")


def test_an_interrupted_run_is_resumed_by_hand_and_done_once(
    installation, client, tiny_request, stand_ins, order
):
    order("teacher", "hold")
    run_id = client.submit(SYSTEM, tiny_request)
    with working(installation):
        until(lambda: is_at(installation, "teacher"))
    client.resume(SYSTEM, run_id)
    assert client.run(run_id).status == "queued"
    order("teacher", None)
    with working(installation):
        assert ended(client, run_id).status == "finished"
    assert begun(installation).count("student") == 1


def test_a_killed_child_is_started_again(installation, client, tiny_request, stand_ins, order):
    order("student", "hold")
    run_id = client.submit(SYSTEM, tiny_request)
    with working(installation):
        until(lambda: is_at(installation, "student"))
        os.kill(child_of(installation, run_id), signal.SIGKILL)
        until(lambda: begun(installation).count("student") == 2)
        order("student", None)
        assert ended(client, run_id).status == "finished"


def test_a_child_that_is_killed_again_and_again_fails_the_run_with_the_reason(
    installation, client, tiny_request, stand_ins, order
):
    order("teacher", "die")
    run_id = client.submit(SYSTEM, tiny_request)
    with working(installation):
        run = ended(client, run_id)
    assert run.status == "failed"
    assert f"killed {worker.TRIES} times" in run.reason
    assert begun(installation).count("teacher") == worker.TRIES


def test_a_run_that_ends_its_workers_again_and_again_fails_with_the_reason(
    installation, client, tiny_request, stand_ins, order, monkeypatch
):
    monkeypatch.setattr(worker, "RECOVERIES", 1)
    order("snapshot", "hold")
    run_id = client.submit(SYSTEM, tiny_request)
    for starts in (1, 2):
        with working(installation):
            until(lambda starts=starts: begun_times(installation) == starts)
    with working(installation):
        run = ended(client, run_id)
    assert run.status == "failed"
    assert "again and again" in run.reason


def test_a_child_whose_worker_is_gone_before_it_starts_does_nothing(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    orphan = subprocess.run(
        [sys.executable, "-m", "engine.jobs.child", str(tmp_path), "snapshot"],
        cwd=ROOT,
        env={**os.environ, child.PARENT: str(gone.pid)},
        check=False,
    )
    assert orphan.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_several_processes_of_a_recipe_are_started_by_torchrun(tmp_path, tiny_request, monkeypatch):
    teacher = {**tiny_request.recipe["teacher"], "processes": 4}
    request = replace(tiny_request, recipe={**tiny_request.recipe, "teacher": teacher})
    RunFolder(tmp_path).write_request(request, {"fingerprint": "", "champion": None})
    became = []
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setenv(child.PARENT, "1")
    monkeypatch.setattr(child, "end_with", lambda *_: None)
    monkeypatch.setattr(child.os, "execv", lambda _, command: became.append(command))
    monkeypatch.setitem(child.DO, "teacher", lambda *_: {})
    child.main([str(tmp_path), "teacher"])
    assert "torch.distributed.run" in became[0]
    assert "--nproc-per-node=4" in became[0]
    assert became[0][-3:] == ["engine.jobs.child", str(tmp_path), "teacher"]
    assert os.environ[child.PARENT] == str(os.getpid())


def test_two_workers_of_one_name_are_refused(installation, stand_ins):
    with working(installation), pytest.raises(WorkbenchError, match="runs already"):
        worker.Worker(installation, "a", "cpu").work(drain=True)


def test_two_processes_never_work_on_one_run(tmp_path, monkeypatch):
    run = RunFolder(tmp_path)
    monkeypatch.setattr("engine.jobs.retraining.LOCK_TIMEOUT", 0)
    with run.locked(), pytest.raises(WorkbenchError, match="another process"), run.locked():
        pass
    with run.locked():
        assert True


def test_a_job_database_that_is_locked_for_a_while_is_waited_for(
    installation, client, tiny_request, stand_ins, order
):
    order("teacher", "hold")
    run_id = client.submit(SYSTEM, tiny_request)
    with working(installation):
        until(lambda: is_at(installation, "teacher"))
        other = sqlite3.connect(
            installation.folder / "jobs.sqlite", isolation_level=None, check_same_thread=False
        )
        other.execute("BEGIN EXCLUSIVE")
        order("teacher", None)
        freed = threading.Timer(2, lambda: other.execute("COMMIT"))
        freed.start()
        assert ended(client, run_id).status == "finished"
        freed.join()


def test_a_cohort_that_changed_while_the_run_waited_is_not_trained_on(
    client, installation, tiny_request
):
    run_id = client.submit(SYSTEM, tiny_request)
    run = RunFolder(installation.runs / run_id)
    request, facts = run.request()
    run.write_request(request, {**facts, "fingerprint": "of another"})
    with pytest.raises(WorkbenchError, match="has changed since"):
        child.DO["snapshot"](run, None)
    assert not run.cohort.exists()


def test_the_job_database_never_holds_a_pickle(installation, client, tiny_request, stand_ins):
    run_id = client.submit(SYSTEM, tiny_request)
    with working(installation):
        ended(client, run_id)
    content = (installation.folder / "jobs.sqlite").read_bytes()
    assert b"py_pickle" not in content
    assert queue.SERIALIZER.name().encode() in content
