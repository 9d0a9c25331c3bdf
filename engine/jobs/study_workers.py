"""Several parts of a study at once, each in a process of its own kind (`engine.jobs.study_worker`).

    failed = compute_all(order, parts, workers=2, done=lambda part: …, now=lambda names: …)

Processes are spawned: a forked torch can hang. Each has an executor to itself, so that when one
dies it is known which part it had, and the others go on.
"""

import multiprocessing
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import fields

from engine.errors import WorkbenchError
from engine.jobs import study_worker
from engine.jobs.study_parts import Part
from engine.jobs.study_plan import Setting


def order_of(setting: Setting) -> study_worker.Order:
    """Return a study as it is sent to a process."""
    names = [each.name for each in fields(Setting) if each.name not in ("cohort", "pair")]
    options = tuple((name, getattr(setting, name)) for name in names)
    return study_worker.Order(
        setting.cohort.folder, setting.pair.folder if setting.pair else None, options
    )


def compute_all(
    order: study_worker.Order,
    parts: Sequence[Part],
    workers: int,
    done: Callable[[Part], None],
    now: Callable[[list[str]], None],
) -> dict[str, str]:
    """Compute parts that do not wait for one another; returns part → why it failed, in a line.

    Args:
        done: called with each part that is now in the study's folder.
        now: called with the names of the parts in work, whenever they change.
    """
    context = multiprocessing.get_context("spawn")
    alive, held = context.Pipe(duplex=False)

    def hire() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, context, study_worker.prepare, (alive,))

    idle = [hire() for _ in range(min(workers, len(parts)))]
    waiting, working, failed = deque(parts), {}, {}
    try:
        while waiting or working:
            while waiting and idle:
                part, worker = waiting.popleft(), idle.pop()
                future = worker.submit(study_worker.compute, order, part.name, part.key)
                working[future] = (part, worker)
            now([part.name for part, _ in working.values()])
            for future in wait(working, return_when=FIRST_COMPLETED).done:
                part, worker = working.pop(future)
                error = future.exception()
                if error is None:
                    done(part)
                else:
                    failed[part.name] = _why(error)
                if isinstance(error, BrokenProcessPool):
                    worker.shutdown()
                    worker = hire()
                idle.append(worker)
    finally:
        if working:
            held.close()  # the processes end here and now, whatever they are at
        for worker in [*idle, *(worker for _, worker in working.values())]:
            worker.shutdown(cancel_futures=True)
        held.close()
        alive.close()
    return failed


def _why(error: BaseException) -> str:
    if isinstance(error, BrokenProcessPool):
        return "its process died, perhaps for want of memory: use fewer --workers"
    if isinstance(error, WorkbenchError):
        return str(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
