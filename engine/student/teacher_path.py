"""Start the student's linear path from the teacher's: both say what a code means by itself.

The teacher's path speaks of titles and their words, the student's of codes; a code's weights are
those of its title. What a prompt has no entry for (the profile, a sentence of its own) starts at 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from engine.config import PromptRecipe
from engine.prompts import Title, code_names, group_name
from engine.records.vocabulary import Vocabulary
from engine.student.model import Student
from engine.teacher.linear_path import (
    DIAGNOSIS,
    EARLIER_DIAGNOSIS,
    EARLIER_GROUP,
    EVER,
    PREVIOUS,
    PROCEDURE,
    LinearPath,
)
from engine.terminology.icd import Kind


@dataclass(frozen=True)
class PathReader:
    """The teacher's linear path, and what its prompts call a code."""

    path: LinearPath
    title: Title
    options: PromptRecipe

    def of_codes(self, kind: Kind, codes: Sequence[str], where: str) -> np.ndarray:
        """Return (codes, groups): the weights of each code's title in a place of the prompt."""
        names = [code_names(kind, [code], self.title, self.options)[0] for code in codes]
        return self._rows(names, where)

    def of_groups(self, groups: Sequence[str], *places: str) -> np.ndarray:
        """Return (groups, groups): the weights of each group given before, of all `places`."""
        names = [group_name(group, self.options) for group in groups]
        return sum(self._rows(names, where) for where in places)

    def _rows(self, names: Sequence[str], where: str) -> np.ndarray:
        nothing = np.zeros((0, self.path.weights.shape[1]), np.float32)
        return np.stack([self.path.weights_of(where, name) for name in names] or nothing)


def start_from_teacher(
    student: Student, vocabulary: Vocabulary, reader: PathReader, share: float = 1.0
) -> None:
    """Set a student's linear path to a share of the teacher's; unknown codes stay at 0.

    The teacher itself counts its path half; the rest is what the transformer has to leave room for.
    """
    path = student.linear_path

    def fill(weights: nn.EmbeddingBag, first: int, rows: np.ndarray) -> None:
        """Set rows from `first` on: behind the empty one, and the unknown one if there is one."""
        with torch.no_grad():
            weights.weight[first : first + len(rows)] = share * torch.from_numpy(rows)

    diagnoses, procedures, groups = (
        vocabulary.diagnoses,
        vocabulary.procedures,
        vocabulary.medications,
    )
    fill(path.diagnoses, 2, reader.of_codes("diagnosis", diagnoses, DIAGNOSIS))
    fill(path.procedures, 2, reader.of_codes("procedure", procedures, PROCEDURE))
    fill(path.past_diagnoses, 2, reader.of_codes("diagnosis", diagnoses, EARLIER_DIAGNOSIS))
    fill(path.previous, 1, reader.of_groups(groups, PREVIOUS))
    fill(path.ever, 1, reader.of_groups(groups, EVER, EARLIER_GROUP))
