"""What one process of a study with `--workers` does: open the study, compute the parts it is told.

Only what is light is imported above: `prepare` has to speak before torch and tqdm are loaded.
"""

import os
import signal
import threading
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path


@dataclass(frozen=True)
class Order:
    """A study as it is sent to a process: names of folders in place of what they hold."""

    cohort: Path
    pair: Path | None
    options: tuple[tuple[str, object], ...]  # the other fields of its Setting


def prepare(alive: Connection) -> None:
    """Make this process a worker: one thread, no bars, and no life of its own.

    It ends with the study, however that ends: Ctrl+C is the parent's, and when the other end of
    `alive` closes (also by SIGKILL of the parent), this process stops at once.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ |= {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"}

    def end_with_parent() -> None:
        alive.poll(None)  # nothing is ever sent: this returns when the other end is closed
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def compute(order: Order, name: str, key: str) -> None:
    """Compute a part and keep it in the study's folder; nothing large is sent back."""
    import torch

    from engine.errors import WorkbenchError

    torch.set_num_threads(1)
    parts, known = _opened(order)
    if known[name].key != key:
        raise WorkbenchError(
            f"{order.cohort}: the cohort or the pair has changed since the study began; "
            "start the same command again"
        )
    parts.get(known[name])


@cache
def _opened(order: Order) -> tuple:
    """Return the folder of the parts, and every part of the study by name."""
    from engine.jobs.study_models import Workshop
    from engine.jobs.study_parts import Parts
    from engine.jobs.study_plan import Setting
    from engine.jobs.study_questions import make_plan
    from engine.records.cohort import Cohort
    from engine.registry.pair import open_pair

    cohort, pair = Cohort.open(order.cohort), order.pair and open_pair(order.pair)
    setting = Setting(cohort=cohort, pair=pair, **dict(order.options))
    parts = Parts(setting.output)
    workshop = Workshop(cohort, setting.recipe, parts, setting.output, pair)
    return parts, make_plan(setting, workshop).parts()
