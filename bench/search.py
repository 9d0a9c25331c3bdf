"""How fast the app finds a patient: the index is built, then searched; a cohort is opened and read.

    python -m bench search COHORT [--json FILE]

The index is written to a temporary folder. Every search is asked `REPEATS` times through the same
call as the page of patients makes; the first time, which finds nothing warm, counts as well.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from app import patient_terms
from bench import machine
from engine.files import write_json
from engine.patient_index import PatientIndex
from engine.records.cohort import Cohort

LIMIT_MS = 100.0
REPEATS = 7
OPENED_PATIENTS = 25  # spread over the cohort
PAGE_SIZE = 25
SEARCHES: dict[str, dict] = {
    "everybody": {},
    "everybody, page 40": {"page": 40},
    "everybody, latest first": {"order": "last admission"},
    "one letter: a": {"text": "a"},
    "two letters: di": {"text": "di"},
    "heart failure": {"text": "heart failure"},
    "hypertension": {"text": "hypertension"},
    "code I50.21": {"text": "I50.21"},
    "code start E11": {"text": "E11"},
    "drug furosemide": {"text": "furosemide"},
    "drug start hepar": {"text": "hepar"},
    "heart failure, furosemide": {"text": "heart failure, furosemide"},
    "three things": {"text": "diabetes, insulin, kidney"},
    "words of no one name": {"text": "diabetes warfarin"},
    "not there: zzyzx": {"text": "zzyzx"},
    "women of 70-80, latest first": {
        "age_range": (70, 80),
        "sex": "F",
        "order": "last admission",
    },
    "returning, by visits": {"visit_kind": "returning", "order": "visits"},
    "pneumonia, test split, by age": {"text": "pneumonia", "split": "test", "order": "age"},
    "sodium, latest first, page 10": {"text": "sodium", "order": "last admission", "page": 10},
}


def measure(folder: Path) -> dict:
    """Return the figures of one cohort: `build`, `searches` (one each), `search`, `cohort`."""
    cohort, opening = _timed(lambda: Cohort.open(folder))
    ids = cohort.patient_ids()
    chosen = ids[:: max(1, len(ids) // OPENED_PATIENTS)][:OPENED_PATIENTS]
    visits = [_timed(lambda one=one: cohort.visits(one))[1] for one in chosen]
    with tempfile.TemporaryDirectory(prefix="bench-index-") as scratch:
        index = PatientIndex(Path(scratch) / "workbench.sqlite", cohort.fingerprint)
        with tqdm(total=len(ids), desc="indexing", unit=" patients", disable=None) as bar:
            _, building = _timed(lambda: _build(index, cohort, bar))
        size = sum(file.stat().st_size for file in Path(scratch).iterdir())
        asked = SEARCHES | {"patient id": {"text": ids[len(ids) // 2]}, "id start": {"text": "100"}}
        searches = {name: _search(index, conditions) for name, conditions in asked.items()}
        facets = [_timed(index.facets)[1] for _ in range(REPEATS)]
    every = [value for figures in searches.values() for value in figures.pop("every")]
    return {
        "patients": len(ids),
        "build": {"seconds": building, "index_bytes": size, "peak_bytes": _peak()},
        "searches": searches,
        "search": _spread(every),
        "facets": _spread(facets),
        "cohort": {"open_ms": opening * 1000, "visits": _spread(visits)},
        "limit_ms": LIMIT_MS,
        "limit_met": max(every) * 1000 <= LIMIT_MS,
    }


def as_text(figures: dict) -> str:
    """Return the figures as an aligned table."""
    build, cohort = figures["build"], figures["cohort"]
    lines = [
        f"{'search':<34}{'found':>10}{'p50 ms':>10}{'max ms':>10}",
        *(
            f"{name:<34}{one['found']:>10,}{one['p50_ms']:>10.1f}{one['max_ms']:>10.1f}"
            for name, one in figures["searches"].items()
        ),
        f"{'all searches':<34}{'':>10}{figures['search']['p50_ms']:>10.1f}"
        f"{figures['search']['max_ms']:>10.1f}",
        f"{'filters of the page':<34}{'':>10}{figures['facets']['p50_ms']:>10.1f}"
        f"{figures['facets']['max_ms']:>10.1f}",
        f"{'visits of one patient':<34}{'':>10}{cohort['visits']['p50_ms']:>10.1f}"
        f"{cohort['visits']['max_ms']:>10.1f}",
        f"{'opening the cohort':<34}{'':>20}{cohort['open_ms']:>10.1f}",
        "",
        f"index of {figures['patients']:,} patients: built in {build['seconds']:.1f} s, "
        f"{build['index_bytes'] / 1e6:,.0f} MB on disk, peak memory "
        f"{build['peak_bytes'] / 1e9:.2f} GB",
        f"limit: every search under {figures['limit_ms']:.0f} ms: "
        + ("met" if figures["limit_met"] else "NOT MET"),
    ]
    return "\n".join(lines)


def _build(index: PatientIndex, cohort: Cohort, bar: tqdm) -> None:
    index.build(patient_terms.rows(cohort), lambda done: bar.update(done - bar.n))


def _search(index: PatientIndex, conditions: dict) -> dict:
    timings = []
    for _ in range(REPEATS):
        (_, found), seconds = _timed(lambda: index.search(page_size=PAGE_SIZE, **conditions))
        timings.append(seconds)
    return {"found": found, **_spread(timings), "every": timings}


def _timed(call: Callable) -> tuple:
    started = time.perf_counter()
    result = call()
    return result, time.perf_counter() - started


def _spread(seconds: list[float]) -> dict[str, float]:
    return {"p50_ms": statistics.median(seconds) * 1000, "max_ms": max(seconds) * 1000}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command."""
    parser = subparsers.add_parser("search", help="time the patient search on a cohort")
    parser.add_argument("cohort", type=Path, metavar="COHORT", help="an ingested cohort folder")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and write."""
    facts = machine.facts()
    figures = measure(arguments.cohort)
    print(as_text(figures))
    print(machine.as_text(facts))
    if arguments.json:
        write_json(arguments.json, {"benchmark": "search", **facts, **figures})
    return 0
