"""How far a run has come: written by the process that trains, read by whoever watches.

    with Reporter(run.progress, stage, device) as report:
        report("teacher", step, steps)

The file is replaced as a whole once a second; it is for the eye, and nothing depends on it.
"""

import contextlib
import json
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from engine.files import write_json
from engine.jobs.retraining import STAGES, RunFolder

EVERY = 1.0  # seconds
LOG_LINES = 200


@dataclass(frozen=True)
class Progress:
    """A run as a page draws it."""

    stage: str | None  # at work or next; None when all are done
    stages: list[tuple[str, str, float | None]]  # name, "done" | "running" | "waiting", seconds
    part: str | None = None  # of the stage: "student" has two
    step: int | None = None
    steps: int | None = None
    loss_curve: list[tuple[int, float]] = field(default_factory=list)  # (step, loss)
    validation: list[tuple[int, float]] = field(default_factory=list)  # (step, PRAUC)
    eta_seconds: float | None = None  # to the end of the part
    device: str | None = None
    memory: dict = field(default_factory=dict)  # bytes: "rss", and "gpu" or None
    log_tail: list[str] = field(default_factory=list)


class Reporter:
    """Writes `progress.json` from a thread of its own, so that training never waits for it."""

    def __init__(self, file: Path, stage: str, device: str) -> None:
        self._file = file
        self._known = {"stage": stage, "device": device, "part": None, "step": None, "steps": None}
        self._began = time.monotonic()
        self._first: tuple[int, float] = (0, self._began)  # step and time this part was first seen
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write_on, daemon=True)

    def __call__(self, part: str, step: int, steps: int) -> None:
        """Say that `step` of `steps` of a part of the stage is done."""
        if part != self._known["part"]:
            self._first = (step, time.monotonic())
        self._known = {**self._known, "part": part, "step": step, "steps": steps}

    def __enter__(self) -> "Reporter":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        self._thread.join()

    def _write_on(self) -> None:
        while True:
            with contextlib.suppress(OSError):  # a run does not fail for its progress bar
                write_json(self._file, self._now())
            if self._ended.wait(EVERY):
                return

    def _now(self) -> dict:
        now, known = time.monotonic(), self._known
        return {
            **known,
            "seconds": round(now - self._began, 1),
            "eta_seconds": _remaining(known, self._first, now),
            "memory": {
                "rss": psutil.Process().memory_info().rss,
                "gpu": None if known["step"] is None else _gpu_memory(),  # torch may be half loaded
            },
        }


def read(run: RunFolder, status: str) -> Progress:
    """Return the progress of a run; what cannot be read is left out."""
    finished = {stage: run.done(stage) for stage in STAGES}
    current = next((stage for stage in STAGES if finished[stage] is None), None)
    live = _read_live(run.progress)
    if live.get("stage") != current or status != "running":
        live = {}
    stages = []
    for stage in STAGES:
        if finished[stage] is not None:
            stages.append((stage, "done", finished[stage].get("seconds")))
        elif stage == current and status == "running":
            stages.append((stage, "running", live.get("seconds")))
        else:
            stages.append((stage, "waiting", None))
    loss, validation = _curves(run.metrics, live.get("part") or current)
    return Progress(
        stage=current,
        stages=stages,
        part=live.get("part"),
        step=live.get("step"),
        steps=live.get("steps"),
        loss_curve=loss,
        validation=validation,
        eta_seconds=live.get("eta_seconds"),
        device=live.get("device"),
        memory=live.get("memory", {}),
        log_tail=log_tail(run.log),
    )


def log_tail(file: Path, lines: int = LOG_LINES) -> list[str]:
    """Return the last lines of a log, however long it is."""
    try:
        with file.open("rb") as log:
            log.seek(max(0, file.stat().st_size - 200 * lines))
            return log.read().decode("utf-8", "replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []


def _remaining(known: dict, first: tuple[int, float], now: float) -> float | None:
    """Return the seconds to the end of a part at the pace it has had since it was first seen."""
    step, steps = known["step"], known["steps"]
    if step is None or step <= first[0]:
        return None
    return round((now - first[1]) / (step - first[0]) * (steps - step), 1)


def _gpu_memory() -> int | None:
    """Return the bytes that this process holds on its graphics cards, or None without one."""
    # Not loaded by every stage, and seen here from another thread while it is being loaded.
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    is_initialized = getattr(cuda, "is_initialized", None)
    if is_initialized is None or not is_initialized():
        return None
    return sum(cuda.memory_reserved(card) for card in range(cuda.device_count()))


def _read_live(file: Path) -> dict:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _curves(file: Path, part: str | None) -> tuple[list, list]:
    """Return the loss and the validation PRAUC of the part at work, or of the last that trained."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return [], []
    logged: dict[str, list[dict]] = {}
    for line in lines:
        with contextlib.suppress(ValueError):  # the line being written
            values = json.loads(line)
            logged.setdefault(values["stage"], []).append(values)
    if not logged:
        return [], []
    name = (part or "").replace(" ", "_")
    mine = logged.get(name) or list(logged.values())[-1]
    steps = [(values.get("step", values.get("epoch")), values) for values in mine]
    loss = [(step, values["loss"]) for step, values in steps if "loss" in values]
    prauc = [
        (step, values.get("eval_prauc", values.get("prauc")))
        for step, values in steps
        if "eval_prauc" in values or "prauc" in values
    ]
    return loss, prauc
