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
from engine.student.attention import ReadingEncoder
from engine.student.categories import Categories
from engine.student.linear_path import LinearPath, sum_of_fields
from engine.student.packed import Packed, Sets


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
        self.embedding = nn.Embedding(codes, size, sparse=True)
        nn.init.normal_(self.embedding.weight, std=size**-0.5)
        self.start = nn.Parameter(torch.zeros(size))  # gathers the set; all there is when empty
        self.encoder = ReadingEncoder(recipe)

    def forward(self, sets: Sets) -> torch.Tensor:
        """Map sets of codes to (sets, hidden_size)."""
        codes, places = self.embedding.weight, sets.entries
        if len(places) < len(codes):  # else a code of the table is read more often than once
            codes, places = self.embedding(places), torch.arange(len(places), device=places.device)
        start = self.start.expand(len(sets), -1)
        return self.encoder.read_sets(start, codes, places, sets.owner)


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
        self.tables = None  # for fast answers, once `inference.ready` has worked them out
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
        self.visit_encoder = ReadingEncoder(recipe)
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

    def train(self, mode: bool = True) -> "Student":
        """Switch dropout on or off; what was worked out from the weights is void once on."""
        if mode:
            self.tables = None
        return super().train(mode)

    def load_state_dict(self, *arguments, **options):
        """Take other weights, as `nn.Module` does."""
        self.tables = None
        return super().load_state_dict(*arguments, **options)

    def start_at(self, labels: torch.Tensor) -> None:
        """Set the head's bias to each group's log-odds in (visits, groups) training labels."""
        given = labels.sum(dim=0)
        with torch.no_grad():
            self.score.bias.copy_(torch.log((given + 0.5) / (len(labels) - given + 0.5)))

    def forward(self, batch: Packed) -> Output:
        """Score a batch; the current visit's own medications never reach the logits."""
        profile = self.profile_of(batch.profile)
        medications = self.medication_encoder(batch.medications)
        given = medications[batch.present]
        rows = [
            self.diagnosis_encoder(batch.diagnoses),
            self.procedure_encoder(batch.procedures),
            medications.index_copy(0, batch.present, profile.to(medications.dtype)),
        ]
        logits, features = self.head(rows, batch)
        return Output(logits, features, profile, given if self.training else None)

    def profile_of(self, values: torch.Tensor) -> torch.Tensor:
        """Embed (visits, fields) profile values as (visits, hidden_size)."""
        whole = self.nobody.expand(len(values), -1)
        return self.profile_head(whole + sum_of_fields(self.profile_embeddings, values))

    def head(self, rows: list[torch.Tensor], batch: Packed) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits and features, from (rows, size) diagnoses, procedures and medications.

        In the place of the medications of the visits at hand stand their profiles.
        """
        features = self.features(self._histories(rows, batch))
        logits = self.score(features)
        if self.linear_path is not None:
            logits = logits + self.linear_path(batch)
        return logits, features

    def _histories(self, kinds: list[torch.Tensor], batch: Packed) -> torch.Tensor:
        """Encode (rows, size) vectors of each kind as (visits, kinds * size)."""
        recency, owner = self.recency(batch.ago), batch.rows.owner
        rows, visits = len(recency), len(batch)
        encoded = self.visit_encoder(
            torch.cat([kind + recency for kind in kinds]),
            torch.cat([owner + number * visits for number in range(len(kinds))]),
            torch.cat([batch.present + number * rows for number in range(len(kinds))]),
        )
        return torch.cat(encoded.split(visits), dim=1)
