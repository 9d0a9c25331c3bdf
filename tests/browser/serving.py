"""The app, served to a browser as `make run` serves it."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 300_000  # milliseconds; the first start on a busy machine loads everything
IN_A_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium here; install Debian's `chromium`"),
]


def free_port() -> int:
    """Return a port of this machine that nobody uses yet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def served(
    cohort: Path, models: Path | str, data: Path, *options: str, port: int | None = None
) -> Iterator[str]:
    """Serve an installation for a while; gives the address once it answers."""
    port = port or free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py"]
    where = ["--server.port", str(port), "--server.address", "127.0.0.1"]
    server = subprocess.Popen(
        [*command, *where, *options],
        cwd=ROOT,
        env={
            **os.environ,
            "WORKBENCH_COHORT": str(cohort),
            "WORKBENCH_MODELS": str(models),
            "WORKBENCH_DATA": str(data),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        started = next((line for line in server.stdout if "URL:" in line), None)
        assert started, "the app did not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        try:
            server.communicate(timeout=30)
        except subprocess.TimeoutExpired:  # still loading the models, on a busy machine
            server.kill()
            server.communicate()
