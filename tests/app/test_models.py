"""The models behind the pages, with a pair that answers when it is told to."""

from concurrent.futures import wait
from pathlib import Path
from threading import Event
from threading import enumerate as enumerate_threads
from types import SimpleNamespace

import pytest

from app.models import Following, Models, key_of
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


# ---------------------------------------------------------------- following the champion


class Champion:
    """Stands for the registry: which pair is in use, and how each one loads."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.loads = []
        self.may_load = {}
        self.damaged = set()
        self.asked = None
        self.put_in_use("first")

    def put_in_use(self, name: str) -> Path:
        self.folder = self.root / name
        self.folder.mkdir(exist_ok=True)
        (self.folder / "manifest.json").write_text(name)
        self.may_load.setdefault(name, Event())
        return self.folder

    def find(self) -> Path:
        if self.asked is not None:
            raise self.asked
        return self.folder

    def load(self, folder: Path) -> Pair:
        self.loads.append(folder.name)
        assert self.may_load[folder.name].wait(timeout=60)
        if folder.name in self.damaged:
            raise WorkbenchError(f"{folder}: damaged")
        return Pair()


@pytest.fixture
def champion(tmp_path, monkeypatch):
    champion = Champion(tmp_path)
    monkeypatch.setattr(Recommender, "load", champion.load)
    yield champion
    for event in champion.may_load.values():
        event.set()


@pytest.fixture
def following(champion):
    following = Following(champion.find)
    champion.may_load["first"].set()
    wait([following.models().student], timeout=60)
    return following


def look_until_loaded(following: Following) -> None:
    """Look, wait for a pair that is being loaded beside the old one, and look again."""
    following.look()
    if following._next is not None:
        wait([following._next.student], timeout=60)
        following.look()


def test_the_old_pair_answers_until_the_student_of_the_new_one_is_loaded(following, champion):
    first = following.models()
    second = champion.put_in_use("second")
    following.look()
    following.look()
    assert following.models() is first
    champion.may_load["second"].set()
    wait([following._next.student], timeout=60)
    assert following.models() is first
    following.look()
    assert following.models().key == key_of(second)
    assert following.models().student.done()
    assert champion.loads == ["first", "second"]


def test_a_pair_that_cannot_be_loaded_is_not_used_nor_loaded_again_and_again(following, champion):
    first = following.models()
    champion.damaged.add("second")
    champion.put_in_use("second")
    champion.may_load["second"].set()
    for _ in range(3):
        look_until_loaded(following)
    assert following.models() is first
    assert "second: damaged" in following.problem
    assert champion.loads == ["first", "second"]

    champion.folder = Path(first.key[0])  # rolled back
    following.look()
    assert following.problem == ""
    assert following.models() is first


def test_a_registry_that_cannot_be_read_leaves_the_pair_in_use(following, champion):
    first = following.models()
    champion.asked = WorkbenchError("workbench.sqlite: cannot be read")
    following.look()
    assert following.models() is first
    assert "cannot be read" in following.problem
    champion.asked = None
    following.look()
    assert following.problem == ""


def test_of_two_changes_at_once_the_last_one_counts(following, champion):
    champion.put_in_use("second")
    following.look()
    third = champion.put_in_use("third")
    champion.may_load["third"].set()
    look_until_loaded(following)
    champion.may_load["second"].set()
    following.look()
    assert following.models().key == key_of(third)


def test_a_pair_that_was_replaced_in_its_place_is_loaded_anew(following, champion):
    first = following.models()
    (champion.folder / "manifest.json").write_text("replaced by a longer one")
    look_until_loaded(following)
    assert following.models() is not first


def test_without_any_pair_the_question_says_so(champion):
    champion.asked = WorkbenchError("aliases.json: not found")
    following = Following(champion.find)
    following.look()
    with pytest.raises(WorkbenchError, match="not found"):
        following.models()


def test_it_looks_by_itself_for_as_long_as_it_is_held(champion, monkeypatch):
    changed = Event()
    change = Following._change

    def tell(following):
        change(following)
        changed.set()

    monkeypatch.setattr(Following, "_change", tell)
    monkeypatch.setattr("app.models.LOOK_EVERY", 0.01)
    before = set(enumerate_threads())
    for event in ("first", "second"):
        champion.may_load.setdefault(event, Event()).set()
    following = Following(champion.find).watch()
    [thread] = [one for one in set(enumerate_threads()) - before if one.name == "champion"]
    wait([following.models().student], timeout=60)
    second = champion.put_in_use("second")
    assert changed.wait(timeout=60)
    assert following.models().key == key_of(second)
    del following
    thread.join(timeout=60)
    assert not thread.is_alive()
