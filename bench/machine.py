"""Where a figure was measured: processor, cores, memory, versions, revision, date. No host name."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import engine

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("duckdb", "pyarrow", "sqlite-utils")


def facts() -> dict:
    """Return what stands beside every figure: `date`, `revision`, `machine` and `versions`."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "revision": _revision(),
        "machine": {
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "load_average_at_start": round(os.getloadavg()[0], 1),  # busy cores, last minute
            "system": f"{platform.system()} {platform.release()}",
        },
        "versions": {
            "workbench": engine.__version__,
            "python": platform.python_version(),
            **{package: version(package) for package in PACKAGES},
        },
    }


def as_text(facts: dict) -> str:
    """Return the facts as one line for the terminal."""
    machine, versions = facts["machine"], facts["versions"]
    return (
        f"{machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_bytes'] / 2**30:.0f} GB; load {machine['load_average_at_start']} at the "
        f"start; Python {versions['python']}, DuckDB {versions['duckdb']}; "
        f"revision {facts['revision']}; {facts['date']}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(named), platform.processor() or platform.machine())


def _revision() -> str:
    """Return the commit the figures belong to; `+` when files were changed since."""
    try:
        commit, changed = (
            subprocess.run(
                ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "-uno"))
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+" if changed else "")
