"""The linear path: what each code says for each medication group by itself.

A transformer has to learn that "given last time" makes "given again" likely; one weight for each
pair says it outright, and what stays for the transformer is what codes mean together. This is the
wide part of a wide-and-deep model (Cheng et al. 2016, arXiv 1606.07792, section 3.1).
"""

import torch
from torch import nn

from engine.student.tensors import PAD, Batch


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

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return (visits, groups) to add to the logits; a code counts once a visit or history."""
        present, past = batch.visit_rows[:, -1:], batch.visit_rows[:, :-1]
        logits = self.diagnoses(_codes_of(batch.diagnoses, present))
        logits = logits + self.procedures(_codes_of(batch.procedures, present))
        logits = logits + self.past_diagnoses(_codes_of(batch.diagnoses, past))
        logits = logits + self.ever(_codes_of(batch.medications, past))
        logits = logits + self.previous(
            _codes_of(batch.medications, _latest_given(batch.medications, past))
        )
        for field, weights in enumerate(self.profile):
            logits = logits + weights(batch.profile[:, field])
        return logits


def _weights(entries: int, groups: int) -> nn.EmbeddingBag:
    """One row for each entry, after row 0, which stands for padding and is never added."""
    return nn.EmbeddingBag(entries + 1, groups, mode="sum", padding_idx=0)


def _codes_of(sets: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Gather the distinct codes of each visit's `rows`, as indices of `_weights`.

    `sets` is (rows, longest set) and `rows` (visits, k), both padded with `PAD`; the result is
    (visits, 1 + k * longest set), padded with 0.
    """
    codes = sets[rows.clamp_min(0)].masked_fill((rows == PAD).unsqueeze(-1), PAD).flatten(1)
    codes = nn.functional.pad(codes, (1, 0), value=PAD)  # a first visit has no earlier rows
    codes = codes.sort(dim=1).values
    repeated = codes[:, 1:] == codes[:, :-1]
    codes[:, 1:] = codes[:, 1:].masked_fill(repeated, PAD)
    return codes + 1


def _latest_given(medications: torch.Tensor, past: torch.Tensor) -> torch.Tensor:
    """Pick (visits, 1) rows: the latest of (visits, k) past ones with any medication, or `PAD`."""
    given = (medications != PAD).any(dim=1)[past.clamp_min(0)] & (past != PAD)
    rows = past.masked_fill(~given, PAD)  # rows are numbered in the order of time
    return nn.functional.pad(rows, (1, 0), value=PAD).amax(dim=1, keepdim=True)
