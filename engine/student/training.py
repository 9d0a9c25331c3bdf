"""Train the student, with or without the teacher's hidden states."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm
from transformers import get_cosine_schedule_with_warmup

from engine.config import Recipe, StudentRecipe
from engine.errors import WorkbenchError
from engine.records.schema import Visit
from engine.records.vocabulary import Vocabulary
from engine.student import losses
from engine.student.inference import predict
from engine.student.model import Student
from engine.student.tensors import PAD, Batch, collate, encode

Score = Callable[[np.ndarray, np.ndarray], dict[str, float]]  # (logits, labels) -> named metrics


def train(
    recipe: Recipe,
    vocabulary: Vocabulary,
    training: Sequence[Visit],
    validation: Sequence[Visit],
    hidden: np.ndarray,
    score: Score,
    output: Path,
    distil: bool = True,
) -> Student:
    """Train a student and return it as it was at its best validation PRAUC.

    Args:
        hidden: (training visits, teacher hidden size) cached hidden states.
        score: metrics on validation; must name `prauc`.
        output: run folder, for `metrics.jsonl` and TensorBoard logs.
        distil: False leaves the distillation loss out and changes nothing else.
    """
    if not training or not validation:
        raise WorkbenchError("the cohort has no labelled visits to train or validate a student on")
    options = (
        recipe.student if distil else recipe.student.model_copy(update={"distillation_weight": 0.0})
    )
    stage = "student" if distil else "student_undistilled"
    torch.manual_seed(recipe.seed)
    encoded = [
        encode(visit, vocabulary, options.max_history, recipe.prompt.profile) for visit in training
    ]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    student = Student.sized_for(vocabulary, recipe, hidden.shape[1]).to(device)
    groups = len(vocabulary.medications)
    student.start_at(collate(encoded, groups).labels)
    optimizer = torch.optim.AdamW(
        student.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
    )
    truth = collate(
        [encode(visit, vocabulary, 0, recipe.prompt.profile) for visit in validation], groups
    ).labels.numpy()
    target = _standardised(torch.from_numpy(hidden))
    steps = math.ceil(len(encoded) / options.batch_size) * options.epochs
    schedule = get_cosine_schedule_with_warmup(optimizer, steps // 20, steps)
    best, best_state, waited = -1.0, None, 0
    bar = tqdm(range(1, options.epochs + 1), desc=stage.replace("_", " "), unit="epoch")
    with SummaryWriter(str(output / "logs" / stage)) as board:
        for epoch in bar:
            student.train()
            parts = []
            for rows in torch.randperm(len(encoded)).split(options.batch_size):
                batch = collate([encoded[row] for row in rows.tolist()], groups)
                batch = _hide_codes(batch, options.unknown_rate).to(device)
                loss, part = _loss(student, batch, target[rows].to(device), options)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
                parts.append(part)
            logits = predict(student, validation, vocabulary, recipe)
            values = {
                **{name: float(np.mean([part[name] for part in parts])) for name in parts[0]},
                **score(logits, truth),
            }
            _log(output, board, stage, epoch, values)
            bar.set_postfix(loss=f"{values['loss']:.4f}", prauc=f"{values['prauc']:.4f}")
            if values["prauc"] > best:
                best, waited = values["prauc"], 0
                best_state = {name: value.clone() for name, value in student.state_dict().items()}
            else:
                waited += 1
                if waited >= options.patience:
                    break
    student.load_state_dict(best_state)
    return student.cpu().eval()


def _loss(
    student: Student, batch: Batch, hidden: torch.Tensor, options: StudentRecipe
) -> tuple[torch.Tensor, dict[str, float]]:
    """L = BCE + alpha * KD + beta * alignment; a part of weight zero is not computed."""
    output = student(batch)
    loss = functional.binary_cross_entropy_with_logits(output.logits, batch.labels)
    parts = {"bce": loss.item()}
    if options.distillation_weight:
        distillation = losses.distillation(student.projection(output.features), hidden)
        loss = loss + options.distillation_weight * distillation
        parts["distillation"] = distillation.item()
    if options.alignment_weight:
        alignment = losses.alignment(output.profile, output.given, options.alignment_temperature)
        loss = loss + options.alignment_weight * alignment
        parts["alignment"] = alignment.item()
    return loss, {"loss": loss.item(), **parts}


def _standardised(hidden: torch.Tensor) -> torch.Tensor:
    """Give each of the teacher's dimensions mean 0 and variance 1 over the training visits.

    A few dimensions of a language model are hundreds of times larger than the rest, and would be
    all that a mean squared error sees.
    """
    return (hidden - hidden.mean(dim=0)) / hidden.std(dim=0, correction=0).clamp_min(1e-6)


def _hide_codes(batch: Batch, rate: float) -> Batch:
    """Make some diagnoses and procedures unknown, so that the unknown entry is learnt."""

    def hide(codes: torch.Tensor) -> torch.Tensor:
        return codes.masked_fill((torch.rand(codes.shape) < rate) & (codes != PAD), 0)

    return replace(batch, diagnoses=hide(batch.diagnoses), procedures=hide(batch.procedures))


def _log(
    output: Path, board: SummaryWriter, stage: str, epoch: int, values: dict[str, float]
) -> None:
    for name, value in values.items():
        board.add_scalar(name, value, epoch)
    with (output / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"stage": stage, "epoch": epoch, **values}) + "\n")
