"""Score visits with a trained student; save and load its weights."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from engine.config import Recipe
from engine.errors import WorkbenchError
from engine.records.schema import Visit
from engine.records.vocabulary import Vocabulary
from engine.student.categories import Categories
from engine.student.model import Student
from engine.student.packed import Packed, pack
from engine.student.tables import Tables
from engine.student.tensors import Lookup

TOGETHER = 8  # visits answered at once: so few that no matrix product starts a thread of its own
HALVED = "linear_path."  # nine tenths of the numbers, which add up: kept with 11 bits each


def predict(
    student: Student,
    visits: Sequence[Visit],
    vocabulary: Vocabulary,
    recipe: Recipe,
) -> np.ndarray:
    """Return (visits, groups) float32 logits, in the order of `visits`."""
    reading = _reading(student, vocabulary, recipe)
    if student.tables is None:
        return logits_of(student, pack(visits, *reading))
    return _by_tables(student.tables.logits, visits, reading, student.score.out_features)


def represent(
    student: Student, visits: Sequence[Visit], vocabulary: Vocabulary, recipe: Recipe
) -> np.ndarray:
    """Return (visits, 2 * hidden_size) float32: what the student makes of each visit."""
    reading = _reading(student, vocabulary, recipe)
    if student.tables is None:
        return _outputs_of(student, pack(visits, *reading), "features", 256)
    return _by_tables(student.tables.features, visits, reading, student.score.in_features)


def logits_of(student: Student, packed: Packed, batch_size: int = 256) -> np.ndarray:
    """Return (visits, groups) float32 logits of visits that are laid out already."""
    return _outputs_of(student, packed, "logits", batch_size)


def _reading(student: Student, vocabulary: Vocabulary, recipe: Recipe) -> tuple:
    return vocabulary, recipe.student.max_history, recipe.prompt.profile, student.categories


def _by_tables(answer: Callable, visits: Sequence[Visit], reading: tuple, width: int) -> np.ndarray:
    """Return (visits, width) of what one method of the tables answers."""
    lookup = Lookup(*reading)
    answers = np.empty((len(visits), width), np.float32)
    # Histories of one length need no padding.
    order = sorted(range(len(visits)), key=lambda number: len(visits[number].history))
    for start in range(0, len(visits), TOGETHER):
        rows = order[start : start + TOGETHER]
        answers[rows] = answer([lookup.encode(visits[row]) for row in rows])
    return answers


def _outputs_of(student: Student, packed: Packed, field: str, batch_size: int) -> np.ndarray:
    student.eval()
    layer, device = student.score, student.score.weight.device
    width = layer.out_features if field == "logits" else layer.in_features
    outputs = np.empty((len(packed), width), np.float32)
    with torch.inference_mode():
        for rows in torch.arange(len(packed)).split(batch_size) if len(packed) else ():
            output = student(packed.select(rows).to(device))
            outputs[rows.numpy()] = getattr(output, field).cpu().numpy()
    return outputs


def ready(student: Student) -> Student:
    """Work out the tables that make answers fast; more training makes them void."""
    student.tables = Tables.of(student.eval())
    return student


def save(student: Student, path: Path) -> None:
    """Write the weights as safetensors, the linear path's in half precision.

    The categories that a student knows are in the header.
    """
    weights = {
        name: value.half() if name.startswith(HALVED) else value.contiguous()
        for name, value in student.state_dict().items()
    }
    save_file(weights, str(path), student.categories and student.categories.to_metadata())


def load(path: Path, vocabulary: Vocabulary, recipe: Recipe) -> Student:
    """Read a student; WorkbenchError when the file does not fit its vocabulary and recipe."""
    try:
        with safe_open(str(path), framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            categories = Categories.from_metadata(file.metadata())
        hidden_size = weights["projection.weight"].shape[0]
        student = Student.sized_for(vocabulary, recipe, hidden_size, categories)
        student.load_state_dict(weights)
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0][:120]
        raise WorkbenchError(
            f"{path}: not the student of this pair ({reason}); restore the pair's folder"
        ) from None
    return ready(student)
