"""Several processes under `torchrun`: who is who, and what only the first of them does.

    torchrun --nproc-per-node 2 -m engine train teacher COHORT --recipe FILE --output DIR

`torchrun` names each process in the environment; without it there is one, which is the first.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed

from engine.errors import WorkbenchError

TIMEOUT = timedelta(hours=6)  # others wait this long while the first one runs the lower layers
Result = TypeVar("Result")


def processes() -> int:
    """Return how many processes train together."""
    return int(os.environ.get("WORLD_SIZE", 1))


def process() -> int:
    """Return the number of this process among them, from 0."""
    return int(os.environ.get("RANK", 0))


def is_first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return process() == 0


@contextmanager
def connected() -> Iterator[None]:
    """Let the processes talk: over NCCL on graphics cards, one card each, over gloo on processors.

    Raises WorkbenchError when a machine has fewer graphics cards than processes.
    """
    if processes() == 1 or distributed.is_initialized():
        yield
        return
    backend = "gloo"
    if torch.cuda.is_available():
        here, cards = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
        if here >= cards:
            raise WorkbenchError(
                f"torchrun: more processes than this machine's {cards} graphics cards; "
                f"start it with --nproc-per-node {cards}"
            )
        torch.cuda.set_device(here)
        backend = "cuda:nccl,cpu:gloo"
    distributed.init_process_group(backend, timeout=TIMEOUT)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def first_only(work: Callable[[], Result]) -> Result:
    """Do `work` in the first process; every process gets its result, or its error.

    Raises WorkbenchError in every process when it, or a file error, was raised in the first.
    """
    if not distributed.is_initialized():
        return work()
    answer: list = [None, None]  # result, what went wrong
    failure: Exception | None = None
    if is_first():
        try:
            answer[0] = work()
        except (WorkbenchError, OSError) as error:
            failure, answer[1] = error, str(error)
    distributed.broadcast_object_list(answer, src=0)
    if failure is not None:
        raise failure
    if answer[1] is not None:
        raise WorkbenchError(answer[1])
    return answer[0]
