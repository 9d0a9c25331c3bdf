"""`python -m app [--port 8501] [--address localhost]`: the app, and a retraining worker beside it.

The worker ends with the app, however the app ends; a run it was at goes on when both are back.
"""

import argparse
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from app import opening

PROJECT = Path(__file__).resolve().parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the worker, then become the app; returns only what keeps both from starting."""
    parser = argparse.ArgumentParser(prog="python -m app", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument("--address", default="localhost", help="who can reach it: see the README")
    parsed = parser.parse_args(arguments)
    try:
        socket.create_server((parsed.address, parsed.port)).close()
    except (OSError, OverflowError) as error:
        print(
            f"error: port {parsed.port} of {parsed.address} cannot be used ({_why(error)}); "
            "choose another: make run PORT=8600",
            file=sys.stderr,
        )
        return 2
    os.chdir(PROJECT)
    if opening.main([parsed.address]):  # others reach it, and there is no account but known ones
        return 2
    worker = ["-m", "engine", "worker", "--beside", str(os.getpid())]
    subprocess.Popen([sys.executable, *worker], stdin=subprocess.DEVNULL)
    app = ["-m", "streamlit", "run", "app/main.py"]
    where = ["--server.port", str(parsed.port), "--server.address", parsed.address]
    # Replaced, this process stays the worker's parent, with whom the worker ends.
    return os.execv(sys.executable, [sys.executable, *app, *where])


def _why(error: OSError | OverflowError) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number) if number and number > 0 else str(error)


if __name__ == "__main__":
    sys.exit(main())
