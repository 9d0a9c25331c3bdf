"""One visit in, one side-by-side recommendation out: the facade that app and commands use.

recommender = Recommender.load(champion_folder())
recommendation = recommender.recommend(cohort, cohort.visit("10000032"))
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from transformers import PreTrainedTokenizerBase

from engine.prompts import Prompt
from engine.records.cohort import Cohort
from engine.records.schema import Visit
from engine.registry import ADAPTER, STUDENT, UNDISTILLED, Pair, open_pair
from engine.student import inference as student_inference
from engine.student.model import Student
from engine.teacher.base_model import load_tokenizer
from engine.teacher.data import prompt_of
from engine.teacher.inference import Teacher
from engine.terminology import atc

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
    """A pair of models behind one question; the teacher is loaded when it is first asked."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.vocabulary = pair.vocabulary
        self.versions = pair.versions
        self.thresholds = {
            model: pair.calibration[model].threshold for model in ("teacher", "student")
        }

    @classmethod
    def load(cls, folder: Path) -> "Recommender":
        """Open a pair after checking its SHA-256 sums; WorkbenchError names what is wrong."""
        return cls(open_pair(folder))

    @cached_property
    def teacher(self) -> Teacher:
        """The teacher, loaded from base model and adapter."""
        groups = len(self.vocabulary.medications)
        return Teacher.of(self.pair.recipe, self.pair.folder / ADAPTER, groups)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The teacher's tokenizer: enough to read a prompt, without the weights."""
        return load_tokenizer(self.pair.recipe.teacher.base_model)

    @cached_property
    def student(self) -> Student:
        """The distilled student."""
        return self._student(STUDENT)

    def prompt(self, cohort: Cohort, visit: Visit) -> Prompt:
        """Return the prompt of a visit, exactly as the teacher reads it; loads no weights."""
        return prompt_of(visit, cohort.title, self.tokenizer, self.pair.recipe.prompt)

    def recommend(self, cohort: Cohort, visit: Visit, model: Choice = "both") -> Recommendation:
        """Score a visit with one model or both.

        A row stands for every group that reaches either model's threshold and for every group of
        the latest earlier visit with medications on record.
        """
        logits: dict[str, np.ndarray] = {}
        latency: dict[str, float | None] = {"teacher": None, "student": None}
        omitted: tuple[str, ...] = ()
        if model != "teacher":
            if "student" not in vars(self):
                self.student_logits([visit])  # loads, and PyTorch's first call is slow
            start = time.perf_counter()
            logits["student"] = self.student_logits([visit])[0]
            latency["student"] = _milliseconds_since(start)
        if model != "student":
            _ = self.tokenizer, self.teacher  # loading is not part of the latency
            start = time.perf_counter()
            prompt = self.prompt(cohort, visit)
            logits["teacher"] = self.teacher.predict([prompt.text])[0][0]
            latency["teacher"] = _milliseconds_since(start)
            omitted = prompt.omitted
        probability = {
            name: self.pair.calibration[name].probability(values) for name, values in logits.items()
        }
        return Recommendation(
            visit.patient_id,
            visit.visit_id,
            self.versions,
            self.thresholds,
            self._rows(visit, probability),
            omitted,
            latency,
            self._prediction_sets(logits),
        )

    def student_probabilities(self, visits: Sequence[Visit], distilled: bool = True) -> np.ndarray:
        """Return (visits, groups) calibrated probabilities of the student."""
        calibration = self.pair.calibration["student" if distilled else "student_undistilled"]
        return calibration.probability(self.student_logits(visits, distilled))

    def student_logits(self, visits: Sequence[Visit], distilled: bool = True) -> np.ndarray:
        """Return (visits, groups) logits of the student: what rankings and sets go by."""
        student = self.student if distilled else self._student(UNDISTILLED)
        return student_inference.predict(student, visits, self.vocabulary, self.pair.recipe)

    def teacher_probabilities(self, cohort: Cohort, visits: Sequence[Visit]) -> np.ndarray:
        """Return (visits, groups) calibrated probabilities of the teacher, with a progress bar."""
        return self.pair.calibration["teacher"].probability(self.teacher_logits(cohort, visits))

    def teacher_logits(self, cohort: Cohort, visits: Sequence[Visit]) -> np.ndarray:
        """Return (visits, groups) logits of the teacher, with a progress bar."""
        texts = [self.prompt(cohort, visit).text for visit in visits]
        return self.teacher.predict(texts, progress="teacher")[0]

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


def _milliseconds_since(start: float) -> float:
    return round((time.perf_counter() - start) * 1000, 3)
