"""What the teacher says of the visits a student learns from: cached, or asked at every step.

Both give the same targets for the same rows, up to the rounding of differently padded prompts.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch

from engine.records.schema import Visit

BLOCK = 256  # visits asked at once for mean and deviation

# visits -> (visits, hidden_size) hidden states and (visits, groups) logits, float32
TeacherOutputs = Callable[[Sequence[Visit]], tuple[np.ndarray, np.ndarray]]


class Targets(Protocol):
    """Teacher outputs by row of the lessons: the training visits, then the unlabelled ones."""

    hidden_size: int

    def of(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (rows, hidden_size) standardised hidden states and (rows, groups) logits."""


class CachedTargets:
    """Offline distillation: the teacher was run once and its outputs are in memory."""

    def __init__(self, hidden: np.ndarray, logits: np.ndarray, training: int) -> None:
        """Take the outputs for all lessons, of which the first `training` are labelled."""
        self.hidden_size = hidden.shape[1]
        states = torch.from_numpy(hidden)
        labelled = states[:training]
        mean, deviation = _statistics(labelled.mean(dim=0), labelled.std(dim=0, correction=0))
        self._hidden = (states - mean) / deviation
        self._logits = torch.from_numpy(logits)

    def of(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Targets`."""
        chosen = torch.as_tensor(rows)
        return self._hidden[chosen], self._logits[chosen]


class OnlineTargets:
    """Online distillation: the teacher reads every batch again, and nothing of it is kept.

    One pass over the training visits comes first, for mean and deviation of the hidden states.
    """

    def __init__(self, outputs: TeacherOutputs, lessons: Sequence[Visit], training: int) -> None:
        """Take the lessons, of which the first `training` are labelled."""
        self._outputs, self._lessons = outputs, lessons
        total = squares = 0.0
        for start in range(0, training, BLOCK):
            hidden, _ = outputs(lessons[start : min(start + BLOCK, training)])
            wide = hidden.astype(np.float64)
            total, squares = total + wide.sum(axis=0), squares + (wide**2).sum(axis=0)
        mean = total / training
        deviation = np.sqrt(np.maximum(squares / training - mean**2, 0.0))
        self.hidden_size = len(mean)
        self._mean, self._deviation = _statistics(
            torch.from_numpy(mean).float(), torch.from_numpy(deviation).float()
        )

    def of(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Targets`."""
        hidden, logits = self._outputs([self._lessons[row] for row in rows])
        states = (torch.from_numpy(hidden) - self._mean) / self._deviation
        return states, torch.from_numpy(logits)


def _statistics(mean: torch.Tensor, deviation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Give each of the teacher's dimensions mean 0 and variance 1 over the training visits.

    A few dimensions of a language model are hundreds of times larger than the rest, and would be
    all that a mean squared error sees.
    """
    return mean, deviation.clamp_min(1e-6)
