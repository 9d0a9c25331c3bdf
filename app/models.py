"""The models behind the pages: loaded while the first page is read, the slow one asked in turn."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from engine.records.cohort import Cohort
from engine.records.schema import Visit

if TYPE_CHECKING:  # brings PyTorch, which no page waits for
    from engine.recommender import Answer, Recommender

REMEMBERED = 500  # answers of the teacher


class Models:
    """A pair of models, shared by all sessions; nothing here waits.

    One thread loads the student, then the tokenizer, then the teacher, and then answers the
    questions to the teacher one by one: two at a time would each take twice as long.
    """

    def __init__(self, folder: Path) -> None:
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
