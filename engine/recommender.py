"""One visit in, one side-by-side recommendation out: the facade that app and commands use.

    recommender = Recommender.load(champion_folder())
    recommendation = recommender.recommend(cohort, cohort.visit("10000032"))

The student answers in milliseconds, the teacher in about a second. Who does not want to wait asks
one after the other, from any thread, and combines what there is:

    student = recommender.ask(cohort, visit, "student")
    recommender.combine(visit, [student])
    recommender.combine(visit, [student, recommender.ask(cohort, visit, "teacher")])
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Literal

import numpy as np

from engine.prompts import Prompt
from engine.records.cohort import Cohort
from engine.records.schema import Visit
from engine.registry.pair import ADAPTER, STUDENT, UNDISTILLED, Pair, open_pair
from engine.student import inference as student_inference
from engine.student.model import Student
from engine.terminology import atc

if TYPE_CHECKING:  # transformers takes seconds to import, and the student does without
    from transformers import PreTrainedTokenizerBase

    from engine.teacher.inference import Teacher

Model = Literal["teacher", "student"]
Choice = Literal["both", "teacher", "student"]
Status = Literal["new", "continued", "stopped"]


@dataclass(frozen=True)
class Row:
    """One medication group, as each model sees it."""

    atc: str
    name: str
    teacher: float | None  # probability; None when the model was not asked or lacks the group
    student: float | None
    status: Status
    given: bool | None  # whether it was in fact given; None when nothing is on record


@dataclass(frozen=True)
class PredictionSet:
    """The groups that a model would list to hold a promised share of what is given.

    See `engine.evaluation.conformal` for what that promise is worth.
    """

    coverage: float  # the share held on average
    patients: int  # how many validation patients it was set on
    groups: tuple[str, ...]  # by falling probability


@dataclass(frozen=True)
class Answer:
    """What one model says of one visit."""

    model: Model
    patient_id: str
    visit_id: str
    logits: np.ndarray  # (groups,) float32
    latency_ms: float
    omitted: tuple[str, ...] = ()  # what the prompt budget left out of the teacher's sight


@dataclass(frozen=True)
class Recommendation:
    """What the models say for one visit; rows by falling teacher, then student probability."""

    patient_id: str
    visit_id: str
    versions: dict[str, str]
    thresholds: dict[str, float]
    rows: tuple[Row, ...]
    omitted: tuple[str, ...]  # what the prompt budget left out of the teacher's sight
    latency_ms: dict[str, float | None]
    prediction_sets: dict[str, PredictionSet] = field(default_factory=dict)  # of pairs with a rule

    def to_json(self) -> dict:
        """Return the documented JSON layout."""
        fields = asdict(self)
        rows, omitted = list(fields.pop("rows")), list(fields.pop("omitted"))
        return {**fields, "recommendations": rows, "omitted": omitted}


class Recommender:
    """A pair of models behind one question; threads may share it.

    Tokenizer, teacher and student are each loaded when they are first needed, by one thread.
    """

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.vocabulary = pair.vocabulary
        self.versions = pair.versions
        self.thresholds = {
            model: pair.calibration[model].threshold for model in ("teacher", "student")
        }
        self._loaded: dict[str, object] = {}
        self._locks = {part: RLock() for part in ("tokenizer", "teacher", "student")}

    @classmethod
    def load(cls, folder: Path) -> "Recommender":
        """Open a pair after checking its SHA-256 sums; WorkbenchError names what is wrong."""
        return cls(open_pair(folder))

    @property
    def teacher(self) -> "Teacher":
        """The teacher, loaded from base model and adapter."""
        from engine.teacher.inference import Teacher

        groups = len(self.vocabulary.medications)
        return self._once(
            "teacher",
            lambda: Teacher.of(
                self.pair.recipe, self.pair.folder / ADAPTER, groups, self.tokenizer
            ),
        )

    @property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """The teacher's tokenizer: enough to read a prompt, without the weights."""
        from engine.teacher.base_model import load_tokenizer

        return self._once("tokenizer", lambda: load_tokenizer(self.pair.recipe.teacher.base_model))

    @property
    def student(self) -> Student:
        """The distilled student."""
        return self._once("student", lambda: self._student(STUDENT))

    def warm_up(self, model: Model) -> None:
        """Load a model and let it answer once, because PyTorch's first call is slow."""
        if model == "student":
            self.student_logits([_ANY_VISIT])
        else:
            self.teacher.score("No diagnoses.")

    def prompt(self, cohort: Cohort, visit: Visit) -> Prompt:
        """Return the prompt of a visit, exactly as the teacher reads it; loads no weights."""
        from engine.teacher.data import prompt_of

        return prompt_of(visit, cohort.title, self.tokenizer, self.pair.recipe.prompt)

    def recommend(self, cohort: Cohort, visit: Visit, model: Choice = "both") -> Recommendation:
        """Score a visit with one model or both."""
        models: tuple[Model, ...] = ("student", "teacher") if model == "both" else (model,)
        return self.combine(visit, [self.ask(cohort, visit, name) for name in models])

    def ask(self, cohort: Cohort, visit: Visit, model: Model) -> Answer:
        """Score a visit with one model; loading it is not part of the latency."""
        omitted: tuple[str, ...] = ()
        if model == "student":
            if "student" not in self._loaded:
                self.warm_up("student")
            start = time.perf_counter()
            logits = self.student_logits([visit])[0]
        else:
            teacher = self.teacher
            start = time.perf_counter()
            prompt = self.prompt(cohort, visit)
            logits, _ = teacher.score(prompt.text)
            omitted = prompt.omitted
        latency = _milliseconds_since(start)
        return Answer(model, visit.patient_id, visit.visit_id, logits, latency, omitted)

    def combine(self, visit: Visit, answers: Sequence[Answer]) -> Recommendation:
        """Return what the models that have answered say together.

        A row stands for every group that reaches either model's threshold and for every group of
        the latest earlier visit with medications on record.

        Raises:
            ValueError: when an answer is about another visit; it is never shown as this one's.
        """
        for answer in answers:
            if (answer.patient_id, answer.visit_id) != (visit.patient_id, visit.visit_id):
                raise ValueError(f"the {answer.model}'s answer is about another visit")
        logits = {answer.model: answer.logits for answer in answers}
        latency = {"teacher": None, "student": None}
        probability = {
            name: self.pair.calibration[name].probability(values) for name, values in logits.items()
        }
        return Recommendation(
            visit.patient_id,
            visit.visit_id,
            self.versions,
            self.thresholds,
            self._rows(visit, probability),
            tuple(line for answer in answers for line in answer.omitted),
            latency | {answer.model: answer.latency_ms for answer in answers},
            self._prediction_sets(logits),
        )

    def student_probabilities(self, visits: Sequence[Visit], distilled: bool = True) -> np.ndarray:
        """Return (visits, groups) calibrated probabilities of the student."""
        calibration = self.pair.calibration["student" if distilled else "student_undistilled"]
        return calibration.probability(self.student_logits(visits, distilled))

    def student_logits(self, visits: Sequence[Visit], distilled: bool = True) -> np.ndarray:
        """Return (visits, groups) logits of the student: what rankings and sets go by."""
        with self._locks["student"]:
            student = self.student if distilled else self._student(UNDISTILLED)
            return student_inference.predict(student, visits, self.vocabulary, self.pair.recipe)

    def representations(self, visits: Sequence[Visit]) -> np.ndarray:
        """Return (visits, size) float32: what the student makes of each visit."""
        with self._locks["student"]:
            return student_inference.represent(
                self.student, visits, self.vocabulary, self.pair.recipe
            )

    def teacher_probabilities(self, cohort: Cohort, visits: Sequence[Visit]) -> np.ndarray:
        """Return (visits, groups) calibrated probabilities of the teacher, with a progress bar."""
        return self.pair.calibration["teacher"].probability(self.teacher_logits(cohort, visits))

    def teacher_logits(self, cohort: Cohort, visits: Sequence[Visit]) -> np.ndarray:
        """Return (visits, groups) logits of the teacher, with a progress bar."""
        texts = [self.prompt(cohort, visit).text for visit in visits]
        return self.teacher.predict(texts, progress="teacher")[0]

    def _once(self, part: str, load: Callable):
        """Return a part; the first thread that asks loads it while others wait."""
        with self._locks[part]:
            if part not in self._loaded:
                self._loaded[part] = load()
            return self._loaded[part]

    def _student(self, file: str) -> Student:
        return student_inference.load(self.pair.folder / file, self.vocabulary, self.pair.recipe)

    def _prediction_sets(self, logits: dict[str, np.ndarray]) -> dict[str, PredictionSet]:
        sets = {}
        for model, values in logits.items():
            rule = self.pair.calibration[model].prediction_set
            if rule is not None:
                columns = np.flatnonzero(rule.sets(values))
                columns = columns[np.argsort(-values[columns], kind="stable")]
                groups = tuple(self.vocabulary.medications[column] for column in columns)
                sets[model] = PredictionSet(rule.coverage, rule.patients, groups)
        return sets

    def _rows(self, visit: Visit, probability: dict[str, np.ndarray]) -> tuple[Row, ...]:
        previous = frozenset(visit.previous_medications)
        proposed = {
            self.vocabulary.medications[column]
            for model, values in probability.items()
            for column in np.flatnonzero(self.pair.calibration[model].select(values))
        }
        rows = []
        for group in proposed | previous:
            column = self.vocabulary.medication_index(group)
            said = {
                model: None if column is None else float(values[column])
                for model, values in probability.items()
            }
            status: Status = "stopped"
            if group in proposed:
                status = "continued" if group in previous else "new"
            given = group in visit.medications if visit.medications else None
            rows.append(
                Row(
                    group,
                    atc.name(group),
                    said.get("teacher"),
                    said.get("student"),
                    status,
                    given,
                )
            )
        rows.sort(key=lambda row: (-(row.teacher or 0.0), -(row.student or 0.0), row.atc))
        return tuple(rows)


_ANY_VISIT = Visit(
    patient_id="",
    visit_id="",
    admit_time=datetime(2000, 1, 1),
    discharge_time=None,
    age=None,
    sex=None,
    insurance=None,
    language=None,
    marital_status=None,
    race=None,
    religion=None,
    admission_type=None,
    diagnoses=("10:I10",),
    procedures=(),
    medications=(),
    drugs=(),
)


def _milliseconds_since(start: float) -> float:
    return round((time.perf_counter() - start) * 1000, 3)
