"""How long a clinician waits: for the first page, for the student's answer, for the teacher's.

    python -m bench app [COHORT] [--patients 20] [--json FILE]

The app is started and driven in Debian's Chromium, twice: as it is, and in a plain way that loads
the models before the first page and draws a patient when both have answered (`bench.app_server`).
Both have a data folder of their own, so the first page, which is the list of patients, includes
making the demonstration accounts, signing in with one and building the patient index. Times are
taken in the browser, from the press of the mouse on a patient's row to the frame in which that
model's numbers and bars are on the page; browser and app share this machine's cores.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
from tqdm import tqdm

from bench import machine
from engine.credentials import DEMONSTRATION
from engine.errors import WorkbenchError
from engine.files import write_json

LIMITS = {"first_page": 15_000.0, "student": 300.0}  # milliseconds
WAYS = ("app", "plain")
FIGURES = {  # what is measured: title of its line, whether it is of one patient or of many
    "first_page": "start of the app to the first page",
    "first_student": "first patient at once: student's answer",
    "first_teacher": "first patient at once: teacher's answer",
    "student": "patient opened to student's answer",
    "teacher": "patient opened to teacher's answer",
}
MANY = ("student", "teacher")
CLINICIAN = "clinician"  # the demonstration account
CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VIEWPORT = {"width": 1280, "height": 1250}  # holds the whole table of patients
ROWS = 25  # of the table of patients
ROW_HEIGHT = 33  # pixels, its header included
PATIENCE = 300_000  # milliseconds
IDLE = '[data-testid="stApp"][data-test-script-state="notRunning"]'

# Looks at every frame from the press of the mouse on.
STOPWATCH = """() => {
  const marks = window.benchMarks = {};
  addEventListener('pointerdown', () => {
    const pressed = performance.now();
    const look = () => {
      const cards = [...document.querySelectorAll('.wb-cards .wb-card')];
      const chart = document.querySelector('.st-key-probabilities');
      const answered = name => cards.some(card =>
        card.textContent.startsWith(name) && card.textContent.includes('answered in'));
      const drawn = name => chart && chart.querySelector('.bars .point path')
        && chart.textContent.includes(name + ' threshold');
      for (const name of ['Student', 'Teacher']) {
        const key = name.toLowerCase();
        if (!(key in marks) && answered(name) && drawn(key))
          marks[key] = performance.now() - pressed;
      }
      if (!('student' in marks && 'teacher' in marks)) requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  }, {capture: true, once: true});
}"""


def measure(cohort: Path, models: Path | None, patients: int, chromium: str) -> dict:
    """Return the figures: of each of `WAYS`, their ratios and whether the limits are met."""
    from playwright.sync_api import Error, sync_playwright

    bar = tqdm(total=len(WAYS) * (patients + 1), unit="patient", disable=None)
    try:
        with sync_playwright() as playwright, bar:
            browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
            named = f"Chromium {browser.version}"
            ways = {way: _measure_way(browser, way, cohort, models, patients, bar) for way in WAYS}
            browser.close()
    except Error as error:
        reason = str(error).strip().splitlines()[0]
        raise WorkbenchError(f"the browser stopped the measurement ({reason})") from None
    return {"browser": named, "patients": patients, **summarised(ways)}


def summarised(ways: dict[str, dict]) -> dict:
    """Return milliseconds by way and figure, `ratios` of app to plain, and what limits are met.

    Args:
        ways: of each of `WAYS`, one number a figure, or a list of them for each of `MANY`.
    """
    figures = {
        way: {
            name: _spread(value) if name in MANY else {"ms": value}
            for name, value in measured.items()
        }
        for way, measured in ways.items()
    }
    ratios = {
        name: _typical(figures["app"][name]) / _typical(figures["plain"][name]) for name in FIGURES
    }
    met = {name: _typical(figures["app"][name]) <= limit for name, limit in LIMITS.items()}
    return {"ways": figures, "ratios": ratios, "limits_ms": LIMITS, "limits_met": met}


def as_text(figures: dict) -> str:
    """Return the figures as an aligned table."""
    ways, ratios = figures["ways"], figures["ratios"]
    lines = [f"{'milliseconds':<42}{'app':>9}{'p95':>9}{'plain':>9}{'p95':>9}{'app/plain':>11}"]
    for name, title in FIGURES.items():
        cells = "".join(
            f"{_typical(ways[way][name]):>9,.0f}{_tail(ways[way][name])}" for way in WAYS
        )
        lines.append(f"{title:<42}{cells}{ratios[name]:>11.2f}")
    lines.append("")
    lines.append(
        f"medians and 95th percentiles of {figures['patients']} patients, once the models are "
        f"loaded; in {figures['browser']}"
    )
    for name, limit in LIMITS.items():
        verdict = "met" if figures["limits_met"][name] else "NOT MET"
        lines.append(f"limit: {FIGURES[name]} within {limit:,.0f} ms: {verdict}")
    return "\n".join(lines)


# ---------------------------------------------------------------- in the browser


def _measure_way(browser, way: str, cohort: Path, models: Path | None, patients: int, bar) -> dict:
    bar.set_description(way)
    page = browser.new_page(viewport=VIEWPORT)
    page.set_default_timeout(PATIENCE)
    started = time.perf_counter()
    with served(way, cohort, models) as address:
        page.goto(address)
        _sign_in(page)
        _wait_for_patients(page)
        figures = {"first_page": (time.perf_counter() - started) * 1000}
        opened = []
        for row in range(patients + 1):
            opened.append(_open(page, row))
            bar.update()
            page.get_by_role("link", name="Patients").click()
            _wait_for_patients(page)
            page.locator(IDLE).wait_for()
        page.close()
    first, *others = opened
    figures |= {f"first_{model}": first[model] for model in MANY}
    return figures | {model: [marks[model] for marks in others] for model in MANY}


def _sign_in(page) -> None:
    page.get_by_label("Name", exact=True).fill(CLINICIAN)
    page.get_by_label("Password", exact=True).fill(DEMONSTRATION[CLINICIAN])
    page.get_by_role("button", name="Sign in", exact=True).click()


def _wait_for_patients(page) -> None:
    page.get_by_text("click one to open it").wait_for()
    page.locator('[data-testid="stDataFrame"] canvas').first.wait_for()


def _open(page, row: int) -> dict[str, float]:
    """Click a line of the table, which is drawn on a canvas; return when each answer was there."""
    page.evaluate(STOPWATCH)
    table = page.locator('[data-testid="stDataFrame"] canvas').first.bounding_box()
    page.mouse.click(table["x"] + 40, table["y"] + (row + 1.5) * ROW_HEIGHT)
    page.wait_for_function("'student' in benchMarks && 'teacher' in benchMarks")
    page.locator(IDLE).wait_for()
    return page.evaluate("benchMarks")


# ---------------------------------------------------------------- the server


@contextmanager
def served(way: str, cohort: Path, models: Path | None) -> Iterator[str]:
    """Serve the app for a while; yields its address as soon as it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "bench.app_server", str(port)]
    with tempfile.TemporaryDirectory(prefix="bench-app-") as scratch:
        log = Path(scratch) / "log"
        environment = {
            **os.environ,
            "WORKBENCH_COHORT": str(cohort),
            "WORKBENCH_MODELS": str(models or ""),
            "WORKBENCH_DATA": str(Path(scratch) / "data"),
        }
        with log.open("wb") as output:
            server = subprocess.Popen(
                command + ["--plain"] * (way == "plain"),
                cwd=machine.ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_until_it_answers(server, address, log)
            yield address
        finally:
            server.terminate()
            try:
                server.wait(timeout=20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait_until_it_answers(server: subprocess.Popen, address: str, log: Path) -> None:
    until = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < until:
        if server.poll() is not None:
            said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise WorkbenchError(f"the app did not start ({said[-1] if said else 'no reason'})")
        try:
            with urlopen(f"{address}/_stcore/health", timeout=1):
                return
        except (URLError, OSError):
            time.sleep(0.02)
    raise WorkbenchError(
        f"the app did not answer within {PATIENCE // 1000} s; is this machine busy?"
    )


# ---------------------------------------------------------------- figures


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "p50_ms": float(np.median(values)),
        "p95_ms": float(np.percentile(values, 95)),
        "max_ms": max(values),
    }


def _typical(figure: dict[str, float]) -> float:
    return figure["p50_ms"] if "p50_ms" in figure else figure["ms"]


def _tail(figure: dict[str, float]) -> str:
    return f"{figure['p95_ms']:>9,.0f}" if "p95_ms" in figure else f"{'':>9}"


# ---------------------------------------------------------------- the command


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command."""
    parser = subparsers.add_parser("app", help="time the app in a browser, as a clinician sees it")
    parser.add_argument(
        "cohort",
        type=Path,
        nargs="?",
        default=Path("data/sample"),
        metavar="COHORT",
        help="an ingested cohort folder; default: the sample",
    )
    parser.add_argument("--models", type=Path, metavar="DIR", help="pair folder; default: champion")
    parser.add_argument("--patients", type=int, default=20, metavar="N", help="opened in each way")
    parser.add_argument("--chromium", metavar="PATH", help="default: `chromium` on the path")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and write."""
    if not 1 <= arguments.patients < ROWS:
        raise WorkbenchError(f"--patients: expected 1 to {ROWS - 1}, the rows of the first page")
    if not (arguments.cohort / "manifest.json").is_file():
        raise WorkbenchError(
            f"{arguments.cohort}: no cohort there; name one, or make the sample with `make run`"
        )
    chromium = _chromium(arguments.chromium)
    facts = machine.facts()
    facts["versions"] |= {name: version(name) for name in ("streamlit", "torch", "playwright")}
    figures = measure(
        arguments.cohort.resolve(),
        arguments.models and arguments.models.resolve(),
        arguments.patients,
        chromium,
    )
    print(as_text(figures))
    print(machine.as_text(facts))
    if arguments.json:
        write_json(arguments.json, {"benchmark": "app", **facts, **figures})
    return 0


def _chromium(named: str | None) -> str:
    """Return the browser to drive; WorkbenchError where it or Playwright is missing."""
    try:
        import playwright  # noqa: F401
    except ImportError:
        raise WorkbenchError(
            "Playwright is not installed; run: .venv/bin/pip install -r requirements-dev.txt"
        ) from None
    found = shutil.which(named or "chromium")
    if not found:
        raise WorkbenchError(
            f"{named or 'chromium'}: no such browser; install Debian's `chromium`, "
            "or name one with --chromium PATH"
        )
    return found
