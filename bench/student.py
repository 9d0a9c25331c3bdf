"""How fast the student answers, each as a ratio to a plain way in the same run.

    python -m bench student [COHORT] [--models PAIR] [--visits 2000]
                            [--threads 1] [--json FILE]

One patient is timed from a `Visit` to calibrated probabilities, through the call that the app
makes; a batch is many visits in one such call. Beside the clock stands the processor's own time,
which says the same on a machine that is busy with something else. The plain way
(`bench/plain_student.py`) has the same weights and gives the same answers: the largest difference
is in the figures. One thread by default: with more, each of the many small steps of the plain way
waits for all of them, and on a busy machine it would lose by hundreds of times.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from bench import machine, plain_student
from engine.basis import basis, inputs_of
from engine.errors import WorkbenchError
from engine.files import write_json
from engine.recommender import Recommender
from engine.records.cohort import Cohort
from engine.records.schema import Visit
from engine.registry.pair import champion_folder
from engine.student.inference import predict
from engine.student.tensors import encode

COHORT = Path("data/sample")
ONE_BY_ONE = 300  # visits asked alone
PLAIN_EVERY, PLAIN_BATCH = 10, 16
WARM_UP = 5  # PyTorch's first calls are slow
TARGETS = {"median_ms": 1.5, "p99_ms": 5.0, "patients_per_second": 4_000}
LIMIT_BASIS = 150.0  # milliseconds, what a recommendation rests on, for the longest record too


def measure(recommender: Recommender, visits: Sequence[Visit]) -> dict:
    """Return the figures for a pair's student on the visits of a cohort."""
    calibration = recommender.pair.calibration["student"]

    def fast(some: Sequence[Visit]) -> np.ndarray:
        return recommender.student_probabilities(some)

    def plain(some: Sequence[Visit]) -> np.ndarray:
        return calibration.probability(plain_logits(recommender, some))

    few = visits[: 2 * PLAIN_BATCH]

    def plain_batches() -> None:
        for start in range(0, len(few), PLAIN_BATCH):
            plain(few[start : start + PLAIN_BATCH])

    for visit in visits[:WARM_UP]:
        fast([visit]), plain([visit])
    one, plain_one = [], []
    # The two ways take turns: a machine that is busy is busy for both.
    for number, visit in enumerate(tqdm(visits[:ONE_BY_ONE], "one patient", disable=None)):
        one.append(cost(partial(fast, [visit])))
        if number % PLAIN_EVERY == 0:
            plain_one.append(cost(partial(plain, [visit])))
    turns = [(cost(partial(fast, visits)), cost(plain_batches)) for _ in range(2)]
    batch, plain_batch = ([turn[way] for turn in turns] for way in (0, 1))
    figures = {"one_patient": _spread(one), "batch": rates(len(visits), batch)}
    beside = {"one_patient": _spread(plain_one), "batch": rates(len(few), plain_batch)}
    rests = [cost(partial(basis, visit, fast)) for visit in visits[:ONE_BY_ONE]]
    longest = max(visits, key=lambda visit: len(inputs_of(visit)))
    rests.append(cost(partial(basis, longest, fast)))
    met = {name: figures["one_patient"][name] <= TARGETS[name] for name in ("median_ms", "p99_ms")}
    rate = "patients_per_second"
    return {
        "version": recommender.versions["student"],
        "visits": len(visits),
        **figures,
        "basis": _spread(rests) | {"largest_inputs": len(inputs_of(longest))},
        "plain": {
            "codes": plain_student.CODES,
            "visits": plain_student.VISITS,
            "batch_size": PLAIN_BATCH,
            **beside,
        },
        "ratios": {
            "one_patient": beside["one_patient"]["median_ms"] / figures["one_patient"]["median_ms"],
            "batch": figures["batch"][rate] / beside["batch"][rate],
        },
        "largest_difference": largest_difference(recommender, few),
        "targets": TARGETS,
        "met": {
            **met,
            rate: figures["batch"][rate] >= TARGETS[rate],
            "basis": max(seconds for seconds, _ in rests) * 1000 <= LIMIT_BASIS,
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
    plain, met = figures["plain"], figures["met"]
    one, plain_one = figures["one_patient"], plain["one_patient"]
    many, plain_many = figures["batch"], plain["batch"]
    lines = [f"{'':<38}{'student':>10}{'plain':>10}{'times':>8}   target"]
    for name, key, target in (
        ("one patient, median ms", "median_ms", "at most 1.5"),
        ("one patient, p99 ms", "p99_ms", "at most 5"),
        ("one patient, median ms of processor", "processor_median_ms", ""),
    ):
        times = plain_one[key] / one[key]
        missed = "" if met.get(key, True) else "  NOT MET"
        lines.append(
            f"{name:<38}{one[key]:>10.2f}{plain_one[key]:>10.2f}{times:>7.0f}×   {target}{missed}"
        )
    for name, key, target in (
        ("batch, patients/s", "patients_per_second", "at least 4,000"),
        ("batch, patients/s of processor", "patients_per_processor_second", ""),
    ):
        times = many[key] / plain_many[key]
        missed = "" if met.get(key, True) else "  NOT MET"
        lines.append(
            f"{name:<38}{many[key]:>10,.0f}{plain_many[key]:>10,.0f}{times:>7.0f}×   "
            f"{target}{missed}"
        )
    rests = figures["basis"]
    for name, key in (("median", "median_ms"), ("p99", "p99_ms"), ("longest record", "max_ms")):
        lines.append(f"{f'what an answer rests on, {name} ms':<38}{rests[key]:>10.1f}")
    lines[-1] += f"{'':>20}at most {LIMIT_BASIS:.0f}" + ("" if met["basis"] else "  NOT MET")
    lines.append(
        f"{figures['visits']:,} visits; plain: sets of {plain['codes']} codes, {plain['visits']} "
        f"visits a patient, batches of {plain['batch_size']}; largest difference of a logit "
        f"{figures['largest_difference']:.0e}"
    )
    return "\n".join(line.rstrip() for line in lines)


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command."""
    parser = subparsers.add_parser("student", help="time the student's answers")
    parser.add_argument("cohort", nargs="?", type=Path, default=COHORT, metavar="COHORT")
    parser.add_argument("--models", type=Path, metavar="PAIR", help="default: the champion")
    parser.add_argument("--visits", type=int, default=2000, metavar="N", help="of the batch")
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="of PyTorch (default 1)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and write."""
    if arguments.visits < 1:
        raise WorkbenchError(f"--visits: expected 1 or more, not {arguments.visits}")
    if arguments.threads < 1:
        raise WorkbenchError(f"--threads: expected 1 or more, not {arguments.threads}")
    facts = machine.facts()
    facts["versions"]["torch"] = version("torch")
    recommender = Recommender.load(arguments.models or champion_folder())
    visits = spread_visits(arguments.cohort, arguments.visits)
    with threads(arguments.threads):
        figures = measure(recommender, visits)
    print(f"{as_text(figures)}\nthreads: {arguments.threads}; {machine.as_text(facts)}")
    if arguments.json:
        settings = {"threads": arguments.threads}
        write_json(arguments.json, {"benchmark": "student", **facts, **settings, **figures})
    return 0


def spread_visits(cohort: Path, most: int) -> list[Visit]:
    """Return at most so many labelled training visits, spread evenly over a cohort."""
    visits = Cohort.open(cohort).samples("train")
    if not visits:
        raise WorkbenchError(f"{cohort}: no labelled visits to time a student on; choose another")
    return visits[:: -(-len(visits) // most)]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let PyTorch use so many threads, and then as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def cost(call: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of a call, on the clock and on the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - clock, time.process_time() - processor


def rates(visits: int, costs: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Return the best rates of some calls, each over so many visits."""
    seconds, processor = map(min, zip(*costs, strict=True))
    return {
        "patients_per_second": visits / seconds,
        "patients_per_processor_second": visits / processor,
    }


def _spread(costs: Sequence[tuple[float, float]]) -> dict[str, float]:
    seconds, processor = np.array(costs).T * 1000
    return {
        "median_ms": float(np.median(seconds)),
        "p99_ms": float(np.percentile(seconds, 99)),
        "max_ms": float(seconds.max()),
        "processor_median_ms": float(np.median(processor)),
    }
