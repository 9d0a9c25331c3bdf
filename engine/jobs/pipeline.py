"""The stages of a training run: teacher, hidden states, student, finished pair.

    train_pair(cohort, recipe, output)

A run folder holds `run.json` (cohort and recipe), `teacher/`, `hidden_states/` and `pair/`, each of
which appears whole when its stage ends, `checkpoints/` (with the teacher's TensorBoard logs),
`logs/` (the students') and `metrics.jsonl`.
"""

import hashlib
import os
import platform
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import torch

from engine.config import Recipe, save_recipe
from engine.errors import WorkbenchError
from engine.evaluation.calibration import Calibration, best_threshold, calibrate
from engine.evaluation.drift import describe
from engine.evaluation.metrics import average_precision, jaccard
from engine.files import read_json, sha256, whole_folder, write_json
from engine.jobs import lessons
from engine.jobs.card import render_card
from engine.jobs.run_record import STAGES, open_run, require_same_run
from engine.records.cohort import Cohort
from engine.records.labels import label_matrix
from engine.records.schema import Visit
from engine.registry.pair import ADAPTER, CARD, METRICS, STUDENT, UNDISTILLED, seal
from engine.student import inference as student_inference
from engine.student import training as student_training
from engine.student.model import Student
from engine.teacher import distributed, hidden_states, preparation
from engine.teacher import training as teacher_training
from engine.teacher.base_model import load_tokenizer
from engine.teacher.data import build_examples
from engine.teacher.model import WEIGHTS
from engine.teacher.training import LOWER_LAYERS

Say = Callable[[str], None]
Report = Callable[[str, int, int], None]  # part of a stage, steps done, of how many


def train_pair(
    cohort: Cohort, recipe: Recipe, output: Path, resume: bool = False, say: Say = print
) -> Path:
    """Run every stage; returns the finished pair's folder.

    Under `torchrun` the processes share the teacher; the first one alone does the rest.
    """
    if resume and (output / "teacher").is_dir():
        say("teacher: finished already")
    else:
        train_teacher(cohort, recipe, output, resume, say)
    if not distributed.is_first():
        return output / "pair"
    if resume and lessons.is_cached(output, _read_by_teacher(cohort, recipe)):
        say("hidden states: finished already")
    else:
        cache_hidden_states(cohort, recipe, output, say)
    return train_student(cohort, recipe, output, say, resume)


def train_teacher(
    cohort: Cohort,
    recipe: Recipe,
    output: Path,
    resume: bool = False,
    say: Say = print,
    report: Report | None = None,
) -> Path:
    """Teach the language model on the training split; returns `output/teacher`.

    Under `torchrun` every process calls this; the first one writes and says what is done. What it
    kept of the lower layers stays for `cache_hidden_states`; else call `forget_lower_layers`.
    Raises WorkbenchError when `output` holds something else than a run, or another run to resume.
    """
    training, validation = training_visits(cohort, recipe), validation_visits(cohort, recipe)
    tokenizer = load_tokenizer(recipe.teacher.base_model)
    say = say if distributed.is_first() else _silent
    with distributed.connected():
        distributed.first_only(lambda: open_run(output, cohort, recipe, resume))
        _prepare(recipe, output, say)
        with _timed(output, "teacher", say, add=resume):
            say(f"teacher: {len(training):,} training visits, {len(validation):,} for validation")
            examples, held_out = (
                build_examples(visits, cohort.title, tokenizer, recipe.prompt, cohort.vocabulary)
                for visits in (training, validation)
            )
            return teacher_training.train(
                recipe,
                tokenizer,
                examples,
                held_out,
                score_logits,
                output,
                resume,
                report and partial(report, "teacher"),
            )


def _prepare(recipe: Recipe, output: Path, say: Say) -> None:
    """Let the base model read terminology text first, where the recipe asks for it."""
    if recipe.teacher.preparation is None:
        return
    if distributed.first_only(lambda: preparation.is_finished(recipe, output)):
        say("preparation: finished already")
        return
    with _timed(output, "preparation", say):
        distributed.first_only(lambda: preparation.prepare(recipe, output))


def cache_hidden_states(
    cohort: Cohort, recipe: Recipe, output: Path, say: Say = print, report: Report | None = None
) -> Path:
    """Run the taught model once over all visits the student learns from or is measured on."""
    if not (output / "teacher").is_dir():
        raise WorkbenchError(
            f"{output / 'teacher'}: no trained teacher there; run `train teacher` first"
        )
    require_same_run(output, cohort, recipe)
    with _timed(output, "hidden states", say):
        teacher = lessons.open_teacher(cohort, recipe, output)
        visits = _read_by_teacher(cohort, recipe)
        done = hidden_states.compute(
            teacher,
            output / "teacher",
            visits,
            cohort.title,
            output,
            report=report and partial(report, "hidden states"),
            kept=lessons.kept_by_training(teacher, recipe, output),
        )
    forget_lower_layers(output)
    return done


def forget_lower_layers(output: Path) -> None:
    """Remove what a run kept of the base model's lower layers: about 1 kB a token."""
    shutil.rmtree(output / LOWER_LAYERS, ignore_errors=True)


def train_student(
    cohort: Cohort,
    recipe: Recipe,
    output: Path,
    say: Say = print,
    resume: bool = False,
    report: Report | None = None,
) -> Path:
    """Train the student with and without distillation and finish the pair in `output/pair`.

    `resume` goes on from the last checkpoint, or from the start if there is none yet.
    """
    cached = hidden_states.load(output, output / "teacher")
    forget_lower_layers(output)  # if the process died just before it could do so
    require_same_run(output, cohort, recipe)
    training, validation = training_visits(cohort, recipe), validation_visits(cohort, recipe)
    learnt_from = lessons.gather(cohort, recipe, output, training, cached)
    logits = {"teacher": cached.of(validation)[1]}
    students = {}
    for name, distil in (("student", True), ("student_undistilled", False)):
        with _timed(output, name.replace("_", " "), say, add=resume):
            students[name] = student_training.train(
                recipe,
                cohort.vocabulary,
                learnt_from,
                validation,
                score_logits,
                output,
                distil,
                resume,
                report and partial(report, name.replace("_", " ")),
            )
        logits[name] = student_inference.predict(
            students[name], validation, cohort.vocabulary, recipe
        )
    pair = _finish(cohort, recipe, output, students, logits, (training, validation))
    for name in students:
        student_training.checkpoint(output, name).unlink()
    return pair


def score_logits(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return the validation metrics that choose a checkpoint: PRAUC, and the best Jaccard.

    Both arrays are (visits, groups). Raises WorkbenchError when the training has diverged.
    """
    if not np.isfinite(logits).all():
        raise WorkbenchError("the training diverged; lower learning_rate in the recipe")
    truth = labels > 0
    probability = Calibration().probability(logits)
    selected = probability >= best_threshold(probability, truth)
    return {
        "prauc": float(average_precision(truth, probability).mean()),
        "jaccard": float(jaccard(truth, selected).mean()),
    }


def training_visits(cohort: Cohort, recipe: Recipe) -> list[Visit]:
    """Return the labelled visits of the training patients a recipe asks for."""
    if not cohort.vocabulary.medications:
        raise WorkbenchError(
            f"{cohort.folder}: its vocabulary has no medication group, so there is nothing to "
            "learn; ingest more patients"
        )
    visits = _some_patients(cohort, "train", recipe.data.training_patients, recipe.seed)
    if recipe.data.samples == "every":
        return visits
    return list({visit.patient_id: visit for visit in visits}.values())  # each patient's last


def validation_visits(cohort: Cohort, recipe: Recipe) -> list[Visit]:
    """Return the labelled visits of the validation patients a recipe asks for."""
    return _some_patients(cohort, "validation", recipe.data.validation_patients, recipe.seed)


def hardware() -> str:
    """Describe the machine in a line: graphics card where there is one, else processor."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass  # not Linux: the architecture's name has to do
    return f"{os.cpu_count()} CPU cores, {model}, no GPU"


def _read_by_teacher(cohort: Cohort, recipe: Recipe) -> list[Visit]:
    """Return the visits whose teacher outputs the student and the calibration need."""
    learnt_from = lessons.to_cache(cohort, recipe, training_visits(cohort, recipe))
    return learnt_from + validation_visits(cohort, recipe)


def _some_patients(cohort: Cohort, split: str, patients: int | None, seed: int) -> list[Visit]:
    visits = cohort.samples(split)
    if not visits:
        raise WorkbenchError(
            f"{cohort.folder}: no labelled visits in part '{split}'; "
            "see the funnel in its manifest.json, or ingest more patients"
        )
    if patients is None:
        return visits
    everyone = sorted({visit.patient_id for visit in visits})
    chosen = set(random.Random(seed).sample(everyone, min(patients, len(everyone))))
    return [visit for visit in visits if visit.patient_id in chosen]


@contextmanager
def _timed(output: Path, stage: str, say: Say, add: bool = False) -> Iterator[None]:
    """Record how long a stage took; `add` it to what an earlier, stopped attempt took."""
    say(f"{stage}: started")
    start = time.perf_counter()
    try:
        yield
    finally:
        if distributed.is_first():
            _keep_time(output, stage, time.perf_counter() - start, add)
    say(f"{stage}: done in {time.perf_counter() - start:,.0f} s")


def _keep_time(output: Path, stage: str, seconds: float, add: bool) -> None:
    path = output / STAGES
    stages = read_json(path, "remove it") if path.exists() else {}
    earlier = stages.get(stage, {}).get("seconds", 0) if add else 0
    stages[stage] = {"seconds": earlier + round(seconds, 1), "hardware": hardware()}
    write_json(path, stages)


def _silent(text: str) -> None:
    """Say nothing, as every process but the first."""


def _finish(
    cohort: Cohort,
    recipe: Recipe,
    output: Path,
    students: dict[str, Student],
    logits: dict[str, np.ndarray],
    parts: tuple[Sequence[Visit], Sequence[Visit]],
) -> Path:
    """Calibrate on validation and put the pair's folder together."""
    training, validation = parts
    calibration, reached = _calibrate(logits, validation, cohort, recipe)
    metrics = {
        "validation": {"visits": len(validation), **reached},
        "inputs": describe(training),
        "stages": read_json(output / STAGES, "run `train pair` again"),
    }
    created = datetime.now(UTC)
    facts = {
        "created": created.isoformat(timespec="seconds"),
        "base_model": recipe.teacher.base_model,
        "cohort": {
            "fingerprint": cohort.fingerprint,
            "training_patients": len({visit.patient_id for visit in training}),
            "training_visits": len(training),
        },
    }
    with whole_folder(output / "pair") as building:
        shutil.copytree(output / "teacher", building / ADAPTER)
        if recipe.teacher.preparation:
            shutil.copytree(output / preparation.FOLDER, building / preparation.FOLDER)
        student_inference.save(students["student"], building / STUDENT)
        student_inference.save(students["student_undistilled"], building / UNDISTILLED)
        facts = {"version": _version(recipe, created, building), **facts}
        cohort.vocabulary.save(building / "vocabulary.json")
        save_recipe(recipe, building / "recipe.yaml")
        write_json(building / "calibration.json", calibration)
        write_json(building / METRICS, metrics)
        (building / CARD).write_text(render_card(facts, recipe, metrics), encoding="utf-8")
        seal(building, facts)
    return output / "pair"


def _version(recipe: Recipe, created: datetime, pair: Path) -> str:
    """Name a pair by recipe, day and weights: another student makes another version."""
    sums = sha256(pair / ADAPTER / WEIGHTS) + sha256(pair / STUDENT)
    return f"{recipe.name}-{created:%Y%m%d}-{hashlib.sha256(sums.encode()).hexdigest()[:8]}"


def _calibrate(
    logits: dict[str, np.ndarray], validation: Sequence[Visit], cohort: Cohort, recipe: Recipe
) -> tuple[dict, dict]:
    """Return each model's calibration as plain numbers, and what it reaches with it."""
    truth, missing = label_matrix(validation, cohort.vocabulary)
    patients = np.array([visit.patient_id for visit in validation])
    calibration, reached = {}, {}
    for model, values in logits.items():
        fitted = calibrate(values, truth, patients, missing, recipe.calibration, recipe.coverage)
        selected = fitted.select(fitted.probability(values))
        calibration[model] = fitted.to_json()
        reached[model] = {
            "prauc": float(average_precision(truth, values, missing).mean()),  # logits rank
            "jaccard": float(jaccard(truth, selected, missing).mean()),
        }
    return calibration, reached
