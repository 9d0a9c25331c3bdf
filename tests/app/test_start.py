"""`python -m app`: the app with a worker beside it, which ends with it."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from app import __main__ as start
from engine.installation import Installation
from engine.jobs import presence
from tests.jobs.worker_process import PATIENCE, until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def installation(tmp_path, monkeypatch) -> Installation:
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    return Installation.current()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_worker_starts_and_ends_with_the_app(installation, how):
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "app", "--port", str(port)]
    app = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        until(lambda: presence.living(installation))
        app.send_signal(how)
        app.wait(PATIENCE)
        until(lambda: not presence.living(installation))
        assert app.returncode is not None
    finally:
        if app.poll() is None:
            os.killpg(app.pid, signal.SIGKILL)


def test_a_port_that_is_taken_starts_neither(installation, capsys):
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        assert start.main(["--port", str(port)]) == 2
    assert f"port {port}" in capsys.readouterr().err
    assert presence.living(installation) == []
