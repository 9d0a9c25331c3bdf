"""The linear path: what each code says for each medication group by itself.

A transformer has to learn that "given last time" makes "given again" likely; one weight for each
pair says it outright, and what stays for the transformer is what codes mean together. This is the
wide part of a wide-and-deep model (Cheng et al. 2016, arXiv 1606.07792, section 3.1).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from engine.student.packed import Packed, Sets


class Rows(NamedTuple):
    """Rows of a batch, and the visit that each belongs to; both (rows,) int64."""

    numbers: torch.Tensor
    owner: torch.Tensor


class LinearPath(nn.Module):
    """A logistic regression beside the transformer; adds nothing until it is trained."""

    def __init__(
        self, diagnoses: int, procedures: int, medications: int, profile: tuple[int, ...]
    ) -> None:
        """Size the weights; counts are those of entries, the unknown one included."""
        super().__init__()
        self.diagnoses = _weights(diagnoses, medications)
        self.procedures = _weights(procedures, medications)
        self.past_diagnoses = _weights(diagnoses, medications)
        self.previous = _weights(medications, medications)
        self.ever = _weights(medications, medications)
        self.profile = nn.ModuleList(nn.Embedding(count, medications) for count in profile)
        for weights in self.parameters():
            nn.init.zeros_(weights)

    def forward(self, batch: Packed) -> torch.Tensor:
        """Return (visits, groups) to add to the logits; a code counts once a visit or history."""
        visits, owner = len(batch), batch.rows.owner
        present = Rows(batch.present, torch.arange(visits, device=owner.device))
        earlier = (batch.ago > 0).nonzero().squeeze(1)
        past = Rows(earlier, owner[earlier])
        latest = _latest_given(batch.medications, past, visits)
        logits = _sum(self.diagnoses, batch.diagnoses, present, visits)
        logits = logits + _sum(self.procedures, batch.procedures, present, visits)
        logits = logits + _sum(self.past_diagnoses, batch.diagnoses, past, visits)
        logits = logits + _sum(self.ever, batch.medications, past, visits)
        logits = logits + _sum(self.previous, batch.medications, latest, visits)
        return logits + sum_of_fields(self.profile, batch.profile)


def sum_of_fields(embeddings: Sequence[nn.Embedding], values: torch.Tensor) -> torch.Tensor | float:
    """Add up the embeddings of (visits, fields) values: one table for each field; 0 for none."""
    if not len(embeddings):
        return 0.0
    sizes = torch.tensor([0, *(table.num_embeddings for table in embeddings)])
    shift = sizes.cumsum(0)[:-1].to(values.device)
    table = torch.cat([table.weight for table in embeddings])
    return functional.embedding_bag(values + shift, table, mode="sum")


def _weights(entries: int, groups: int) -> nn.EmbeddingBag:
    """One row for each entry, after row 0, which nothing reads (it stood for padding once).

    Gradients are sparse: a batch has a few hundred codes of many thousand.
    """
    return nn.EmbeddingBag(entries + 1, groups, mode="sum", sparse=True)


def _sum(weights: nn.EmbeddingBag, sets: Sets, rows: Rows, visits: int) -> torch.Tensor:
    """Return (visits, groups): the sum over the distinct codes of each visit's `rows`."""
    chosen = sets.select(rows.numbers)
    pairs = torch.unique(rows.owner[chosen.owner] * weights.num_embeddings + chosen.entries)
    owner, codes = pairs // weights.num_embeddings, pairs % weights.num_embeddings
    starts = torch.searchsorted(owner, torch.arange(visits, device=owner.device))
    return weights(codes + 1, starts)


def _latest_given(medications: Sets, past: Rows, visits: int) -> Rows:
    """Pick, for each visit, the latest of its past rows with any medication, where there is one."""
    given = medications.offsets.diff()[past.numbers] > 0
    latest = torch.full((visits,), -1, device=past.owner.device)
    latest = latest.scatter_reduce(0, past.owner[given], past.numbers[given], "amax")
    owner = (latest >= 0).nonzero().squeeze(1)  # rows are numbered in the order of time
    return Rows(latest[owner], owner)
