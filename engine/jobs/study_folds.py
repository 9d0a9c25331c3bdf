"""How well a trained pair adapts to a small hospital it has never seen: folds by patient.

    adapted_study(setting, 5)

Every visit is predicted by models that saw neither it nor its patient. Baselines get the same
folds.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from tqdm import tqdm

from engine.errors import WorkbenchError
from engine.evaluation import persistence
from engine.evaluation.calibration import Calibration, calibrate
from engine.files import sha256
from engine.jobs import pipeline
from engine.jobs.study import Say, settings_of
from engine.jobs.study_baselines import BASELINES, baseline_class, fit_baseline
from engine.jobs.study_measures import Prediction, Yardstick
from engine.jobs.study_models import latency
from engine.jobs.study_parts import Outcome, Part, Parts, sole_study
from engine.jobs.study_plan import Setting
from engine.records.labels import label_matrix
from engine.records.schema import Visit
from engine.registry.pair import ADAPTER, STUDENT
from engine.student import adaptation as student_adaptation
from engine.student import inference as student_inference
from engine.teacher import adaptation as teacher_adaptation
from engine.teacher.inference import Teacher
from engine.teacher.linear_path import as_text, together
from engine.teacher.model import WEIGHTS, head_of

VALIDATION_SHARE = 5  # one in so many tuning patients validates
TITLES = {
    "teacher": "Teacher, as shipped",
    "student": "Student, as shipped",
    "teacher_recalibrated": "Teacher, threshold of the folds",
    "student_recalibrated": "Student, threshold of the folds",
    "teacher_adapted": "Teacher, adapted",
    "student_adapted": "Student, adapted",
}
GIVEN_THE_FOLDS = ("most_frequent", "copy_previous", "logistic_regression")


@dataclass(frozen=True)
class Fold:
    """Rows of one fold: tuned on, validated on, tested on."""

    number: int
    training: list[int]
    validation: list[int]
    test: list[int]


def adapted_study(setting: Setting, folds: int, say: Say = tqdm.write) -> dict:
    """Run or go on with an adapted evaluation; returns the report.

    Raises WorkbenchError when the cohort has too few patients or the pair was trained on it.
    """
    visits = setting.cohort.samples()
    _check(setting, folds, visits)
    with sole_study(setting.output):
        parts, clinic = Parts(setting.output), Clinic(setting, visits)
        named = _plan(setting, clinic, make_folds(visits, folds, setting.recipe.seed))
        outcomes = {}
        work = [part for some in named.values() for part in some]
        with tqdm(work, desc="study", unit="part") as bar:
            for part in bar:
                bar.set_postfix_str(part.name)
                outcomes[part.name] = parts.get(part)
                say(f"{part.name}: {outcomes[part.name].facts['seconds']:,.0f} s")
    return _report(setting, visits, clinic, named, outcomes, folds)


def make_folds(visits: Sequence[Visit], folds: int, seed: int) -> list[Fold]:
    """Divide the visits by patient, seeded; one in five tuning patients validates."""
    patients = sorted({visit.patient_id for visit in visits})
    random.Random(seed).shuffle(patients)
    made = []
    for number in range(folds):
        tested = set(patients[number::folds])
        others = [patient for patient in patients if patient not in tested]
        validating = set(others[::VALIDATION_SHARE])
        part = {"training": [], "validation": [], "test": []}
        for row, visit in enumerate(visits):
            place = "validation" if visit.patient_id in validating else "training"
            part["test" if visit.patient_id in tested else place].append(row)
        made.append(Fold(number, **part))
    return made


class Clinic:
    """The unseen hospital's visits and the pair that meets them."""

    def __init__(self, setting: Setting, visits: list[Visit]) -> None:
        self.setting, self.pair, self.visits = setting, setting.pair, visits
        self.recipe, self.vocabulary = setting.pair.recipe, setting.pair.vocabulary
        self.truth, self.missing = label_matrix(visits, self.vocabulary)
        self.patients = np.array([visit.patient_id for visit in visits])
        self.before = persistence.given_before(visits, self.vocabulary)
        self.settings = {
            "cohort": setting.cohort.fingerprint,
            "teacher": sha256(self.pair.folder / ADAPTER / WEIGHTS),
            "student": sha256(self.pair.folder / STUDENT),
            "seed": setting.recipe.seed,
        }

    def part(self, name: str, compute, **settings) -> Part:
        """Return a part that depends on the cohort, the pair and `settings`."""
        return Part(name, {"kind": name, **self.settings, **settings}, compute)

    def chosen(self, rows: Sequence[int]) -> list[Visit]:
        """Return the visits of some rows."""
        return [self.visits[row] for row in rows]

    def student(self):
        """Load the pair's student."""
        return student_inference.load(self.pair.folder / STUDENT, self.vocabulary, self.recipe)

    @cached_property
    def teacher(self) -> Teacher:
        """The pair's teacher, loaded when it is first asked."""
        groups = len(self.vocabulary.medications)
        return Teacher.of(self.recipe, self.pair.folder / ADAPTER, groups)

    @cached_property
    def head(self):
        """The teacher's head."""
        return head_of(self.teacher.model)

    def shipped(self, model: str) -> Part:
        """Logits of the pair's own teacher or student on every visit."""

        def compute() -> Outcome:
            if model == "student":
                student = self.student()
                return self.measured(
                    student,
                    lambda some: student_inference.predict(
                        student, some, self.vocabulary, self.recipe
                    ),
                )
            teacher = self.teacher

            def read(some: Sequence[Visit]) -> tuple[np.ndarray, np.ndarray]:
                texts = [teacher.prompt(visit, self.setting.cohort.title).text for visit in some]
                return teacher.predict(texts, progress="teacher" if len(some) > 8 else None)

            return self.measured(teacher.model, read)

        return self.part(f"shipped_{model}", compute)

    def measured(self, network, predict) -> Outcome:
        """Return the logits of every visit, and what the network costs."""
        weights = list(network.parameters())
        facts = {
            "parameters": sum(weight.numel() for weight in weights),
            "bytes": sum(weight.numel() * weight.element_size() for weight in weights),
            "latency": latency(predict, self.visits[:8], batch=8),
        }
        found = predict(self.visits)
        names = ("logits", "hidden")  # a student gives logits only
        arrays = found if isinstance(found, tuple) else (found,)
        return Outcome(facts, dict(zip(names, arrays, strict=False)))

    def calibrated(self, logits: np.ndarray, rows: Sequence[int]) -> Calibration:
        """Return the calibration that visits of `rows` give; `logits` are theirs."""
        return calibrate(
            logits,
            self.truth[rows],
            self.patients[rows],
            self.missing[rows],
            self.recipe.calibration,
            self.recipe.coverage,
        )

    def adapted_student(self, fold: Fold) -> Part:
        """The student, tuned on a fold; its predictions for the fold's test visits."""

        def compute() -> Outcome:
            student = student_adaptation.adapt(
                self.student(),
                self.recipe,
                self.vocabulary,
                self.chosen(fold.training),
                self.chosen(fold.validation),
                pipeline.score_logits,
                self.setting.recipe.seed,
            )
            validation, test = (
                student_inference.predict(student, self.chosen(rows), self.vocabulary, self.recipe)
                for rows in (fold.validation, fold.test)
            )
            return self.settled(fold, validation, test)

        name = f"student_adapted.fold-{fold.number}"
        return self.part(name, compute, rows=vars(fold), persistence=persistence.PENALTY)

    def settled(self, fold: Fold, validation: np.ndarray, test: np.ndarray) -> Outcome:
        """Return what a fold's logits predict, by the habit and the calibration of its validation.

        Args:
            validation: (visits, groups) logits of the fold's validation visits; `test` likewise.
        """
        known = self.before[fold.validation]
        habit = persistence.fit_persistence(validation, self.truth[fold.validation], known)
        calibration = self.calibrated(habit.applied(validation, known), fold.validation)
        return predicted(habit.applied(test, self.before[fold.test]), calibration)

    @cached_property
    def prompts(self) -> list[str]:
        """What the teacher's linear path reads of every visit."""
        teacher, title = self.teacher, self.setting.cohort.title
        texts = [teacher.prompt(visit, title).text for visit in self.visits]
        return as_text(teacher.tokenizer, [teacher.token_ids(text) for text in texts])

    def adapted_teacher(self, fold: Fold, shipped: Part, parts: Parts) -> Part:
        """The teacher with its head, and its linear path where it has one, tuned on a fold."""

        def compute() -> Outcome:
            known = parts.get(shipped).arrays["hidden"]
            training, validation, test = (
                known[rows] for rows in (fold.training, fold.validation, fold.test)
            )
            head = teacher_adaptation.adapt(
                self.head,
                training,
                self.truth[fold.training],
                validation,
                self.truth[fold.validation],
                pipeline.score_logits,
                self.setting.recipe.seed,
            )
            path = self.teacher.linear_path
            if path:
                path = path.adapted(self._read(fold.training), self.truth[fold.training])

            def logits(hidden: np.ndarray, rows: Sequence[int]) -> np.ndarray:
                said = teacher_adaptation.logits(head, hidden)
                return together(said, path.logits(self._read(rows))) if path else said

            return self.settled(fold, logits(validation, fold.validation), logits(test, fold.test))

        name = f"teacher_adapted.fold-{fold.number}"
        return self.part(name, compute, rows=vars(fold), persistence=persistence.PENALTY)

    def _read(self, rows: Sequence[int]) -> list[str]:
        return [self.prompts[row] for row in rows]

    def baseline(self, name: str, fold: Fold) -> Part:
        """A baseline, fitted on a fold."""

        def compute() -> Outcome:
            model = fit_baseline(
                baseline_class(BASELINES[name]),
                self.chosen(fold.training),
                self.chosen(fold.validation),
                self.vocabulary,
                self.setting.recipe.seed,
            )
            probability, selected = model.predict(self.chosen(fold.test))
            arrays = {"score": probability, "selected": selected}
            return Outcome({}, _stored({"probability": probability, **arrays}))

        return self.part(f"{name}.fold-{fold.number}", compute, rows=vars(fold))

    def recalibrated(self, model: str, shipped: Part, parts: Parts, fold: Fold) -> Part:
        """The pair's own model with calibration and threshold of a fold's tuning visits."""

        def compute() -> Outcome:
            logits = parts.get(shipped).arrays["logits"]
            rows = fold.training + fold.validation
            return predicted(logits[fold.test], self.calibrated(logits[rows], rows))

        return self.part(f"{model}_recalibrated.fold-{fold.number}", compute, rows=vars(fold))


def predicted(logits: np.ndarray, calibration: Calibration) -> Outcome:
    """Return what a calibrated model predicts."""
    probability = calibration.probability(logits)
    selected = calibration.select(probability)
    facts = {"threshold": calibration.threshold}
    return Outcome(
        facts, _stored({"probability": probability, "selected": selected, "score": logits})
    )


def _stored(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    kinds = {"selected": np.uint8}
    return {name: np.asarray(array, kinds.get(name, np.float32)) for name, array in arrays.items()}


def _check(setting: Setting, folds: int, visits: Sequence[Visit]) -> None:
    cohort, pair = setting.cohort, setting.pair
    if pair.manifest["cohort"]["fingerprint"] == cohort.fingerprint:
        raise WorkbenchError(
            f"{cohort.folder}: this pair was trained on this cohort; --folds is for another one"
        )
    patients = len({visit.patient_id for visit in visits})
    if not 2 <= folds <= patients // 4:
        raise WorkbenchError(
            f"--folds {folds}: expected 2 to {patients // 4}, a quarter of the {patients} patients "
            f"with labelled visits in {cohort.folder}"
        )


def _plan(setting: Setting, clinic: Clinic, folds: list[Fold]) -> dict[str, list[Part]]:
    """Return model → its parts: one for all visits, or one a fold."""
    parts = Parts(setting.output)
    shipped = {model: clinic.shipped(model) for model in ("teacher", "student")}
    named = {model: [part] for model, part in shipped.items()}
    for model, part in shipped.items():
        named[f"{model}_recalibrated"] = [
            clinic.recalibrated(model, part, parts, fold) for fold in folds
        ]
    named["student_adapted"] = [clinic.adapted_student(fold) for fold in folds]
    named["teacher_adapted"] = [
        clinic.adapted_teacher(fold, shipped["teacher"], parts) for fold in folds
    ]
    for name in GIVEN_THE_FOLDS:
        named[name] = [clinic.baseline(name, fold) for fold in folds]
    return named


def _report(setting, visits, clinic: Clinic, named, outcomes, folds: int) -> dict:
    yardstick = Yardstick(visits, visits, clinic.vocabulary, setting.resamples)
    split = make_folds(visits, folds, setting.recipe.seed)
    models, values = {}, {}
    for name, parts in named.items():
        claims = name not in BASELINES or BASELINES[name].claims
        found = [outcomes[part.name] for part in parts]
        if name in ("teacher", "student"):
            logits, rule = found[0].arrays["logits"], clinic.pair.calibration[name]
            found_arrays = predicted(logits, rule).arrays
        else:
            found_arrays = _gathered(found, split, clinic.truth.shape)
        one = Prediction(
            found_arrays["probability"],
            found_arrays["selected"].astype(bool),
            found_arrays["score"],
            claims,
        )
        values[name] = yardstick.values([one])
        models[name] = {
            "title": TITLES.get(name) or BASELINES[name].title,
            "groups": yardstick.summary([one], values[name]),
            "runs": [outcome.facts for outcome in found],
        }
    tuned = [name for name in ("teacher_adapted", "student_adapted") if name in models]
    against = [*GIVEN_THE_FOLDS, "teacher", "student"]
    paired = [row for a in tuned for b in against for row in yardstick.paired(a, b, values)]
    return {
        "questions": {"folds": {"folds": folds, "models": list(models), "paired": paired}},
        "models": models,
        "counts": yardstick.counts(),
        "interactions": yardstick.interactions(),
        "not_measured": [
            "Teacher with its adapters tuned too",
            "RQ1 to RQ4: not asked for with --folds",
        ],
        "settings": settings_of(setting) | {"seeds": [setting.recipe.seed]},
    }


def _gathered(found: list[Outcome], folds: list[Fold], shape) -> dict[str, np.ndarray]:
    """Put the folds' test visits back in order."""
    arrays = {name: np.zeros(shape, array.dtype) for name, array in found[0].arrays.items()}
    for outcome, fold in zip(found, folds, strict=True):
        for name, array in outcome.arrays.items():
            arrays[name][fold.test] = array
    return arrays
