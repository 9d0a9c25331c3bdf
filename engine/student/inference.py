"""Score visits with a trained student; save and load its weights."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from engine.config import Recipe
from engine.errors import WorkbenchError
from engine.records.schema import Visit
from engine.records.vocabulary import Vocabulary
from engine.student.model import Student
from engine.student.tensors import collate, encode


def predict(
    student: Student,
    visits: Sequence[Visit],
    vocabulary: Vocabulary,
    recipe: Recipe,
    batch_size: int = 256,
) -> np.ndarray:
    """Return (visits, groups) float32 logits, in the order of `visits`."""
    student.eval()
    device = student.score.weight.device
    groups = len(vocabulary.medications)
    logits = np.empty((len(visits), groups), np.float32)
    with torch.inference_mode():
        for start in range(0, len(visits), batch_size):
            encoded = [
                encode(visit, vocabulary, recipe.student.max_history, recipe.prompt.profile)
                for visit in visits[start : start + batch_size]
            ]
            output = student(collate(encoded, groups).to(device))
            logits[start : start + len(encoded)] = output.logits.cpu().numpy()
    return logits


def save(student: Student, path: Path) -> None:
    """Write the weights as safetensors."""
    save_file({name: value.contiguous() for name, value in student.state_dict().items()}, str(path))


def load(path: Path, vocabulary: Vocabulary, recipe: Recipe) -> Student:
    """Read a student; WorkbenchError when the file does not fit its vocabulary and recipe."""
    try:
        weights = load_file(str(path))
        student = Student.sized_for(vocabulary, recipe, weights["projection.weight"].shape[0])
        student.load_state_dict(weights)
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0][:120]
        raise WorkbenchError(
            f"{path}: not the student of this pair ({reason}); restore the pair's folder"
        ) from None
    return student.eval()
