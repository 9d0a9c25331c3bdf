"""The models of a study as parts: the teacher, students with edits, and the baselines."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors import safe_open

from engine.config import Recipe
from engine.errors import WorkbenchError
from engine.evaluation.calibration import calibrate
from engine.jobs import lessons, pipeline
from engine.jobs.study_baselines import BASELINES, baseline_class, fit_baseline
from engine.jobs.study_measures import Prediction
from engine.jobs.study_parts import Outcome, Part, Parts
from engine.records.cohort import Cohort
from engine.records.labels import label_matrix
from engine.records.schema import Visit
from engine.registry.pair import ADAPTER, Pair
from engine.student import inference as student_inference
from engine.student import training as student_training
from engine.student.distillation import CachedTargets
from engine.student.perturbed import MARK
from engine.student.title_embeddings import TitleReader
from engine.teacher import hidden_states
from engine.teacher.base_model import load_tokenizer
from engine.teacher.data import build_examples
from engine.teacher.inference import Teacher
from engine.teacher.linear_path import FILE as LINEAR_PATH
from engine.teacher.linear_path import LinearPath, apart, as_text
from engine.teacher.model import WEIGHTS

LATENCY_VISITS = 20  # single visits timed, of which the median is told
LATENCY_BATCH = 64
LATENCY_SECONDS = 10  # after which no further visit is timed


class Workshop:
    """Makes the parts of one study: a cohort, a recipe, and a teacher given or to be trained."""

    def __init__(
        self, cohort: Cohort, recipe: Recipe, parts: Parts, output: Path, pair: Pair | None
    ) -> None:
        self.cohort, self.recipe, self.parts = cohort, recipe, parts
        self.output, self.pair = output, pair
        self.vocabulary = cohort.vocabulary

    @cached_property
    def training(self) -> list[Visit]:
        return pipeline.training_visits(self.cohort, self.recipe)

    @cached_property
    def validation(self) -> list[Visit]:
        return pipeline.validation_visits(self.cohort, self.recipe)

    @cached_property
    def test(self) -> list[Visit]:
        visits = self.cohort.samples("test")
        if not visits:
            raise WorkbenchError(
                f"{self.cohort.folder}: no labelled visits in part 'test'; ingest more patients"
            )
        return visits

    def states(self, recipe: Recipe, name: str = "teacher_states", lessons: bool = True) -> Part:
        """Hidden states and logits of the teacher of a recipe, on all visits of the study.

        Without `lessons` only on those that it is measured on: no student learns from it.
        """
        teacher = self._teacher(recipe)
        if self._is_given(name):
            files = self.pair.manifest["files"]
            teacher = {name: files[name] for name in files if name.startswith(f"{ADAPTER}/")}
        settings = {
            "kind": "states",
            "cohort": self.cohort.fingerprint,
            "data": recipe.data.model_dump(mode="json"),
            "seed": recipe.seed,
            "prompt": recipe.prompt.model_dump(mode="json"),
            "teacher": teacher,
            "lessons": lessons,
            "unlabelled": _copies_of(recipe) if lessons else None,
        }

        def compute() -> Outcome:
            learnt = [*self.training, *self._unlabelled(recipe)] if lessons else []
            return self._read(recipe, name, [*learnt, *self.validation, *self.test])

        return Part(name, settings, compute, alone=True)

    def copies(self, recipe: Recipe) -> Part:
        """What the study's teacher says of the perturbed copies that only `recipe` asks for."""
        states = self.states(self.recipe)
        settings = {"kind": "copies", "states": states.key, "unlabelled": _copies_of(recipe)}

        def compute() -> Outcome:
            return self._read(self.recipe, "teacher_states", self._unlabelled(recipe))

        return Part("teacher_states_copies", settings, compute, alone=True)

    def teacher(self, recipe: Recipe, name: str = "teacher", lessons: bool = True) -> Part:
        """The teacher itself, calibrated on validation; `lessons` as in `states`."""
        states = self.states(recipe, f"{name}_states", lessons)

        def compute() -> Outcome:
            known = self.parts.get(states)
            logits = known.arrays["logits"][-len(self.validation) - len(self.test) :]
            split = len(self.validation)
            facts = {key: known.facts[key] for key in ("parameters", "trained", "bytes", "latency")}
            return self._outcome(logits[:split], logits[split:], facts)

        return Part(
            name,
            {"kind": "teacher", "states": states.key, "calibration": recipe.calibration},
            compute,
            (states,),
            alone=True,
        )

    def teacher_half(self, half: str) -> Part:
        """One half of a teacher with a linear path: "language_model" or "linear_path", alone."""
        states = self.states(self.recipe)

        def compute() -> Outcome:
            visits = [*self.validation, *self.test]
            both = self.parts.get(states).arrays["logits"][-len(visits) :]
            adapter = self._adapter(self.recipe, states.name)
            path = LinearPath.load(adapter / LINEAR_PATH, both.shape[1])
            tokenizer = load_tokenizer(self.recipe.teacher.base_model)
            read = build_examples(
                visits, self.cohort.title, tokenizer, self.recipe.prompt, self.vocabulary
            )
            logits = path.logits(as_text(tokenizer, read.input_ids))
            if half == "language_model":
                logits = apart(both, logits)
            split, facts = len(self.validation), {"parameters": None, "bytes": None}
            return self._outcome(logits[:split], logits[split:], facts)

        return Part(f"teacher_{half}", {"kind": half, "states": states.key}, compute, (states,))

    def student(
        self,
        recipe: Recipe,
        seed: int,
        name: str = "student",
        distil: bool = True,
        teacher: str = "teacher",
        taught_by: Recipe | None = None,
    ) -> Part:
        """A student with one seed; `taught_by` is the recipe of its teacher, when another."""
        taught_by = taught_by or self.recipe
        needs = [self.states(taught_by, f"{teacher}_states")]
        if distil and recipe.student.unlabelled and not taught_by.student.unlabelled:
            needs.append(self.copies(recipe))
        seeded = recipe.model_copy(update={"seed": self.recipe.seed + seed})
        settings = {
            "kind": "student",
            "states": [need.key for need in needs],
            "samples": recipe.data.samples,
            "student": recipe.student.model_dump(mode="json"),
            "profile": list(recipe.prompt.profile),
            "calibration": recipe.calibration,
            "seed": seeded.seed,
            "distil": distil,
        }

        def compute() -> Outcome:
            # Of the unseeded recipe: every seed learns from the same visits and copies.
            learnt_from = self._lessons(recipe, taught_by, needs, distil)
            work = self.output / "logs" / f"{name}.seed-{seed}"
            work.mkdir(parents=True, exist_ok=True)
            student = student_training.train(
                seeded,
                self.vocabulary,
                learnt_from,
                self.validation,
                pipeline.score_logits,
                work,
                distil,
            )

            def logits(visits: Sequence[Visit]) -> np.ndarray:
                return student_inference.predict(student, visits, self.vocabulary, recipe)

            weights = list(student.parameters())
            facts = {
                "parameters": sum(weight.numel() for weight in weights),
                "bytes": sum(weight.numel() * weight.element_size() for weight in weights),
                "latency": latency(logits, self.test),
            }
            return self._outcome(logits(self.validation), logits(self.test), facts)

        return Part(f"{name}.seed-{seed}", settings, compute, tuple(needs))

    def baseline(self, name: str, seed: int = 0) -> Part:
        """A baseline, fitted on the same visits."""
        baseline = BASELINES[name]
        cls = baseline_class(baseline)
        settings = {
            "kind": "baseline",
            "cohort": self.cohort.fingerprint,
            "data": self.recipe.data.model_dump(mode="json"),
            "choice": self.recipe.seed,
            "name": f"{baseline.module}.{baseline.name}",
            "seed": seed,
        }

        def compute() -> Outcome:
            model = fit_baseline(cls, self.training, self.validation, self.vocabulary, seed)
            probability, selected = model.predict(self.test)
            parameters = getattr(model, "parameters", None)
            facts = {
                "parameters": parameters,
                "bytes": None if parameters is None else 4 * parameters,
                "latency": latency(model.predict, self.test),
                "threshold": getattr(model, "threshold", None),
            }
            return Outcome(facts, _arrays(probability, selected))

        return Part(f"{name}.seed-{seed}" if baseline.seeded else name, settings, compute)

    def _lessons(
        self, recipe: Recipe, taught_by: Recipe, needs: Sequence[Part], distil: bool
    ) -> student_training.Lessons:
        """What a student learns from: the training visits, and what its recipe asks for beside."""
        copies = self._unlabelled(taught_by if len(needs) == 1 else recipe)
        visits, rows = [*self.training, *copies], self._rows(recipe, len(copies))
        known = [self.parts.get(need).arrays for need in needs]
        # The teacher's own part goes on with validation and test, which nobody learns from.
        first = len(visits) if len(needs) == 1 else len(self.training)
        hidden, logits = (
            np.concatenate([known[0][name][:first], *(more[name] for more in known[1:])])
            for name in ("hidden", "logits")
        )
        chosen = [visits[row] for row in rows]
        count = len(rows) // (1 + len(copies) // len(self.training))
        titles = None
        if distil and recipe.student.embeddings_from_teacher:
            teacher = self._open_teacher(taught_by, needs[0].name)
            embeddings = teacher.model.get_input_embeddings().weight.detach().float().cpu()
            titles = TitleReader(teacher.tokenizer, embeddings, self.cohort.title)
        targets = CachedTargets(hidden[rows], logits[rows], count)
        path = None
        if distil and recipe.student.linear_path_from_teacher:
            adapter = self._adapter(taught_by, needs[0].name)
            path = lessons.path_reader(
                self.cohort, taught_by.model_copy(update={"student": recipe.student}), adapter
            )
        return student_training.Lessons(chosen[:count], targets, chosen[count:], titles, path)

    def _rows(self, recipe: Recipe, copies: int) -> list[int]:
        """Rows of the training visits that a recipe takes, then of the copies of these."""
        own = range(len(self.training))
        if recipe.data != self.recipe.data:
            taken = {_key(visit) for visit in pipeline.training_visits(self.cohort, recipe)}
            own = [row for row in own if _key(self.training[row]) in taken]
        starts = range(0, len(self.training) + copies, len(self.training))
        return [start + row for start in starts for row in own]

    def _unlabelled(self, recipe: Recipe) -> list[Visit]:
        return lessons.unlabelled_visits(self.cohort, recipe, self.training)

    def _open_teacher(self, recipe: Recipe, name: str) -> Teacher:
        return Teacher.of(recipe, self._adapter(recipe, name), len(self.vocabulary.medications))

    def _adapter(self, recipe: Recipe, name: str) -> Path:
        if self._is_given(name):
            return self.pair.folder / ADAPTER
        return self._train_teacher(recipe, name)

    def _is_given(self, name: str) -> bool:
        return self.pair is not None and name == "teacher_states"

    def _kept_by_run(self) -> dict:
        """What the run that trained the given pair kept beside it: visit → hidden, logits."""
        if self.pair is None or not (self.pair.folder.parent / hidden_states.FOLDER).is_dir():
            return {}
        cached = hidden_states.load(self.pair.folder.parent, self.pair.folder / ADAPTER)
        same = self.recipe == self.pair.recipe  # else a perturbed visit may be another one
        return {
            key: (cached.hidden[row], cached.logits[row])
            for key, row in cached.rows.items()
            if same or MARK not in key[1]
        }

    def _read(self, recipe: Recipe, name: str, visits: Sequence[Visit]) -> Outcome:
        """Run a teacher over visits, but for those a training run has kept beside it."""
        adapter = self._adapter(recipe, name)
        model = self._open_teacher(recipe, name)
        kept = self._kept_by_run() if self._is_given(name) else {}
        new = [visit for visit in visits if _key(visit) not in kept]
        texts = [model.prompt(visit, self.cohort.title).text for visit in new]
        logits, hidden = model.predict(texts, progress="teacher reads")
        kept |= {
            _key(visit): row
            for visit, row in zip(new, zip(hidden, logits, strict=True), strict=True)
        }
        rows = [kept[_key(visit)] for visit in visits]

        def read(some: Sequence[Visit]) -> None:
            model.predict([model.prompt(visit, self.cohort.title).text for visit in some])

        weights = list(model.model.parameters())
        stored = {file.name: file for file in adapter.glob("*.safetensors")}
        beside = [file for name, file in stored.items() if name != WEIGHTS]  # a linear path
        more = sum(_stored_numbers(file) for file in beside)
        size = sum(weight.numel() * weight.element_size() for weight in weights)
        return Outcome(
            {
                "parameters": sum(weight.numel() for weight in weights) + more,
                "trained": _stored_numbers(stored[WEIGHTS]) + more,
                "bytes": size + sum(file.stat().st_size for file in beside),
                "latency": latency(read, self.test, batch=8),
            },
            {
                "hidden": np.stack([hidden for hidden, _ in rows]),
                "logits": np.stack([logits for _, logits in rows]),
            },
        )

    def _outcome(self, validation: np.ndarray, test: np.ndarray, facts: dict) -> Outcome:
        """Calibrate logits on validation and apply both numbers to the test visits."""
        truth, missing = label_matrix(self.validation, self.vocabulary)
        patients = np.array([visit.patient_id for visit in self.validation])
        calibration = calibrate(
            validation, truth, patients, missing, self.recipe.calibration, self.recipe.coverage
        )
        probability = calibration.probability(test)
        facts = facts | {"calibration": calibration.to_json(), "threshold": calibration.threshold}
        selected = calibration.select(probability)
        return Outcome(facts, _arrays(probability, selected) | {"score": test})

    def _teacher(self, recipe: Recipe) -> dict:
        """What a teacher still to be trained depends on."""
        return recipe.model_dump(mode="json", exclude={"student", "name"})

    def _train_teacher(self, recipe: Recipe, name: str) -> Path:
        """Train a teacher in its own run folder, going on where a killed study stopped."""
        mark = Part(name, self._teacher(recipe) | {"cohort": self.cohort.fingerprint}, Outcome).key
        run = self.output / "teachers" / f"{name.removesuffix('_states')}-{mark[:8]}"
        if (run / "teacher").is_dir():
            return run / "teacher"
        resume = any((run / "checkpoints").glob("checkpoint-*/trainer_state.json"))
        trained = pipeline.train_teacher(self.cohort, recipe, run, resume)
        pipeline.forget_lower_layers(run)
        return trained


def prediction(outcome: Outcome, claims: bool = True) -> Prediction:
    """Return what a part of a model predicts for the test visits."""
    arrays = outcome.arrays
    selected = arrays["selected"].astype(bool)
    return Prediction(arrays["probability"], selected, arrays.get("score"), claims)


def latency(
    predict: Callable[[Sequence[Visit]], object],
    visits: Sequence[Visit],
    batch: int = LATENCY_BATCH,
) -> dict:
    """Return the median milliseconds of one visit alone, and of a visit in a batch."""
    predict(visits[:1])  # the first call of a library is slow
    begin, alone = time.perf_counter(), []
    for visit in visits[:LATENCY_VISITS]:
        alone.append(_milliseconds(predict, [visit]))
        if time.perf_counter() - begin > LATENCY_SECONDS:
            break
    batch = min(batch, len(visits))
    together = statistics.median(_milliseconds(predict, visits[:batch]) for _ in range(3))
    return {
        "one_visit_ms": round(statistics.median(alone), 3),
        "batch": batch,
        "visit_of_batch_ms": round(together / batch, 3),
    }


def _milliseconds(predict, visits: Sequence[Visit]) -> float:
    start = time.perf_counter()
    predict(visits)
    return (time.perf_counter() - start) * 1000


def _arrays(probability: np.ndarray, selected: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "probability": np.asarray(probability, dtype=np.float32),
        "selected": np.asarray(selected, dtype=np.uint8),
    }


def _copies_of(recipe: Recipe) -> list[int | bool]:
    """What the perturbed copies of a recipe depend on."""
    options = recipe.student
    return [options.unlabelled, bool(options.unlabelled) and options.embeddings_from_teacher]


def _key(visit: Visit) -> tuple[str, str]:
    return visit.patient_id, visit.visit_id


def _stored_numbers(file: Path) -> int:
    """Count the numbers in a safetensors file from its header, whatever their precision."""
    with safe_open(file, "numpy") as stored:
        return sum(math.prod(stored.get_slice(name).get_shape()) for name in stored.keys())  # noqa: SIM118
