"""Shards scored over Ray Data: an existing cluster, or one started for the occasion.

Workers read cohort and pair by their paths, which every machine must see, and are sent nothing
but the numbers of shards. A worker that dies is started again and its shard given out anew.
"""

import logging
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow

from engine.errors import WorkbenchError
from engine.jobs.score_shards import Order, ShardScorer

INSTALL = ".venv/bin/pip install -r requirements-ray.txt"
LOCAL = "local"  # Ray's own word for a cluster that lives as long as this process
LOCAL_WORKERS = 2
TOKEN = "start one with `ray start --head`; where one asks for a token, set RAY_AUTH_MODE=token"
RETRIES = 3  # of a shard whose worker died; one that kills every worker must not go round for ever


def tables(order: Order, shards: int, address: str, workers: int | None) -> Iterator[pyarrow.Table]:
    """Yield the table of each shard, in order.

    Args:
        address: `local`, `auto`, or HOST:PORT of a cluster that this machine belongs to.
        workers: actors of one core each, with a GPU each where a teacher is asked and the cluster
            has any; None: as many as the cluster has room for.

    Raises WorkbenchError when Ray is missing, the cluster is out of reach, or a worker fails.
    """
    with _cluster(address, workers) as ray:
        gpus = int(ray.cluster_resources().get("GPU", 0)) if "teacher" in order.models else 0
        room = gpus or int(ray.cluster_resources().get("CPU", 1))
        context = ray.data.DataContext.get_current().copy()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False  # the command has its own
        context.print_on_execution_start = False
        with ray.data.DataContext.current(context), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # no other way yet to limit retries
            # Items, not a range: reading a range needs a core, and the workers hold them all.
            numbers = [{"shard": number} for number in range(shards)]
            results = ray.data.from_items(numbers, override_num_blocks=shards).map_batches(
                RayWorker,
                fn_constructor_args=(order, Path.cwd()),
                batch_size=1,
                num_cpus=1,
                num_gpus=1 if gpus else 0,
                concurrency=max(1, min(workers or room, room, shards)),
                max_restarts=-1,
                max_task_retries=RETRIES,
            )
        try:
            for row in results.iter_rows():
                if row["error"]:
                    raise WorkbenchError(row["error"])
                yield pyarrow.ipc.open_stream(row["table"]).read_all()
        except (
            ray.exceptions.RayError,
            ray.data.exceptions.SystemException,
            ray.data.exceptions.ExecutionTimeoutError,
        ) as error:
            raise WorkbenchError(f"--ray {address}: {_reason(ray, error)}") from error


def _reason(ray, error: Exception) -> str:
    """Return why Ray gave up, in a line; the text of a fault in our own code may hold records."""
    if isinstance(error, ray.exceptions.RayTaskError | ray.exceptions.UserCodeException):
        return "a worker met a fault of the program; the logs of Ray say where"
    said = " ".join(str(error).split())[:300]
    return f"a worker was lost and could not be replaced ({said}); see the logs of Ray"


class RayWorker:
    """A worker's process: opens the models when its first shard arrives."""

    def __init__(self, order: Order, folder: Path) -> None:
        self.order, self.folder = order, folder
        self.scorer: ShardScorer | None = None

    def __call__(self, batch: dict) -> dict:
        """Score the one shard of a batch; what the user can mend is returned, not raised.

        Ray would print whatever is raised with all its frames, once on every machine.
        """
        try:
            answer, error = self._table(int(batch["shard"][0])), ""
        except WorkbenchError as mendable:
            answer, error = b"", str(mendable)
        return {"table": [answer], "error": [error]}

    def _table(self, number: int) -> bytes:
        if self.scorer is None:
            if not self.folder.is_dir():
                raise WorkbenchError(
                    f"{self.folder}: a worker does not see the project's folder; "
                    "let every machine see it under this path"
                )
            os.chdir(self.folder)  # a recipe may name its base model from here
            self.scorer = ShardScorer(self.order)
        table = self.scorer.table(number)
        sink = pyarrow.BufferOutputStream()
        with pyarrow.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        return sink.getvalue().to_pybytes()


@contextmanager
def _cluster(address: str, workers: int | None) -> Iterator:
    """Connect to Ray, or start it, and leave it as it was found."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves the hospital
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what it reports is not for users
    try:
        import ray
        import ray.data.exceptions
    except ImportError:
        raise WorkbenchError(f"--ray: Ray is not installed; run: {INSTALL}") from None
    if "://" in address:
        raise WorkbenchError(
            f"--ray {address}: start the command on a machine of the cluster, with --ray auto or "
            "--ray HOST:PORT"
        )
    _check_reachable(address)
    settings = {"num_cpus": workers or LOCAL_WORKERS, "include_dashboard": False}
    running = ray.is_initialized()
    try:
        if not running:
            ray.init(
                address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **(settings if address == LOCAL else {}),
            )
    except Exception as error:  # of whatever kind: Ray also raises the bare one
        reason = str(error).strip().split("\n")[0][:160]
        mend = "try again" if address == LOCAL else TOKEN
        raise WorkbenchError(f"--ray {address}: no cluster ({reason}); {mend}") from error
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors are told in one line here
    try:
        yield ray
    finally:
        if not running:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Knock at HOST:PORT first: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError, OverflowError) as error:
        raise WorkbenchError(
            f"--ray {address}: nothing answers there ({error}); name the HOST:PORT that "
            "`ray start --head` printed, or use --ray local"
        ) from error
