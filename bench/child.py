"""Run a command in a process of its own and say what it cost."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from engine.errors import WorkbenchError

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process cost: seconds on the clock and on the processor, and its peak memory."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def run(*arguments: str | Path) -> Cost:
    """Run `python ARGUMENTS` to its end; its progress bars show, its output does not.

    The peak is the largest resident set of the child, or of a process it waited for; the kernel
    counts the parent's own at the moment of the fork as well, so nothing large may be held here.
    Raises WorkbenchError when the command fails; it has printed why.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    try:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        if process.returncode is None:  # stopped while waiting, as by Ctrl+C
            process.kill()
    seconds = time.perf_counter() - started
    if process.returncode:
        command = " ".join(map(str, arguments))
        raise WorkbenchError(f"`python {command}` failed; mend what it says above")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
