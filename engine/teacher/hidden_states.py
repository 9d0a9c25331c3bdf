"""The teacher's hidden states and logits, computed once and kept for the student.

A cache is a folder with `states.safetensors` (`hidden` (visits, hidden_size) and `logits`
(visits, groups), float32) and `visits.json` (patient and visit ids in row order, and the sum of
the teacher that made them).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from engine.errors import WorkbenchError
from engine.files import sha256, whole_folder, write_json
from engine.prompts import Title
from engine.records.schema import Visit
from engine.teacher.inference import Teacher

FOLDER = "hidden_states"


@dataclass(frozen=True)
class HiddenStates:
    """Cached teacher outputs, found by visit."""

    hidden: np.ndarray  # (visits, hidden_size) float32
    logits: np.ndarray  # (visits, groups) float32
    rows: dict[tuple[str, str], int]

    def of(self, visits: Sequence[Visit]) -> tuple[np.ndarray, np.ndarray]:
        """Return (hidden, logits) of `visits` in their order; WorkbenchError if one is absent."""
        try:
            rows = [self.rows[visit.patient_id, visit.visit_id] for visit in visits]
        except KeyError:
            raise WorkbenchError(
                "the cached hidden states do not cover this cohort; "
                "run `train hidden-states` again with the same cohort and recipe"
            ) from None
        return self.hidden[rows], self.logits[rows]


def compute(
    teacher: Teacher, adapter: Path, visits: Sequence[Visit], title: Title, output: Path
) -> Path:
    """Run the teacher over `visits` and store the cache in `output/hidden_states`."""
    texts = [teacher.prompt(visit, title).text for visit in visits]
    logits, hidden = teacher.predict(texts, progress="hidden states")
    keys = [[visit.patient_id, visit.visit_id] for visit in visits]
    index = {"teacher_sha256": _teacher_sum(adapter), "visits": keys}
    final = output / FOLDER
    with whole_folder(final) as building:
        save_file({"hidden": hidden, "logits": logits}, building / "states.safetensors")
        write_json(building / "visits.json", index)
    return final


def load(output: Path, adapter: Path) -> HiddenStates:
    """Open the cache of a run; WorkbenchError if it is missing or another teacher made it."""
    folder = output / FOLDER
    again = "run `train hidden-states` again"
    try:
        index = json.loads((folder / "visits.json").read_text(encoding="utf-8"))
        made_by, keys = index["teacher_sha256"], index["visits"]
        states = load_file(folder / "states.safetensors")
    except FileNotFoundError:
        raise WorkbenchError(
            f"{folder}: no cached hidden states; run `train hidden-states`"
        ) from None
    except (OSError, ValueError, KeyError, SafetensorError):
        raise WorkbenchError(f"{folder}: the cached hidden states are damaged; {again}") from None
    if made_by != _teacher_sum(adapter):
        raise WorkbenchError(f"{folder}: made by another teacher; {again}")
    rows = {tuple(key): row for row, key in enumerate(keys)}
    return HiddenStates(states["hidden"], states["logits"], rows)


def _teacher_sum(adapter: Path) -> str:
    try:
        return sha256(adapter / "adapter_model.safetensors")
    except OSError:
        raise WorkbenchError(
            f"{adapter}: no trained teacher there; run `train teacher` first"
        ) from None
