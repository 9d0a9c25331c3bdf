"""Visits as tightly packed tensors.

Every code set of a batch is one row, padded to the longest set *of the batch*; a patient with two
visits brings two rows, not a fixed number. `visit_rows` says which rows make up whose history.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from engine.records.schema import Visit, profile_value
from engine.records.vocabulary import Vocabulary
from engine.student.categories import Categories

PAD = -1  # in padded sets and in visit_rows; code 0 means "unknown", which is not "nothing"


@dataclass(frozen=True)
class Batch:
    """`visits` recommendations to make, over `rows` visits with their histories (rows >= visits).

    `diagnoses`, `procedures`, `medications` are (rows, longest set) int64, padded with `PAD`.
    `visit_rows` is (visits, longest history + 1) int64: the rows of each history, oldest first
    and right-aligned, so that the last column is the visit at hand. A visit's own medications are
    in its row only for `labels` and alignment; the network must not look there.
    """

    diagnoses: torch.Tensor
    procedures: torch.Tensor
    medications: torch.Tensor
    visit_rows: torch.Tensor
    profile: torch.Tensor  # (visits, profile fields shown) int64; 0 is "unknown"
    labels: torch.Tensor  # (visits, groups) float32

    def to(self, device: torch.device) -> "Batch":
        """Move every tensor to a device."""
        return Batch(**{name: tensor.to(device) for name, tensor in vars(self).items()})


@dataclass(frozen=True)
class Encoded:
    """One visit to recommend for, as index lists: itself last, its kept history before it."""

    diagnoses: tuple[tuple[int, ...], ...]
    procedures: tuple[tuple[int, ...], ...]
    medications: tuple[tuple[int, ...], ...]
    profile: tuple[int, ...]


def encode(
    visit: Visit,
    vocabulary: Vocabulary,
    max_history: int,
    profile: Sequence[str],
    categories: Categories | None = None,
) -> Encoded:
    """Look up the codes of a visit and of its latest `max_history` earlier visits.

    `profile` names the profile fields that the recipe shows to the models. A code unseen in
    training is read as its category where `categories` are given, else as the unknown.
    """

    def diagnosis(code: str) -> int:
        known = vocabulary.diagnosis_index(code)
        return known or (categories.diagnosis_entry(code, vocabulary) if categories else known)

    def procedure(code: str) -> int:
        known = vocabulary.procedure_index(code)
        return known or (categories.procedure_entry(code, vocabulary) if categories else known)

    kept = (*(visit.history[-max_history:] if max_history else ()), visit)
    return Encoded(
        tuple(_indices(past.diagnoses, diagnosis) for past in kept),
        tuple(_indices(past.procedures, procedure) for past in kept),
        tuple(_indices(past.medications, vocabulary.medication_index) for past in kept),
        tuple(vocabulary.profile_index(field, profile_value(visit, field)) for field in profile),
    )


def collate(encoded: Sequence[Encoded], groups: int) -> Batch:
    """Pack encoded visits into one batch; `groups` is the number of medication groups."""
    longest = max(len(visit.diagnoses) for visit in encoded)
    visit_rows = torch.full((len(encoded), longest), PAD)
    labels = torch.zeros(len(encoded), groups)
    row = 0
    for number, visit in enumerate(encoded):
        length = len(visit.diagnoses)
        visit_rows[number, longest - length :] = torch.arange(row, row + length)
        labels[number, list(visit.medications[-1])] = 1.0
        row += length
    return Batch(
        _padded([codes for visit in encoded for codes in visit.diagnoses]),
        _padded([codes for visit in encoded for codes in visit.procedures]),
        _padded([codes for visit in encoded for codes in visit.medications]),
        visit_rows,
        torch.tensor([visit.profile for visit in encoded], dtype=torch.long),
        labels,
    )


def _indices(codes: Sequence[str], index) -> tuple[int, ...]:
    """Distinct indices in order; a medication outside the vocabulary has none and is left out."""
    found = (index(code) for code in codes)
    return tuple(dict.fromkeys(place for place in found if place is not None))


def _padded(sets: Sequence[Sequence[int]]) -> torch.Tensor:
    width = max(1, max(len(codes) for codes in sets))
    return torch.tensor([[*codes, *[PAD] * (width - len(codes))] for codes in sets])
