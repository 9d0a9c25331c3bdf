"""Parts by several processes: the same figures, a failure told apart, and nobody left behind."""

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import WorkbenchError
from engine.jobs import study_worker
from engine.jobs.study import study
from engine.jobs.study_parts import Outcome, Part
from engine.jobs.study_plan import Setting
from engine.jobs.study_worker import Order
from engine.jobs.study_workers import compute_all
from engine.records.cohort import Cohort
from engine.registry.pair import open_pair


def part(name: str) -> Part:
    return Part(name, {}, Outcome)


def pretend(order: Order, name: str, key: str) -> None:
    """Stand in for the work of a process; runs in that process."""
    meeting = order.cohort / "meeting"
    if name == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "raises":
        raise ValueError("two\nlines")
    if name == "waits":
        meeting.write_text(str(os.getpid()))  # returns when "meets" reads
        threading.Event().wait()
    if name == "meets":
        (order.cohort / "pid").write_text(meeting.read_text())


@pytest.fixture
def order(monkeypatch, tmp_path) -> Order:
    monkeypatch.setattr(study_worker, "compute", pretend)
    os.mkfifo(tmp_path / "meeting")
    return Order(tmp_path, None, ())


def test_what_dies_or_raises_is_named_and_the_rest_is_done(order):
    done, seen = [], []
    names = ("one", "dies", "two", "raises", "three")
    failed = compute_all(order, [part(name) for name in names], 2, done.append, seen.append)
    assert sorted(each.name for each in done) == ["one", "three", "two"]
    assert "died" in failed["dies"] and "--workers" in failed["dies"]
    assert failed["raises"] == "ValueError: two lines"
    assert max(len(names) for names in seen) == 2


def test_a_stopped_study_leaves_no_process_behind(order):
    def stop(part: Part) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compute_all(order, [part("waits"), part("meets")], 2, stop, lambda names: None)
    pid = int((order.cohort / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_two_processes_give_the_same_report_and_go_on_after_a_failure(
    tiny_cohort, tiny_pair, tmp_path
):
    pair = open_pair(tiny_pair)
    one = Setting(
        Cohort.open(tiny_cohort),
        pair.recipe,
        tmp_path / "one",
        pair,
        seeds=2,
        grid_seeds=1,
        only=("rq3",),
        resamples=20,
        alphas=(0.0,),
        betas=(),
    )
    alone = study(one, say=lambda text: None)
    assert len(alone["models"]["student"]["runs"]) == 2
    assert len(alone["models"]["alpha_0"]["runs"]) == 1
    two = replace(one, output=tmp_path / "two", workers=2)
    in_the_way = tmp_path / "two" / "parts" / ".alpha_0.seed-0.safetensors.partial"
    in_the_way.mkdir(parents=True)
    with pytest.raises(WorkbenchError, match=r"1 of 4 parts .*alpha_0\.seed-0: ") as failure:
        study(two, say=lambda text: None)
    assert len(str(failure.value).splitlines()) == 1
    kept = {path.stem for path in Path(tmp_path / "two" / "parts").glob("*.json")}
    assert kept == {"teacher_states", "student.seed-0", "student.seed-1"}
    in_the_way.rmdir()
    said = []
    report = study(two, say=said.append)
    assert "student.seed-0: kept" in said
    for name, model in alone["models"].items():
        again = report["models"][name]["groups"]
        for group in ("overall", "first_visit", "added"):
            assert again[group]["prauc"] == pytest.approx(model["groups"][group]["prauc"]), name
