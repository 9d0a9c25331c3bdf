"""How fast the student answers, each as a ratio to a plain way in the same run.

    python -m bench student [COHORT] [--models PAIR] [--visits 2000] [--json FILE]

One patient is timed from a `Visit` to calibrated probabilities, through the call that the app
makes; a batch is many visits in one such call. The plain way (`bench/plain_student.py`) has the
same weights and gives the same answers: the largest difference is in the figures.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from bench import machine, plain_student
from engine.errors import WorkbenchError
from engine.files import write_json
from engine.recommender import Recommender
from engine.records.cohort import Cohort
from engine.records.schema import Visit
from engine.registry import champion_folder
from engine.student.inference import predict
from engine.student.tensors import encode

COHORT = Path("data/sample")
ONE_BY_ONE = 300  # visits asked alone
PLAIN_ONE_BY_ONE, PLAIN_BATCH = 30, 16
WARM_UP = 5  # PyTorch's first calls are slow
TARGETS = {"median_ms": 1.5, "p99_ms": 5.0, "patients_per_second": 4_000}


def measure(recommender: Recommender, visits: Sequence[Visit]) -> dict:
    """Return the figures for a pair's student on the visits of a cohort."""
    calibration = recommender.pair.calibration["student"]

    def fast(some: Sequence[Visit]) -> np.ndarray:
        return recommender.student_probabilities(some)

    def plain(some: Sequence[Visit]) -> np.ndarray:
        return calibration.probability(plain_logits(recommender, some))

    one = _each(fast, visits[:ONE_BY_ONE], "one patient")
    plain_one = _each(plain, visits[:PLAIN_ONE_BY_ONE], "plain")
    seconds = min(_seconds(lambda: fast(visits)) for _ in range(2))
    few = visits[: 2 * PLAIN_BATCH]
    plain_seconds = _seconds(
        lambda: [plain(few[start:][:PLAIN_BATCH]) for start in range(0, len(few), PLAIN_BATCH)]
    )
    return {
        "version": recommender.versions["student"],
        "visits": len(visits),
        "one_patient": _spread(one),
        "batch": {"patients_per_second": len(visits) / seconds},
        "plain": {
            "codes": plain_student.CODES,
            "visits": plain_student.VISITS,
            "one_patient": _spread(plain_one),
            "batch": {"size": PLAIN_BATCH, "patients_per_second": len(few) / plain_seconds},
        },
        "ratios": {
            "one_patient": float(np.median(plain_one) / np.median(one)),
            "batch": len(visits) / seconds / (len(few) / plain_seconds),
        },
        "largest_difference": largest_difference(recommender, few),
        "targets": TARGETS,
        "met": {
            "median_ms": _spread(one)["median_ms"] <= TARGETS["median_ms"],
            "p99_ms": _spread(one)["p99_ms"] <= TARGETS["p99_ms"],
            "patients_per_second": len(visits) / seconds >= TARGETS["patients_per_second"],
        },
    }


def plain_logits(recommender: Recommender, visits: Sequence[Visit]) -> np.ndarray:
    """Return (visits, groups) logits of a pair's student, worked out the plain way."""
    recipe, vocabulary = recommender.pair.recipe, recommender.vocabulary
    student, groups = recommender.student, len(vocabulary.medications)
    reading = recipe.student.max_history, recipe.prompt.profile, student.categories
    encoded = [encode(visit, vocabulary, *reading) for visit in visits]
    with torch.inference_mode():
        return plain_student.answer(student, plain_student.padded(encoded, groups)).logits.numpy()


def largest_difference(recommender: Recommender, visits: Sequence[Visit]) -> float:
    """Return the largest absolute difference of a logit between the fast and the plain way."""
    recipe, vocabulary = recommender.pair.recipe, recommender.vocabulary
    fast = predict(recommender.student, visits, vocabulary, recipe)
    return float(np.abs(fast - plain_logits(recommender, visits)).max())


def as_text(figures: dict) -> str:
    """Return the table."""
    plain, ratios, met = figures["plain"], figures["ratios"], figures["met"]
    one, plain_one = figures["one_patient"], plain["one_patient"]
    rate, plain_rate = (part["batch"]["patients_per_second"] for part in (figures, plain))
    rows = [
        ("one patient, median", "ms", one["median_ms"], plain_one["median_ms"], "median_ms"),
        ("one patient, p99", "ms", one["p99_ms"], plain_one["p99_ms"], "p99_ms"),
        ("batch, patients a second", "", rate, plain_rate, "patients_per_second"),
    ]
    lines = [f"{'':<26}{'student':>12}{'plain':>12}{'times':>8}   target"]
    for name, unit, value, beside, target in rows:
        times = beside / value if unit else value / beside
        sign = "at most" if unit else "at least"
        lines.append(
            f"{name:<26}{_shown(value, unit):>12}{_shown(beside, unit):>12}{times:>7.0f}×   "
            f"{sign} {figures['targets'][target]:,} {unit}".rstrip()
            + ("" if met[target] else "  NOT MET")
        )
    lines.append(
        f"{figures['visits']:,} visits; plain: sets of {plain['codes']} codes, {plain['visits']} "
        f"visits a patient; largest difference of a logit {figures['largest_difference']:.0e}; "
        f"ratio of medians {ratios['one_patient']:.0f}"
    )
    return "\n".join(lines)


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command."""
    parser = subparsers.add_parser("student", help="time the student's answers")
    parser.add_argument("cohort", nargs="?", type=Path, default=COHORT, metavar="COHORT")
    parser.add_argument("--models", type=Path, metavar="PAIR", help="default: the champion")
    parser.add_argument("--visits", type=int, default=2000, metavar="N", help="of the batch")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and write."""
    if arguments.visits < 1:
        raise WorkbenchError(f"--visits: expected 1 or more, not {arguments.visits}")
    facts = machine.facts()
    facts["versions"]["torch"] = version("torch")
    recommender = Recommender.load(arguments.models or champion_folder())
    figures = measure(recommender, spread_visits(arguments.cohort, arguments.visits))
    print(f"{as_text(figures)}\n{machine.as_text(facts)}")
    if arguments.json:
        threads = {"threads": torch.get_num_threads()}
        write_json(arguments.json, {"benchmark": "student", **facts, **threads, **figures})
    return 0


def spread_visits(cohort: Path, most: int) -> list[Visit]:
    """Return at most so many labelled training visits, spread evenly over a cohort."""
    visits = Cohort.open(cohort).samples("train")
    if not visits:
        raise WorkbenchError(f"{cohort}: no labelled visits to time a student on; choose another")
    return visits[:: -(-len(visits) // most)]


def _each(ask: Callable[[Sequence[Visit]], object], visits: Sequence[Visit], what: str) -> list:
    """Return the seconds of each visit asked alone."""
    for visit in visits[:WARM_UP]:
        ask([visit])
    return [_seconds(lambda: ask([visit])) for visit in tqdm(visits, what, leave=False)]  # noqa: B023


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    return {
        "median_ms": float(np.median(seconds)) * 1000,
        "p99_ms": float(np.percentile(seconds, 99)) * 1000,
    }


def _shown(value: float, unit: str) -> str:
    return f"{value:,.2f} {unit}" if unit else f"{value:,.0f}"
