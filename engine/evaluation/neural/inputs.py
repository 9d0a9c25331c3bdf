"""What the neural baselines read: packed visits without the answer, codes summed, visits in order.

A code that training never saw is left out, as it is from the multi-hot vectors of the papers.
"""

from dataclasses import replace

import torch
from torch import nn

from engine.student.tensors import PAD, Batch


def without_answers(batch: Batch) -> Batch:
    """Blank the medications of the visits at hand, so that no network can look at them.

    Their labels stay in `labels`, which only the loss reads.
    """
    return replace(batch, medications=batch.medications.index_fill(0, batch.visit_rows[:, -1], PAD))


class CodeSum(nn.Module):
    """The sum of the embeddings of a set of codes: a linear layer on its multi-hot vector."""

    def __init__(self, codes: int, size: int) -> None:
        """Embed codes 1…`codes`; 0 and anything below it add nothing."""
        super().__init__()
        self.embedding = nn.EmbeddingBag(codes + 1, size, mode="sum", padding_idx=0)
        nn.init.normal_(self.embedding.weight, std=size**-0.5)
        with torch.no_grad():
            self.embedding.weight[0] = 0

    def forward(self, sets: torch.Tensor) -> torch.Tensor:
        """Map (rows, longest set) indices to (rows, size); an empty set is the zero vector."""
        return self.embedding(sets.clamp_min(0))


def multi_hot(sets: torch.Tensor, width: int) -> torch.Tensor:
    """Return padded sets of columns 0…`width`-1 as float32 (rows, width), 1 where it is in."""
    marked = torch.zeros(len(sets), width + 1, device=sets.device)
    return marked.scatter_(1, sets + 1, 1.0)[:, 1:]  # PAD falls in the column that is cut off


def oldest_first(visit_rows: torch.Tensor) -> torch.Tensor:
    """Move the padding of right-aligned histories behind them: each starts at column 0."""
    order = (visit_rows == PAD).int().argsort(dim=1, stable=True)
    return visit_rows.gather(1, order)


def latest_first(visit_rows: torch.Tensor) -> torch.Tensor:
    """Reverse time: the visit at hand in column 0, the oldest visit and the padding behind."""
    return visit_rows.flip(1)


def of_visits(vectors: torch.Tensor, visit_rows: torch.Tensor) -> torch.Tensor:
    """Gather (rows, size) vectors by `visit_rows` (visits, time); padding becomes zeros."""
    return vectors[visit_rows.clamp_min(0)] * (visit_rows != PAD).unsqueeze(-1)
