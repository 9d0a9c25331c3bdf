"""The student's network (LEADER, arXiv 2402.02803, section 3.3), over packed tensors.

Three set encoders read diagnoses, procedures and medications; one visit encoder, shared by the
three, reads each patient's sequence of visits. The medications of the visit at hand are unknown,
so the profile encoder stands in their place: a pseudo medication history, which is all a first
visit has. A two-layer head scores every medication group. A recipe may add a linear path from the
codes straight to the scores.
"""

from typing import NamedTuple

import torch
from torch import nn

from engine.config import Recipe, StudentRecipe
from engine.records.vocabulary import Vocabulary
from engine.student.categories import Categories
from engine.student.linear_path import LinearPath
from engine.student.tensors import PAD, Batch


class Output(NamedTuple):
    """What the network gives for a batch of visits."""

    logits: torch.Tensor  # (visits, groups)
    features: torch.Tensor  # (visits, 2 * hidden_size): the head's penultimate layer
    profile: torch.Tensor  # (visits, hidden_size): the profile embedding
    given: torch.Tensor | None  # (visits, hidden_size): the encoded true medications, in training


class SetEncoder(nn.Module):
    """A set of codes, in any order, as one vector; an empty set has its own learnt vector."""

    def __init__(self, codes: int, recipe: StudentRecipe) -> None:
        super().__init__()
        size = recipe.hidden_size
        self.embedding = nn.Embedding(codes, size)
        nn.init.normal_(self.embedding.weight, std=size**-0.5)
        self.start = nn.Parameter(torch.zeros(size))  # gathers the set; all there is when empty
        self.encoder = _transformer(recipe)

    def forward(self, sets: torch.Tensor) -> torch.Tensor:
        """Map (rows, longest set) indices, padded with `PAD`, to (rows, hidden_size)."""
        absent = sets == PAD
        codes = self.embedding(sets.clamp_min(0))
        start = self.start.expand(len(sets), 1, -1)
        sequence = torch.cat([start, codes], dim=1)
        absent = nn.functional.pad(absent, (1, 0), value=False)
        return self.encoder(sequence, src_key_padding_mask=absent)[:, 0]


class Student(nn.Module):
    """Codes and profile in, one logit per medication group out."""

    def __init__(
        self,
        diagnoses: int,
        procedures: int,
        medications: int,
        profile: tuple[int, ...],
        recipe: StudentRecipe,
        teacher_hidden_size: int,
        categories: Categories | None = None,
    ) -> None:
        """Size the network.

        Args:
            diagnoses, procedures: vocabulary sizes without the unknown entry.
            medications: number of medication groups.
            profile: number of values of each profile field shown, without the unknown entry.
            teacher_hidden_size: width of the hidden states that `features` are projected to.
            categories: what codes unseen in training are read as; None: as the unknown.
        """
        super().__init__()
        size = recipe.hidden_size
        self.categories = categories
        diagnoses += 1 + (len(categories.diagnoses) if categories else 0)
        procedures += 1 + (len(categories.procedures) if categories else 0)
        self.diagnosis_encoder = SetEncoder(diagnoses, recipe)
        self.procedure_encoder = SetEncoder(procedures, recipe)
        self.medication_encoder = SetEncoder(medications, recipe)
        self.profile_embeddings = nn.ModuleList(nn.Embedding(count + 1, size) for count in profile)
        self.nobody = nn.Parameter(torch.zeros(size))  # the profile of whom nothing is known
        # Its own layer: the profile speaks the language of encoded medications, not of the head.
        self.profile_head = nn.Sequential(nn.Linear(size, size), nn.GELU(), nn.Linear(size, size))
        self.recency = nn.Embedding(recipe.max_history + 1, size)
        self.visit_encoder = _transformer(recipe)
        self.features = nn.Sequential(
            nn.Linear(3 * size, 2 * size), nn.GELU(), nn.Dropout(recipe.dropout)
        )
        self.score = nn.Linear(2 * size, medications)
        self.projection = nn.Linear(2 * size, teacher_hidden_size)
        self.linear_path = None
        if recipe.linear_path:
            entries = tuple(count + 1 for count in profile)
            self.linear_path = LinearPath(diagnoses, procedures, medications, entries)

    @classmethod
    def sized_for(
        cls,
        vocabulary: Vocabulary,
        recipe: Recipe,
        teacher_hidden_size: int,
        categories: Categories | None = None,
    ) -> "Student":
        """Return an untrained student of the size that a vocabulary and a recipe ask for."""
        return cls(
            len(vocabulary.diagnoses),
            len(vocabulary.procedures),
            len(vocabulary.medications),
            tuple(len(vocabulary.profile[field]) for field in recipe.prompt.profile),
            recipe.student,
            teacher_hidden_size,
            categories,
        )

    def start_at(self, labels: torch.Tensor) -> None:
        """Set the head's bias to each group's log-odds in (visits, groups) training labels."""
        given = labels.sum(dim=0)
        with torch.no_grad():
            self.score.bias.copy_(torch.log((given + 0.5) / (len(labels) - given + 0.5)))

    def forward(self, batch: Batch) -> Output:
        """Score a batch; the current visit's own medications never reach the logits."""
        rows, present = batch.visit_rows, batch.visit_rows[:, -1]
        profile = self.nobody.expand(len(rows), -1)
        for field, embedding in enumerate(self.profile_embeddings):
            profile = profile + embedding(batch.profile[:, field])
        profile = self.profile_head(profile)
        medications = self.medication_encoder(batch.medications)
        given = medications[present]
        past = medications.index_copy(0, present, profile.to(medications.dtype))
        encoded = [
            self._history(self.diagnosis_encoder(batch.diagnoses), rows),
            self._history(self.procedure_encoder(batch.procedures), rows),
            self._history(past, rows),
        ]
        features = self.features(torch.cat(encoded, dim=1))
        logits = self.score(features)
        if self.linear_path is not None:
            logits = logits + self.linear_path(batch)
        return Output(logits, features, profile, given if self.training else None)

    def _history(self, visits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Encode (rows, size) visit vectors as (visits, size), seen from the latest visit."""
        ago = torch.arange(rows.shape[1] - 1, -1, -1, device=rows.device)
        sequence = visits[rows.clamp_min(0)] + self.recency(ago)
        return self.visit_encoder(sequence, src_key_padding_mask=rows == PAD)[:, -1]


def _transformer(recipe: StudentRecipe) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(
        recipe.hidden_size,
        recipe.heads,
        dim_feedforward=2 * recipe.hidden_size,
        dropout=recipe.dropout,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )
    return nn.TransformerEncoder(layer, recipe.layers, enable_nested_tensor=False)
