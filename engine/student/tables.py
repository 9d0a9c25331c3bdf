"""A trained student laid out for answering: what a code decides by itself is worked out once.

With one layer every set asks the same question, so the weight of a code before the softmax is a
number of its own, and attention over a set is a ratio of two sums over its codes,

    sum exp(score) * value / sum exp(score),

which one `embedding_bag` reads from a table. Answers are those of `Student.forward`, rounding
apart.
"""

import torch
from torch.nn import functional

from engine.student.attention import finish, scores_and_values
from engine.student.model import SetEncoder, Student
from engine.student.packed import Packed, Sets

WIDEST = 60.0  # between a head's highest and lowest score: far beyond, exp would round to 0


class Tables:
    """The look-up tables of one student; worth nothing once its weights change."""

    def __init__(self, student: Student) -> None:
        """Work the tables out, on the device where the weights are."""
        self._student = student
        with torch.no_grad():
            self._diagnoses = _SetTable(student.diagnosis_encoder)
            self._procedures = _SetTable(student.procedure_encoder)
            self._medications = _SetTable(student.medication_encoder)

    @classmethod
    def of(cls, student: Student) -> "Tables | None":
        """Return the tables of a student; None where it has several layers or scores too wide."""
        if len(student.visit_encoder.layers) > 1:
            return None
        tables = cls(student)
        every = (tables._diagnoses, tables._procedures, tables._medications)
        return tables if all(table.width < WIDEST for table in every) else None

    def logits(self, batch: Packed) -> torch.Tensor:
        """Return (visits, groups)."""
        student = self._student
        medications = self._medications(batch.medications)
        medications[batch.present] = student.profile_of(batch.profile)
        rows = [self._diagnoses(batch.diagnoses), self._procedures(batch.procedures), medications]
        return student.head(rows, batch)[0]


class _SetTable:
    """For each code: exp(score) * value, then exp(score), of every head."""

    def __init__(self, encoder: SetEncoder) -> None:
        self._layer, self._start = encoder.encoder.layers[0], encoder.start
        self._heads = self._layer.self_attn.num_heads
        tokens = torch.cat([encoder.start.unsqueeze(0), encoder.embedding.weight])
        scores, values = scores_and_values(self._layer, self._layer.norm1(tokens))
        highest, lowest = scores.amax(dim=0), scores.amin(dim=0)
        self.width = float((highest - lowest).max())
        weights = (scores - highest).exp()
        seen = values.unflatten(1, (self._heads, -1)) * weights.unsqueeze(2)
        table = torch.cat([seen.flatten(1), weights], dim=1)
        self._of_start, self._of_codes = table[0], table[1:].contiguous()

    def __call__(self, sets: Sets) -> torch.Tensor:
        """Map sets of codes to (sets, size), as the set encoder does."""
        sums = functional.embedding_bag(
            sets.entries, self._of_codes, sets.offsets, mode="sum", include_last_offset=True
        )
        seen, weights = (sums + self._of_start).split([len(self._start), self._heads], dim=1)
        seen = seen.unflatten(1, (self._heads, -1)) / weights.unsqueeze(2)
        return finish(self._layer, self._start, seen.flatten(1))
