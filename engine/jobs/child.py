"""One stage of a run, in a process of its own: `python -m engine.jobs.child RUN_FOLDER STAGE`.

The worker starts it, and it ends with the worker. It works in its run folder; only `evaluate`
opens the champion beside it, and `register` hands the finished pair to the registry. What it
prints goes to the run's log, and names no patient.

Where the recipe asks for several processes, the teacher is trained by `torchrun`, which this
process turns into; each of its processes is this program again.
"""

import ctypes
import errno
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from engine.errors import WorkbenchError
from engine.files import read_json, whole_folder, write_json
from engine.installation import Installation
from engine.jobs.retraining import COMPARISON, PAIR, RunFolder, is_local
from engine.permissions import SYSTEM

PARENT = "RETRAINING_PARENT"  # process id, in the environment: whom this process may not outlive
DEVICE = "RETRAINING_DEVICE"
FAILED = 2  # exit code of a stage that failed with a reason
SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DISK_FULL_WORDS = ("no space left", "file too large", "disk quota", "file write failed")


def main(arguments: list[str]) -> int:
    """Do a stage; the last line printed says why it could not be done."""
    end_with(int(os.environ[PARENT]))
    run, stage = RunFolder(Path(arguments[0])), arguments[1]
    sys.excepthook = lambda _, error, __: _say(f"error: {_in_a_line(error, run)}")
    try:
        if stage == "teacher" and "RANK" not in os.environ:
            _become_torchrun(run, arguments)
        with run.locked() if _is_first() else nullcontext():
            if run.done(stage) is None:
                _do(run, stage)
    except WorkbenchError as error:
        print(f"error: {error}", flush=True)
        return FAILED
    return 0


def end_with(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """Let the kernel end this process when `parent` ends; end now if it has already ended.

    Linux alone knows this; elsewhere the process group is ended by whoever started it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, by, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the kernel was told
        os._exit(1)


def _do(run: RunFolder, stage: str) -> None:
    from engine.jobs.progress import Reporter

    start = time.monotonic()
    device = os.environ.get(DEVICE, "cpu")
    with Reporter(run.progress, stage, device) if _is_first() else nullcontext() as report:
        facts = DO[stage](run, report)
    if _is_first():
        run.finish(stage, {"seconds": round(time.monotonic() - start, 1), **(facts or {})})


def _snapshot(run: RunFolder, report: Callable) -> None:
    """Copy the cohort: what happens to the original meanwhile does not touch the run."""
    import shutil

    from engine.jobs import run_record
    from engine.records.cohort import FILES, Cohort

    request, known = run.request()
    cohort = Cohort.open(request.cohort)
    with whole_folder(run.cohort) as building:
        for name in (*FILES, "manifest.json"):
            shutil.copy(cohort.folder / name, building / name)
        if Cohort.open(building).fingerprint != known["fingerprint"]:
            raise WorkbenchError(
                f"{request.cohort}: has changed since the run was submitted; submit it again"
            )
    run_record.begin(run.path, Cohort.open(run.cohort), run.recipe())


def _teacher(run: RunFolder, report: Callable) -> None:
    from engine.jobs import pipeline
    from engine.records.cohort import Cohort

    if not (run.path / "teacher").is_dir():  # else it was killed just before it could say so
        pipeline.train_teacher(Cohort.open(run.cohort), run.recipe(), run.path, True, _say, report)


def _hidden_states(run: RunFolder, report: Callable) -> None:
    from engine.jobs import pipeline
    from engine.records.cohort import Cohort

    if not (run.path / "hidden_states").is_dir():
        pipeline.cache_hidden_states(Cohort.open(run.cohort), run.recipe(), run.path, _say, report)


def _student(run: RunFolder, report: Callable) -> None:
    from engine.jobs import pipeline
    from engine.records.cohort import Cohort

    if not (run.path / PAIR).is_dir():
        pipeline.train_student(Cohort.open(run.cohort), run.recipe(), run.path, _say, True, report)


def _evaluate(run: RunFolder, report: Callable) -> None:
    """Measure the pair on the test split, and beside the champion."""
    from engine.jobs.compare import compare_pairs
    from engine.jobs.evaluate import evaluate, keep_in_card
    from engine.records.cohort import Cohort

    cohort, pair = Cohort.open(run.cohort), run.path / PAIR
    measured = evaluate(cohort, pair)
    measured["settings"]["command"] = f"retraining run {run.run_id}"
    keep_in_card(pair, "test split", measured)
    try:
        comparison = compare_pairs(cohort, pair, _champion(run), _say)
    except WorkbenchError as error:  # a champion that is damaged must not stand in the way
        _say(f"evaluate: not compared with the champion: {error}")
    else:
        write_json(run.path / COMPARISON, comparison)


def _champion(run: RunFolder) -> Path:
    """Return the folder of the champion: of now, or for a worker elsewhere of the submission."""
    from engine.registry.versions import Registry

    installation = Installation.current()
    registry = Registry(installation)
    if is_local(installation):
        return registry.champion_folder()
    champion = run.request()[1]["champion"]
    if champion is None:
        raise WorkbenchError("there was none when the run was submitted")
    return registry.folder(champion)


def _register(run: RunFolder, report: Callable) -> dict:
    """Make the pair a candidate; then the run's copies of the records are not needed any more."""
    from engine.registry.versions import Registry

    registered = run.path / "registered.json"
    if not registered.exists():
        installation = Installation.current()
        registry, pair = Registry(installation), run.path / PAIR
        facts = {"run_id": run.run_id, "requested_by": run.request()[0].requested_by}
        if (run.path / COMPARISON).exists():
            facts["comparison"] = read_json(run.path / COMPARISON, "resume the run")
        if is_local(installation):
            version = registry.register(SYSTEM, pair, facts)
        else:
            version = registry.deposit(pair, facts)
        write_json(registered, {"version": version})
    run.clear()
    return read_json(registered, "resume the run")


DO: dict[str, Callable] = {
    "snapshot": _snapshot,
    "teacher": _teacher,
    "hidden states": _hidden_states,
    "student": _student,
    "evaluate": _evaluate,
    "register": _register,
}


def _become_torchrun(run: RunFolder, arguments: list[str]) -> None:
    """Turn into `torchrun` where the recipe asks for several processes; else return."""
    processes = run.recipe().teacher.processes
    if processes == 1:
        return
    os.environ[PARENT] = str(os.getpid())  # which stays torchrun's, and so do our last wishes
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    program = [sys.executable, *launch, "-m", "engine.jobs.child", *arguments]
    os.execv(sys.executable, program)


def _is_first() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _say(text: str) -> None:
    print(text, flush=True)


def _in_a_line(error: BaseException, run: RunFolder) -> str:
    """Say what happened without quoting what the data may have put into a message."""
    words = str(error).lower()
    is_full = getattr(error, "errno", None) in DISK_FULL
    if is_full or any(some in words for some in DISK_FULL_WORDS):
        return f"{run.path}: the disk is full; free some space and resume the run"
    if isinstance(error, OSError):
        return f"{error.filename or run.path}: {error.strerror}; mend it and resume the run"
    if isinstance(error, MemoryError) or "out of memory" in words:
        return (
            "there is not enough memory; ask for less (batch_size, max_tokens, a smaller base "
            "model) in a new run"
        )
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}, line {last.lineno}"
    return f"unexpected {type(error).__name__} in {place}; please report it with this run's log"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
