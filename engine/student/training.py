"""Train the student, with or without the teacher.

    student = train(recipe, vocabulary, lessons, validation, score, output)

Killed and started again with `resume`, it ends with the same weights (bitwise on a CPU).
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm
from transformers import get_cosine_schedule_with_warmup

from engine.config import Recipe
from engine.errors import WorkbenchError
from engine.files import write_text
from engine.records.schema import Visit
from engine.records.vocabulary import Vocabulary
from engine.student import checkpoints
from engine.student.categories import Categories
from engine.student.classroom import Classroom, Lessons
from engine.student.inference import logits_of, ready
from engine.student.model import Student
from engine.student.objective import objective
from engine.student.optimizer import optimizer_for
from engine.student.teacher_path import start_from_teacher
from engine.student.title_embeddings import start_from_titles

Score = Callable[[np.ndarray, np.ndarray], dict[str, float]]  # (logits, labels) -> named metrics

WITHOUT_TEACHER = {
    "distillation_weight": 0.0,
    "logit_weight": 0.0,
    "embeddings_from_teacher": False,
    "linear_path_from_teacher": 0.0,
    "unlabelled": 0,
    "online": False,
}


def train(
    recipe: Recipe,
    vocabulary: Vocabulary,
    lessons: Lessons,
    validation: Sequence[Visit],
    score: Score,
    output: Path,
    distil: bool = True,
    resume: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> Student:
    """Train a student and return it as it was at its best validation PRAUC.

    Args:
        score: metrics on validation; must name `prauc`.
        output: run folder, for `metrics.jsonl`, TensorBoard logs and the checkpoint.
        distil: False leaves out all that comes from the teacher and changes nothing else.
        resume: go on from the checkpoint in `output`, where there is one.
        report: called with the epochs done, and all of them, after each.
    """
    if not lessons.training or not validation:
        raise WorkbenchError("the cohort has no labelled visits to train or validate a student on")
    stage = "student" if distil else "student_undistilled"
    if not distil:
        student_recipe = recipe.student.model_copy(update=WITHOUT_TEACHER)
        recipe = recipe.model_copy(update={"student": student_recipe})
    options = recipe.student
    torch.manual_seed(recipe.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    student = _untrained(recipe, vocabulary, lessons).to(device)
    classroom = Classroom(lessons, vocabulary, recipe, student.categories, device)
    student.start_at(classroom.labels().to(device))
    optimizer = optimizer_for(student, options)
    steps = classroom.batches * options.epochs
    schedule = get_cosine_schedule_with_warmup(optimizer, steps // 20, steps)
    progress, best = checkpoints.Progress(), {}
    kept, key = checkpoint(output, stage), recipe.model_dump_json()
    if not resume:
        kept.unlink(missing_ok=True)
    if kept.exists():
        progress, best = checkpoints.load(kept, key, student, optimizer, schedule)
    _forget_lines_after(output / "metrics.jsonl", stage, progress.epoch)
    held_out = classroom.pack(validation)
    truth = held_out.labels(classroom.groups).numpy()
    bar = tqdm(
        total=options.epochs, initial=progress.epoch, desc=stage.replace("_", " "), unit="epoch"
    )
    with bar, SummaryWriter(str(output / "logs" / stage), purge_step=progress.epoch + 1) as board:
        while not progress.finished:
            values = {
                **epoch(student, classroom, optimizer, schedule),
                **score(logits_of(student, held_out), truth),
            }
            progress.epoch, progress.waited = progress.epoch + 1, progress.waited + 1
            if values["prauc"] > progress.best:
                progress.best, progress.waited = values["prauc"], 0
                best = {name: value.clone() for name, value in student.state_dict().items()}
            progress.finished = (
                progress.epoch == options.epochs or progress.waited >= options.patience
            )
            _log(output, board, stage, progress.epoch, values)
            checkpoints.save(kept, key, progress, student, best, optimizer, schedule)
            bar.update()
            if report:
                report(progress.epoch, options.epochs)
            bar.set_postfix(loss=f"{values['loss']:.4f}", prauc=f"{values['prauc']:.4f}")
    student.load_state_dict(best)
    return ready(student.cpu())


def checkpoint(output: Path, stage: str) -> Path:
    """Return where a run keeps the state of a student's training."""
    return output / "checkpoints" / f"{stage}.safetensors"


def _untrained(recipe: Recipe, vocabulary: Vocabulary, lessons: Lessons) -> Student:
    from_titles = recipe.student.embeddings_from_teacher
    categories = Categories.known(vocabulary) if from_titles else None
    student = Student.sized_for(vocabulary, recipe, lessons.targets.hidden_size, categories)
    if from_titles:
        start_from_titles(student, vocabulary, lessons.titles)
    if recipe.student.linear_path_from_teacher:
        share = recipe.student.linear_path_from_teacher
        start_from_teacher(student, vocabulary, lessons.path, share)
    return student


def epoch(
    student: Student,
    classroom: Classroom,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> dict[str, float]:
    """Take every batch once; returns the mean of each part of the loss over the steps."""
    student.train()
    steps = []
    for batch, teacher, labelled in classroom:
        loss, parts = objective(
            student, batch, teacher, classroom.options, labelled, classroom.interacts
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        steps.append(torch.stack(list(parts.values())))
    means = torch.stack(steps).double().mean(dim=0).tolist()
    return dict(zip(parts, means, strict=True))


def _log(
    output: Path, board: SummaryWriter, stage: str, epoch: int, values: dict[str, float]
) -> None:
    for name, value in values.items():
        board.add_scalar(name, value, epoch)
    with (output / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"stage": stage, "epoch": epoch, **values}) + "\n")


def _forget_lines_after(file: Path, stage: str, epoch: int) -> None:
    """Drop what an earlier attempt logged of epochs that are to come."""
    if not file.exists():
        return
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = []
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue  # the process died while writing it
        if value.get("stage") != stage or value.get("epoch", 0) <= epoch:
            kept.append(line)
    if kept != lines:
        write_text(file, "".join(kept))
