"""A plain transformer encoder (Vaswani et al., 2017) over every code of every visit at once.

Of no single paper: the obvious thing to do, without a teacher, separate encoders, alignment or
memory. Each diagnosis, procedure and past medication of each visit is a token, the sum of
embeddings of the code, of its type and of how many visits ago it was; each profile field is a
token too, so that it may read all that the student reads. A first token gathers the answer.

The layers are PyTorch's own, normalised before attention and without dropout on its weights; the
order of codes within a visit is not read. Our label set, every visit a sample, and our shared
training.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from engine.evaluation.neural.training import NeuralBaseline, Settings
from engine.records.schema import PROFILE_FIELDS, Visit
from engine.records.vocabulary import Vocabulary
from engine.student.tensors import PAD, Batch

HEADS = 4
LAYERS = 2
START, DIAGNOSIS, PROCEDURE, MEDICATION, PROFILE = range(5)  # token types


class PlainTransformer(NeuralBaseline):
    """A transformer encoder over diagnoses, procedures, past medications and profile."""

    name = "Plain transformer"
    profile = PROFILE_FIELDS

    def build(self, vocabulary: Vocabulary, train: Sequence[Visit]) -> nn.Module:
        """Return the untrained network."""
        return TransformerNetwork(vocabulary, self.settings)


class TransformerNetwork(nn.Module):
    """Codes of all visits and profile in, one logit per medication group out.

    All codes share one table: place 0 for the first token, then diagnoses, procedures,
    medications and the values of each profile field.
    """

    def __init__(self, vocabulary: Vocabulary, settings: Settings) -> None:
        super().__init__()
        size, groups = settings.size, len(vocabulary.medications)
        values = [len(vocabulary.profile[field]) for field in PROFILE_FIELDS]
        counts = [len(vocabulary.diagnoses), len(vocabulary.procedures), groups, *values]
        starts = torch.tensor([0, *counts]).cumsum(0)
        self.register_buffer("starts", starts[:-1], persistent=False)
        self.codes = nn.Embedding(1 + int(starts[-1]), size)
        self.types = nn.Embedding(PROFILE + 1, size)
        self.recency = nn.Embedding(settings.max_history + 1, size)
        for embedding in (self.codes, self.types, self.recency):
            nn.init.normal_(embedding.weight, std=size**-0.5)
        layer = nn.TransformerEncoderLayer(
            size,
            HEADS,
            dim_feedforward=2 * size,
            dropout=settings.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        # Attention weights without dropout are never written out: long histories need gigabytes.
        layer.self_attn.dropout = 0.0
        self.encoder = nn.TransformerEncoder(
            layer, LAYERS, norm=nn.LayerNorm(size), enable_nested_tensor=False
        )
        self.score = nn.Linear(size, groups)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Map a batch without answers to logits (visits, groups)."""
        codes, types, ago = self._tokens(batch)
        sequence = self.codes(codes.clamp_min(0)) + self.types(types) + self.recency(ago)
        return self.score(self.encoder(sequence, src_key_padding_mask=codes == PAD)[:, 0])

    def _tokens(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return code, type and visits ago of every token, (visits, longest), codes padded."""
        rows = batch.visit_rows
        visits, time = rows.shape
        sets = (batch.diagnoses, batch.procedures, batch.medications + 1)
        codes, types, ago = [], [], []
        steps = torch.arange(time - 1, -1, -1, device=rows.device)
        for kind, numbers in enumerate(sets):
            found = numbers[rows.clamp_min(0)].masked_fill((rows == PAD).unsqueeze(-1), 0)
            codes.append(self._placed(found, kind).flatten(1))
            types.append(torch.full_like(codes[-1], DIAGNOSIS + kind))
            ago.append(steps.repeat_interleave(found.shape[2]).expand(visits, -1))
        for field in range(batch.profile.shape[1]):
            codes.append(self._placed(batch.profile[:, field : field + 1], len(sets) + field))
            types.append(torch.full_like(codes[-1], PROFILE))
            ago.append(torch.zeros_like(codes[-1]))
        codes, types, ago = (torch.cat(part, dim=1) for part in (codes, types, ago))
        # Padding within visits goes to the end, where most of it is cut off.
        order = (codes == PAD).int().argsort(dim=1, stable=True)
        longest = int((codes != PAD).sum(dim=1).max())
        first = ((codes, START), (types, START), (ago, 0))
        return tuple(
            functional.pad(part.gather(1, order)[:, :longest], (1, 0), value=value)
            for part, value in first
        )

    def _placed(self, numbers: torch.Tensor, kind: int) -> torch.Tensor:
        """Return places in the table; 0 and below (unknown, or nothing) become PAD."""
        return (numbers + self.starts[kind]).masked_fill(numbers <= 0, PAD)
