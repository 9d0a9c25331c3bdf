"""The models behind the pages: loaded while the first page is read, the slow one asked in turn.

`Models` is one pair; `Following` is whichever pair is in use, without a restart of the app.
"""

import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING

from engine.errors import WorkbenchError
from engine.records.cohort import Cohort
from engine.records.schema import Visit

if TYPE_CHECKING:  # brings PyTorch, which no page waits for
    from engine.recommender import Answer, Recommender

REMEMBERED = 500  # answers of the teacher
LOOK_EVERY = 1  # second, between two looks which pair is in use


def key_of(folder: Path) -> tuple:
    """Return what tells a folder and its content from any other, by its manifest."""
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        return (str(folder),)
    facts = manifest.stat()
    return str(folder), facts.st_mtime_ns, facts.st_size, facts.st_ino


class Models:
    """A pair of models, shared by all sessions; nothing here waits.

    One thread loads the student, then the tokenizer, then the teacher, and then answers the
    questions to the teacher one by one: two at a time would each take twice as long.
    """

    def __init__(self, folder: Path) -> None:
        self.key = key_of(folder)
        self._folder = folder
        self._answers: dict[tuple[str, str], Answer] = {}  # changed by the thread alone
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="teacher")
        self.student: Future[Recommender] = self._thread.submit(self._load_student)
        self.tokenizer: Future[None] = self._thread.submit(self._load_tokenizer)
        self.teacher: Future[None] = self._thread.submit(self._load_teacher)

    def ask_teacher(self, cohort: Cohort, visit: Visit) -> "Future[Answer]":
        """Return the teacher's answer to come; cancel it while it waits if nobody wants it.

        What keeps the teacher from answering is raised by the future's `result`.
        """
        return self._thread.submit(self._answer, cohort, visit)

    def known(self, cohort: Cohort, visit: Visit) -> "Answer | None":
        """Return what the teacher has answered about a visit before, if it has."""
        return self._answers.get((cohort.fingerprint, visit.visit_id))

    def _answer(self, cohort: Cohort, visit: Visit) -> "Answer":
        key = cohort.fingerprint, visit.visit_id
        if key not in self._answers:  # another session may have asked meanwhile
            self._answers[key] = self.student.result().ask(cohort, visit, "teacher")
            for oldest in list(self._answers)[:-REMEMBERED]:
                del self._answers[oldest]
        return self._answers[key]

    def _load_student(self) -> "Recommender":
        from engine.recommender import Recommender

        recommender = Recommender.load(self._folder)
        recommender.warm_up("student")
        return recommender

    def _load_tokenizer(self) -> None:
        _ = self.student.result().tokenizer

    def _load_teacher(self) -> None:
        self.student.result().warm_up("teacher")


class Following:
    """The models of the pair in use, whichever that is; nothing here waits.

    When another pair is put in use, it is loaded beside the old one, which answers until the new
    student is there. A pair that cannot be loaded is not used, and `problem` says why.
    """

    def __init__(self, find: Callable[[], Path]) -> None:
        """`find` returns the folder of the pair in use; WorkbenchError when there is none."""
        self._find = find
        self._lock = Lock()
        self._current: Models | None = None
        self._next: Models | None = None
        self.problem = ""

    def models(self) -> Models:
        """Return the models to ask now, loaded or still loading; raises what `find` does."""
        with self._lock:
            if self._current is None:
                self._current = Models(self._find())
            return self._current

    def look(self) -> None:
        """See which pair is in use, and take the next step towards it."""
        try:
            folder = self._find()
            key = key_of(folder)
        except (WorkbenchError, OSError) as error:  # such as a locked database
            self.problem = str(error)
            return
        with self._lock:
            if self._current is None or self._current.key == key:
                self._next, self.problem = None, ""
                return
            if self._next is None or self._next.key != key:
                self._next = Models(folder)
            if self._next.student.done():
                self._change()

    def watch(self) -> "Following":
        """Look every second from now on, for as long as somebody holds this object."""
        watching = Thread(target=_watch, args=(weakref.ref(self),), name="champion", daemon=True)
        watching.start()
        return self

    def _change(self) -> None:
        failure = self._next.student.exception()
        if failure is None:
            self._current, self._next, self.problem = self._next, None, ""
        elif isinstance(failure, WorkbenchError):
            self.problem = str(failure)
        else:
            self.problem = f"its student cannot be loaded ({type(failure).__name__})"


def _watch(following: "weakref.ref[Following]") -> None:
    while (one := following()) is not None:
        one.look()
        del one  # else it would be held while waiting
        time.sleep(LOOK_EVERY)
