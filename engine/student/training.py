"""Train the student, with or without the teacher.

    student = train(recipe, vocabulary, lessons, validation, score, output)

Killed and started again with `resume`, it ends with the same weights (bitwise on a CPU).
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm
from transformers import get_cosine_schedule_with_warmup

from engine.config import Recipe, StudentRecipe
from engine.errors import WorkbenchError
from engine.files import write_text
from engine.records.schema import Visit
from engine.records.vocabulary import UNKNOWN, Vocabulary
from engine.student import checkpoints
from engine.student.categories import Categories, parents
from engine.student.distillation import Targets
from engine.student.inference import predict
from engine.student.model import Student
from engine.student.objective import objective
from engine.student.tensors import PAD, Batch, collate, encode
from engine.student.title_embeddings import TitleReader, start_from_titles
from engine.terminology.interactions import matrix

Score = Callable[[np.ndarray, np.ndarray], dict[str, float]]  # (logits, labels) -> named metrics

FORGOTTEN = 0.25  # of the hidden codes: their category too, so that "unknown" is still learnt
WITHOUT_TEACHER = {
    "distillation_weight": 0.0,
    "logit_weight": 0.0,
    "embeddings_from_teacher": False,
    "unlabelled": 0,
    "online": False,
}


@dataclass(frozen=True)
class Lessons:
    """What a student learns from."""

    training: Sequence[Visit]  # labelled
    targets: Targets  # of the training visits, then of the unlabelled ones
    unlabelled: Sequence[Visit] = ()
    titles: TitleReader | None = None  # needed for `embeddings_from_teacher`


def train(
    recipe: Recipe,
    vocabulary: Vocabulary,
    lessons: Lessons,
    validation: Sequence[Visit],
    score: Score,
    output: Path,
    distil: bool = True,
    resume: bool = False,
) -> Student:
    """Train a student and return it as it was at its best validation PRAUC.

    Args:
        score: metrics on validation; must name `prauc`.
        output: run folder, for `metrics.jsonl`, TensorBoard logs and the checkpoint.
        distil: False leaves out all that comes from the teacher and changes nothing else.
        resume: go on from the checkpoint in `output`, where there is one.
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
    classroom = _Classroom(lessons, vocabulary, recipe, student.categories, device)
    student.start_at(classroom.labels().to(device))
    optimizer = _optimizer(student, options)
    steps = classroom.batches * options.epochs
    schedule = get_cosine_schedule_with_warmup(optimizer, steps // 20, steps)
    progress, best = checkpoints.Progress(), {}
    kept, key = checkpoint(output, stage), recipe.model_dump_json()
    if not resume:
        kept.unlink(missing_ok=True)
    if kept.exists():
        progress, best = checkpoints.load(kept, key, student, optimizer, schedule)
    _forget_lines_after(output / "metrics.jsonl", stage, progress.epoch)
    groups = len(vocabulary.medications)
    truth = collate([encode(visit, vocabulary, 0, ()) for visit in validation], groups).labels
    bar = tqdm(
        total=options.epochs, initial=progress.epoch, desc=stage.replace("_", " "), unit="epoch"
    )
    with bar, SummaryWriter(str(output / "logs" / stage), purge_step=progress.epoch + 1) as board:
        while not progress.finished:
            parts = _epoch(student, classroom, options, optimizer, schedule)
            values = {
                **{name: float(np.mean([part[name] for part in parts])) for name in parts[0]},
                **score(predict(student, validation, vocabulary, recipe), truth.numpy()),
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
            bar.set_postfix(loss=f"{values['loss']:.4f}", prauc=f"{values['prauc']:.4f}")
    student.load_state_dict(best)
    return student.cpu().eval()


def checkpoint(output: Path, stage: str) -> Path:
    """Return where a run keeps the state of a student's training."""
    return output / "checkpoints" / f"{stage}.safetensors"


class _Classroom:
    """Lessons as batches: `batch_size` labelled visits, and their share of unlabelled ones."""

    def __init__(
        self,
        lessons: Lessons,
        vocabulary: Vocabulary,
        recipe: Recipe,
        categories: Categories | None,
        device: torch.device,
    ) -> None:
        self.options, self.targets, self.device = recipe.student, lessons.targets, device
        self.groups = len(vocabulary.medications)
        self.labelled = len(lessons.training)
        unlabelled = lessons.unlabelled if self.options.unlabelled else ()
        self.encoded = [
            encode(visit, vocabulary, self.options.max_history, recipe.prompt.profile, categories)
            for visit in (*lessons.training, *unlabelled)
        ]
        self.batches = math.ceil(self.labelled / self.options.batch_size)
        self.parents = parents(vocabulary, categories)
        self.interacts = None
        if self.options.interaction_weight:
            self.interacts = torch.from_numpy(matrix(vocabulary.medications)).float().to(device)

    def labels(self) -> torch.Tensor:
        """Return (training visits, groups) labels."""
        return collate(self.encoded[: self.labelled], self.groups).labels

    def __iter__(self):
        """Yield (batch, teacher's outputs or None, number of labelled visits) in random order."""
        size, copies = self.options.batch_size, self.options.unlabelled
        chosen = list(torch.randperm(self.labelled).split(size))
        if extra := len(self.encoded) - self.labelled:
            more = (self.labelled + torch.randperm(extra)).split(size * copies)
            chosen = [torch.cat(rows) for rows in zip(chosen, more, strict=True)]
        for number, rows in enumerate(chosen):
            batch = collate([self.encoded[row] for row in rows.tolist()], self.groups)
            batch = _hide_codes(batch, self.options.unknown_rate, self.parents).to(self.device)
            teacher = None
            if self.options.distillation_weight or self.options.logit_weight:
                hidden, logits = self.targets.of(rows.tolist())
                teacher = hidden.to(self.device), logits.to(self.device)
            yield batch, teacher, min(size, self.labelled - number * size)


def _untrained(recipe: Recipe, vocabulary: Vocabulary, lessons: Lessons) -> Student:
    from_titles = recipe.student.embeddings_from_teacher
    categories = Categories.known(vocabulary) if from_titles else None
    student = Student.sized_for(vocabulary, recipe, lessons.targets.hidden_size, categories)
    if from_titles:
        start_from_titles(student, vocabulary, lessons.titles)
    return student


def _optimizer(student: Student, options: StudentRecipe) -> torch.optim.Optimizer:
    """AdamW; the linear path has no decay: a rare code's weight is small enough by itself."""
    if student.linear_path is None:
        return torch.optim.AdamW(
            student.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
    direct = list(student.linear_path.parameters())
    known = {id(weight) for weight in direct}
    rest = [weight for weight in student.parameters() if id(weight) not in known]
    return torch.optim.AdamW(
        [
            {"params": rest, "weight_decay": options.weight_decay},
            {"params": direct, "weight_decay": 0.0},
        ],
        lr=options.learning_rate,
    )


def _epoch(
    student: Student,
    classroom: _Classroom,
    options: StudentRecipe,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> list[dict[str, float]]:
    """Take every batch once; returns the value of each part of the loss at each step."""
    student.train()
    parts = []
    for batch, teacher, labelled in classroom:
        loss, part = objective(student, batch, teacher, options, labelled, classroom.interacts)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        parts.append(part)
    return parts


def _hide_codes(batch: Batch, rate: float, read_as: tuple[torch.Tensor, torch.Tensor]) -> Batch:
    """Make some diagnoses and procedures unseen, so that what stands for those is learnt.

    `read_as` gives each entry's category, or 0, as `categories.parents` does.
    """

    def hide(codes: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        hidden = (torch.rand(codes.shape) < rate) & (codes != PAD)
        if not parents.any():
            return codes.masked_fill(hidden, UNKNOWN)
        above = parents[codes.clamp_min(0)].masked_fill(
            torch.rand(codes.shape) < FORGOTTEN, UNKNOWN
        )
        return torch.where(hidden, above, codes)

    return replace(
        batch,
        diagnoses=hide(batch.diagnoses, read_as[0]),
        procedures=hide(batch.procedures, read_as[1]),
    )


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
