"""The models behind the pages, with a pair that answers when it is told to."""

from concurrent.futures import wait
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pytest

from app.models import Models
from engine.errors import WorkbenchError
from engine.recommender import Recommender
from tests.visits import make_visit

COHORT = SimpleNamespace(fingerprint="cohort")
FIRST, SECOND, THIRD = (make_visit(visit_id=number) for number in "123")


class Pair:
    """Stands for a `Recommender`; what it did is in `done`, in order."""

    def __init__(self) -> None:
        self.done = []
        self.may_answer = Event()
        self.fails = False

    @property
    def tokenizer(self):
        self.done.append("tokenizer")

    def warm_up(self, model):
        self.done.append(model)

    def ask(self, cohort, visit, model):
        assert self.may_answer.wait(timeout=60)
        if self.fails:
            raise WorkbenchError("out of memory")
        self.done.append(visit.visit_id)
        return f"answer about {visit.visit_id}"


@pytest.fixture
def pair(monkeypatch):
    pair = Pair()
    monkeypatch.setattr(Recommender, "load", lambda folder: pair)
    yield pair
    pair.may_answer.set()


@pytest.fixture
def models(pair):
    return Models(Path("pair"))


def test_the_student_is_loaded_first_and_the_teacher_last(models, pair):
    pair.may_answer.set()
    models.ask_teacher(COHORT, FIRST).result(timeout=60)
    assert pair.done == ["student", "tokenizer", "teacher", "1"]
    assert models.student.result() is pair


def test_a_question_waits_its_turn_and_can_be_withdrawn_meanwhile(models, pair):
    questions = [models.ask_teacher(COHORT, visit) for visit in (FIRST, SECOND, THIRD)]
    assert questions[1].cancel()
    pair.may_answer.set()
    wait([questions[2]], timeout=60)
    assert pair.done[-2:] == ["1", "3"]


def test_an_answer_is_remembered_for_every_session(models, pair):
    assert models.known(COHORT, FIRST) is None
    two = [models.ask_teacher(COHORT, FIRST) for _ in range(2)]
    pair.may_answer.set()
    assert {question.result(timeout=60) for question in two} == {"answer about 1"}
    assert pair.done.count("1") == 1
    assert models.known(COHORT, FIRST) == "answer about 1"
    assert models.known(SimpleNamespace(fingerprint="another"), FIRST) is None


def test_only_the_latest_answers_are_kept(models, pair, monkeypatch):
    monkeypatch.setattr("app.models.REMEMBERED", 2)
    pair.may_answer.set()
    for visit in (FIRST, SECOND, THIRD):
        models.ask_teacher(COHORT, visit).result(timeout=60)
    kept = [visit.visit_id for visit in (FIRST, SECOND, THIRD) if models.known(COHORT, visit)]
    assert kept == ["2", "3"]


def test_a_failure_is_raised_where_it_is_asked_for_and_not_remembered(models, pair):
    pair.may_answer.set()
    pair.fails = True
    with pytest.raises(WorkbenchError, match="out of memory"):
        models.ask_teacher(COHORT, FIRST).result(timeout=60)
    pair.fails = False
    assert models.ask_teacher(COHORT, FIRST).result(timeout=60) == "answer about 1"


def test_a_pair_that_cannot_be_opened_fails_every_question(pair, monkeypatch):
    def damaged(folder):
        raise WorkbenchError(f"{folder}: damaged")

    monkeypatch.setattr(Recommender, "load", damaged)
    models = Models(Path("pair"))
    question = models.ask_teacher(COHORT, FIRST)
    for future in (models.student, models.tokenizer, question):
        with pytest.raises(WorkbenchError, match="damaged"):
            future.result(timeout=60)
