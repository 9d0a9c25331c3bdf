"""Workers that share the queue in a real PostgreSQL and a folder, as on several machines."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.audit import Audit
from engine.installation import Installation
from engine.jobs import child
from engine.jobs.client import Client
from engine.jobs.retraining import STAGES, RunFolder
from engine.permissions import SYSTEM
from engine.registry.versions import Registry
from tests.jobs.worker_process import WorkerProcess, ended, until

UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root


def programs() -> Path | None:
    """Return where Debian's packages put initdb and pg_ctl, which are not on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A PostgreSQL server for these tests alone; the URL of a database that is not there yet."""
    bin_folder = programs()
    if bin_folder is None:
        pytest.skip("no PostgreSQL here; on Debian: apt-get install postgresql")
    user = UNPRIVILEGED if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="workbench-postgres-"))
    if user:
        shutil.chown(folder, user)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def run(program: str, *arguments: str) -> None:
        command = [bin_folder / program, "-D", folder / "data", *arguments]
        done = subprocess.run(
            command, user=user, cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    run("initdb", "-A", "trust", "-U", "tester", "--no-sync", "-E", "UTF8")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql://tester@127.0.0.1:{port}/jobs"
    finally:
        run("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def installation(tmp_path, postgres, monkeypatch) -> Installation:
    monkeypatch.setenv("WORKBENCH_JOBS_URL", postgres)
    return Installation(tmp_path / "data")


def begun(installation) -> list[list[str]]:
    """Run, stage and worker of every child, in order; a stage's name may have two words."""
    file = installation.folder / "begun.txt"
    lines = file.read_text().splitlines() if file.exists() else []
    return [[line.split()[0], " ".join(line.split()[1:-1]), line.split()[-1]] for line in lines]


def test_two_workers_share_the_queue_and_one_takes_over_from_the_other(
    installation, client, tiny_request, order
):
    order("teacher", "hold")
    runs = [client.submit(SYSTEM, tiny_request) for _ in range(2)]
    one, two = WorkerProcess(installation, "one"), WorkerProcess(installation, "two")
    with two:
        until(lambda: sum(stage == "teacher" for _, stage, _ in begun(installation)) == 2)
        doing = {worker: run for run, stage, worker in begun(installation) if stage == "teacher"}
        assert set(doing) == {"one", "two"}
        assert set(doing.values()) == set(runs)
        assert {worker.name for worker in client.workers()} == {"one", "two"}
        one.kill()
        order("teacher", None)
        finished = [ended(client, run) for run in runs]
    assert [(run.status, run.worker) for run in finished] == [("finished", "two")] * 2
    for run in runs:
        stages = [stage for name, stage, _ in begun(installation) if name == run]
        again = ["teacher"] if run == doing["one"] else []
        assert sorted(stages) == sorted([*STAGES, *again])
    Audit(installation.database, installation.audit_key).verify()


def test_what_a_worker_elsewhere_deposits_becomes_a_candidate(
    installation, client, tiny_request, tiny_pair, monkeypatch
):
    monkeypatch.setenv("WORKBENCH_DATA", str(installation.folder))
    run = RunFolder(installation.runs / client.submit(SYSTEM, tiny_request))
    champion = Registry(installation).champion().version
    assert run.request()[1]["champion"] == champion
    shutil.copytree(tiny_pair, run.path / "pair")
    deposited = child.DO["register"](run, None)
    assert child.DO["register"](run, None) == deposited
    assert not (run.path / "pair").exists()
    Client(installation).runs()
    version = Registry(installation).version(deposited["version"])
    assert (version.status, version.run["run_id"]) == ("candidate", run.run_id)
    assert Registry(installation).champion().version == champion
