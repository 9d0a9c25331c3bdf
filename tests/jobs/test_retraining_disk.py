"""A disk that is full while a checkpoint is written: said, nothing half left, and gone on with."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.audit import Audit
from engine.jobs import worker
from engine.jobs.retraining import RunFolder
from engine.permissions import SYSTEM
from engine.registry.versions import Registry
from tests.jobs.worker_process import ended, working

ROOM = 64 * 1024  # bytes: a student's checkpoint takes more
LIMITED = (  # a child whose files cannot grow beyond that
    f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({ROOM}, {ROOM})); "
    "from engine.jobs import child; sys.exit(child.main(sys.argv[1:]))"
)


@pytest.fixture
def run(installation, client, tiny_request, tiny_cohort, tiny_run) -> RunFolder:
    """A queued run of which all but the student is done."""
    run = RunFolder(installation.runs / client.submit(SYSTEM, tiny_request))
    shutil.copytree(tiny_run, run.path, dirs_exist_ok=True)
    shutil.rmtree(run.path / "pair")
    shutil.copytree(tiny_cohort, run.cohort)
    for stage in ("snapshot", "teacher", "hidden states", "evaluate"):
        run.finish(stage, {"seconds": 1.0})
    return run


@pytest.fixture
def full_by_limit(monkeypatch) -> Callable[[], None]:
    """Let no child write a file of some size; returns what ends that."""
    monkeypatch.setattr(worker, "CHILD", ("-c", LIMITED))
    return lambda: monkeypatch.setattr(worker, "CHILD", ("-m", "engine.jobs.child"))


@pytest.fixture
def full_disk(run):
    """Put the run on a small disk that is nearly full; returns what makes room."""
    moved = shutil.move(run.path, run.path.with_suffix(".elsewhere"))
    run.path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(run.path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        shutil.copytree(moved, run.path, dirs_exist_ok=True)
        ballast = run.path / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(run.path).free - ROOM))
        yield ballast.unlink
    finally:
        subprocess.run(["umount", "--lazy", str(run.path)], check=True)


@pytest.mark.parametrize("disk", ["full_disk", "full_by_limit"])
def test_a_full_disk_fails_the_run_with_a_reason_until_there_is_room(
    disk, request, installation, client, run, monkeypatch
):
    monkeypatch.setattr(worker, "POLL", 0.1)
    make_room = request.getfixturevalue(disk)
    before = Registry(installation).versions()
    with working(installation):
        failed = ended(client, run.run_id)
        assert (failed.status, failed.stage) == ("failed", "student")
        assert "the disk is full" in failed.reason
        assert not (run.path / "pair").exists()
        assert Registry(installation).versions() == before
        make_room()
        client.resume(SYSTEM, run.run_id)
        finished = ended(client, run.run_id)
    assert (finished.status, finished.reason) == ("finished", None)
    assert Registry(installation).verify(finished.version)
    assert Registry(installation).champion() == before[0]
    left = [path for path in Path(run.path).rglob("*") if "partial" in path.name]
    assert left == []
    Audit(installation.database, installation.audit_key).verify()


def test_a_marker_that_a_power_cut_left_empty_is_none(tmp_path):
    run = RunFolder(tmp_path)
    run.finish("teacher", {"seconds": 1.0})
    assert run.done("teacher") == {"seconds": 1.0}
    (tmp_path / "done" / "teacher.json").write_text("")
    assert run.done("teacher") is None
