"""The stages of a training run: teacher, hidden states, student, finished pair.

    train_pair(cohort, recipe, output)

A run folder holds `teacher/`, `hidden_states/`, `pair/`, `checkpoints/`, `logs/` and
`metrics.jsonl`; each of the first three appears whole when its stage ends.
"""

import hashlib
import json
import os
import platform
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from engine.config import Recipe, save_recipe
from engine.errors import WorkbenchError
from engine.evaluation.calibration import Calibration, best_threshold, fit_temperature
from engine.evaluation.metrics import average_precision, jaccard
from engine.jobs.card import render_card
from engine.records.cohort import Cohort
from engine.records.schema import Visit
from engine.registry import ADAPTER, CARD, METRICS, STUDENT, UNDISTILLED, seal
from engine.student import inference as student_inference
from engine.student import training as student_training
from engine.teacher import hidden_states
from engine.teacher import training as teacher_training
from engine.teacher.base_model import load_tokenizer
from engine.teacher.data import build_examples, label_matrix
from engine.teacher.inference import Teacher

STAGES = "stages.json"  # how long each stage took, and on what
Say = Callable[[str], None]


def train_pair(
    cohort: Cohort, recipe: Recipe, output: Path, resume: bool = False, say: Say = print
) -> Path:
    """Run every stage; returns the finished pair's folder."""
    train_teacher(cohort, recipe, output, resume, say)
    cache_hidden_states(cohort, recipe, output, say)
    return train_student(cohort, recipe, output, say)


def train_teacher(
    cohort: Cohort, recipe: Recipe, output: Path, resume: bool = False, say: Say = print
) -> Path:
    """Teach the language model on the training split; returns `output/teacher`."""
    _open_run(output, cohort, recipe, resume)
    with _timed(output, "teacher", say):
        training, validation = training_visits(cohort, recipe), validation_visits(cohort, recipe)
        say(f"teacher: {len(training):,} training visits, {len(validation):,} for validation")
        tokenizer = load_tokenizer(recipe.teacher.base_model)
        examples, held_out = (
            build_examples(visits, cohort.title, tokenizer, recipe.prompt, cohort.vocabulary)
            for visits in (training, validation)
        )
        return teacher_training.train(
            recipe, tokenizer, examples, held_out, score_logits, output, resume
        )


def cache_hidden_states(cohort: Cohort, recipe: Recipe, output: Path, say: Say = print) -> None:
    """Run the taught model once over all visits the student learns from or is measured on."""
    with _timed(output, "hidden states", say):
        teacher = _teacher(cohort, recipe, output)
        visits = training_visits(cohort, recipe) + validation_visits(cohort, recipe)
        hidden_states.compute(teacher, output / "teacher", visits, cohort.title, output)


def train_student(cohort: Cohort, recipe: Recipe, output: Path, say: Say = print) -> Path:
    """Train the student with and without distillation and finish the pair in `output/pair`."""
    cached = hidden_states.load(output, output / "teacher")
    training, validation = training_visits(cohort, recipe), validation_visits(cohort, recipe)
    hidden, _ = cached.of(training)
    _, teacher_logits = cached.of(validation)
    students = {}
    for name, distil in (("student", True), ("student_undistilled", False)):
        with _timed(output, name.replace("_", " "), say):
            students[name] = student_training.train(
                recipe,
                cohort.vocabulary,
                training,
                validation,
                hidden,
                score_logits,
                output,
                distil,
            )
    logits = {"teacher": teacher_logits} | {
        name: student_inference.predict(student, validation, cohort.vocabulary, recipe)
        for name, student in students.items()
    }
    truth = label_matrix(validation, cohort.vocabulary).numpy() > 0
    return _finish(cohort, recipe, output, students, logits, truth)


def score_logits(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return the validation metrics that choose a checkpoint: PRAUC, and the best Jaccard."""
    truth = labels > 0
    probability = Calibration().probability(logits)
    selected = probability >= best_threshold(probability, truth)
    return {
        "prauc": float(average_precision(truth, probability).mean()),
        "jaccard": float(jaccard(truth, selected).mean()),
    }


def training_visits(cohort: Cohort, recipe: Recipe) -> list[Visit]:
    """Return the labelled visits of the training patients a recipe asks for."""
    return _some_patients(cohort.samples("train"), recipe.data.training_patients, recipe.seed)


def validation_visits(cohort: Cohort, recipe: Recipe) -> list[Visit]:
    """Return the labelled visits of the validation patients a recipe asks for."""
    return _some_patients(
        cohort.samples("validation"), recipe.data.validation_patients, recipe.seed
    )


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


def _some_patients(visits: list[Visit], patients: int | None, seed: int) -> list[Visit]:
    if patients is None:
        return visits
    everyone = sorted({visit.patient_id for visit in visits})
    chosen = set(random.Random(seed).sample(everyone, min(patients, len(everyone))))
    return [visit for visit in visits if visit.patient_id in chosen]


def _open_run(output: Path, cohort: Cohort, recipe: Recipe, resume: bool) -> None:
    """Start a run folder, or make sure that a resumed one is the same run."""
    output.mkdir(parents=True, exist_ok=True)
    run = {"cohort": cohort.fingerprint, "recipe": recipe.model_dump(mode="json")}
    path = output / "run.json"
    if resume and path.exists() and json.loads(path.read_text(encoding="utf-8")) != run:
        raise WorkbenchError(
            f"{output}: was started with another cohort or recipe; "
            "resume with the same ones, or name a new --output"
        )
    if not resume:
        for leftover in ("metrics.jsonl", STAGES):
            (output / leftover).unlink(missing_ok=True)
        for leftover in ("teacher", "hidden_states", "pair", "logs"):
            shutil.rmtree(output / leftover, ignore_errors=True)
    path.write_text(json.dumps(run), encoding="utf-8")


def _teacher(cohort: Cohort, recipe: Recipe, output: Path) -> Teacher:
    adapter = output / "teacher"
    if not adapter.is_dir():
        raise WorkbenchError(f"{adapter}: no trained teacher there; run `train teacher` first")
    return Teacher(
        recipe.teacher.base_model,
        adapter,
        len(cohort.vocabulary.medications),
        recipe.prompt,
        recipe.teacher.precision,
    )


@contextmanager
def _timed(output: Path, stage: str, say: Say) -> Iterator[None]:
    say(f"{stage}: started")
    start = time.perf_counter()
    yield
    seconds = round(time.perf_counter() - start, 1)
    path = output / STAGES
    stages = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    stages[stage] = {"seconds": seconds, "hardware": hardware()}
    path.write_text(json.dumps(stages, indent=2) + "\n", encoding="utf-8")
    say(f"{stage}: done in {seconds:,.0f} s")


def _finish(
    cohort: Cohort,
    recipe: Recipe,
    output: Path,
    students: dict,
    logits: dict[str, np.ndarray],
    truth: np.ndarray,
) -> Path:
    """Calibrate on validation and put the pair's folder together, beside its place."""
    final = output / "pair"
    building = Path(tempfile.mkdtemp(prefix=".pair-", dir=output))
    shutil.copytree(output / "teacher", building / ADAPTER)
    student_inference.save(students["student"], building / STUDENT)
    student_inference.save(students["student_undistilled"], building / UNDISTILLED)
    cohort.vocabulary.save(building / "vocabulary.json")
    save_recipe(recipe, building / "recipe.yaml")
    calibration, validation = {}, {}
    for model, values in logits.items():
        temperature = fit_temperature(values, truth)
        probability = Calibration(temperature).probability(values)
        threshold = best_threshold(probability, truth)
        calibration[model] = {"temperature": temperature, "threshold": threshold}
        validation[model] = score_logits(values, truth.astype(float))
    _write_json(building / "calibration.json", calibration)
    metrics = {
        "validation": {"visits": len(truth), **validation},
        "stages": json.loads((output / STAGES).read_text(encoding="utf-8")),
    }
    _write_json(building / METRICS, metrics)
    weights = (building / ADAPTER / "adapter_model.safetensors").read_bytes()
    created = datetime.now(UTC)
    facts = {
        "version": f"{recipe.name}-{created:%Y%m%d}-{hashlib.sha256(weights).hexdigest()[:8]}",
        "created": created.isoformat(timespec="seconds"),
        "base_model": recipe.teacher.base_model,
        "cohort": {
            "fingerprint": cohort.fingerprint,
            "training_patients": len({v.patient_id for v in training_visits(cohort, recipe)}),
            "training_visits": len(training_visits(cohort, recipe)),
        },
    }
    (building / CARD).write_text(render_card(facts, recipe, metrics), encoding="utf-8")
    seal(building, facts)
    building.chmod(0o755)
    for file in building.rglob("*.safetensors"):
        file.chmod(0o644)  # safetensors writes 0600; a server's own user must be able to read
    shutil.rmtree(final, ignore_errors=True)
    building.rename(final)
    return final


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
