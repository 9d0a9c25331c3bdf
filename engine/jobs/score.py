"""Score every visit of a cohort into one Parquet file: the models' probabilities, in bulk.

    python -m engine score COHORT --output FILE.parquet

Shards of the cohort are scored here, in processes of this machine, or over Ray, and written as
they arrive: memory does not grow with the cohort, and the file is the same whoever scored. What
is in it, `score_file` says.
"""

import multiprocessing
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow
import pyarrow.parquet
from tqdm import tqdm

from engine.errors import WorkbenchError
from engine.jobs import score_ray
from engine.jobs.score_file import columns, facts, whole_file, write
from engine.jobs.score_shards import EVERY_SPLIT, PATIENTS, Order, ShardScorer
from engine.jobs.study_worker import prepare
from engine.records.cohort import Cohort
from engine.registry.pair import Pair, open_pair


@dataclass(frozen=True)
class Scored:
    """What was written."""

    visits: int
    patients: int
    facts: dict[str, str]


def score(
    cohort: Cohort,
    models_folder: Path,
    output: Path,
    models: Sequence[str] = ("student",),
    split: str = EVERY_SPLIT,
    ray: str | None = None,
    workers: int | None = None,
    shard_patients: int | None = None,
) -> Scored:
    """Write the probabilities of every visit of a split; an existing file is replaced once whole.

    Args:
        models: "student", "teacher" or both, in the order of the columns.
        split: "train", "validation", "test" or "all".
        ray: address of a Ray cluster, see `score_ray.tables`; None: this machine alone.
        workers: processes of one core each; None: one here, over Ray as many as have room.
        shard_patients: patients scored at a time; None: as `score_shards.PATIENTS`. Another
            number may change the last bit of a probability.

    Raises:
        WorkbenchError: cohort, pair, output or cluster cannot be used; nothing is written then.
    """
    pair = open_pair(models_folder)
    _check_place(output, cohort, pair)
    order = Order(
        cohort.folder.resolve(),
        cohort.fingerprint,
        pair.folder.resolve(),
        tuple(pair.versions[model] for model in models),
        tuple(models),
        split,
        shard_patients or min(PATIENTS[model] for model in models),
    )
    shards = order.shards(cohort)
    stated = facts(cohort, pair, models, split)
    schema = columns(pair.vocabulary.medications, models).with_metadata(stated)
    patients = sum(len(shard) for shard in shards)
    with (
        whole_file(output) as building,
        tqdm(total=patients, desc="score", unit=" patients") as bar,
    ):
        tables = _with_progress(_tables(order, len(shards), ray, workers), shards, bar)
        visits = write(tables, schema, building)
        _check_complete(cohort, split, visits)
    return Scored(visits, patients, stated)


def _tables(
    order: Order, shards: int, ray: str | None, workers: int | None
) -> Iterator[pyarrow.Table]:
    """Yield the table of each shard, in order, from whoever scores them."""
    if not shards:
        return
    if ray is not None:
        yield from score_ray.tables(order, shards, ray, workers)
    elif workers in (None, 1):
        yield from map(ShardScorer(order).table, range(shards))
    else:
        yield from _from_processes(order, shards, min(workers, shards))


def _from_processes(order: Order, shards: int, workers: int) -> Iterator[pyarrow.Table]:
    context = multiprocessing.get_context("spawn")  # a forked torch can hang
    alive, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, prepare, (alive,))
    waiting = deque()
    try:
        for number in range(shards):
            waiting.append(pool.submit(_score_in_process, order, number))
            if len(waiting) > 2 * workers:  # a slow shard must not pile up those behind it
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise WorkbenchError(
            f"--workers {workers}: a worker process died, perhaps for want of memory; "
            "try again with fewer"
        ) from None
    finally:
        held.close()  # the processes end here and now, whatever they are at
        pool.shutdown(cancel_futures=True)
        alive.close()


def _score_in_process(order: Order, number: int) -> pyarrow.Table:
    return _scorer(order).table(number)


@lru_cache(maxsize=1)
def _scorer(order: Order) -> ShardScorer:
    return ShardScorer(order)


def _with_progress(
    tables: Iterator[pyarrow.Table], shards: Sequence[Sequence[str]], bar: tqdm
) -> Iterator[pyarrow.Table]:
    for shard, table in zip(shards, tables, strict=True):
        bar.update(len(shard))
        yield table


def _check_place(output: Path, cohort: Cohort, pair: Pair) -> None:
    if output.is_dir():
        raise WorkbenchError(f"{output}: is a folder; name a file such as scores.parquet")
    for folder in (cohort.folder, pair.folder):
        if output.resolve().is_relative_to(folder.resolve()):
            raise WorkbenchError(
                f"{output}: would lie among the files of {folder}; name a file in another folder"
            )


def _check_complete(cohort: Cohort, split: str, visits: int) -> None:
    """Compare with the number of visits on file: no row may be lost on the way."""
    path = cohort.folder / "visits.parquet"
    expected = pyarrow.parquet.read_metadata(path).num_rows
    if split == EVERY_SPLIT and visits != expected:
        raise WorkbenchError(
            f"{path}: has {expected:,} visits, but {visits:,} of the patients of splits.json; "
            "ingest the cohort again"
        )
