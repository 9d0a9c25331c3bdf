"""Visits as index lists, and padded for the networks that want them so.

The student itself reads `engine/student/packed.py`. In a `Batch`, the neural baselines' input,
every code set is one row, padded to the longest set *of the batch*; a patient with two visits
brings two rows, not a fixed number. `visit_rows` says which rows make up whose history.
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


class Lookup:
    """Looks codes up; a set that comes again, as in the history of a later visit, only once."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        max_history: int,
        profile: Sequence[str],
        categories: Categories | None = None,
    ) -> None:
        """Take what `encode` takes beside the visit."""
        self._vocabulary, self._categories = vocabulary, categories
        self._max_history, self._profile = max_history, profile
        self._seen: dict[tuple[str, tuple[str, ...]], tuple[int, ...]] = {}

    def encode(self, visit: Visit) -> Encoded:
        """Return the indices of a visit and of its latest earlier visits."""
        earlier = visit.history[-self._max_history :] if self._max_history else ()
        kept = (*earlier, visit)
        return Encoded(
            tuple(self._indices("diagnosis", past.diagnoses) for past in kept),
            tuple(self._indices("procedure", past.procedures) for past in kept),
            tuple(self._indices("medication", past.medications) for past in kept),
            tuple(
                self._vocabulary.profile_index(field, profile_value(visit, field))
                for field in self._profile
            ),
        )

    def _indices(self, kind: str, codes: tuple[str, ...]) -> tuple[int, ...]:
        """Distinct indices in order; a medication outside the vocabulary has none: left out."""
        found = self._seen.get((kind, codes))
        if found is None:
            places = dict.fromkeys(map(getattr(self, f"_{kind}"), codes))
            places.pop(None, None)
            found = self._seen[kind, codes] = tuple(places)
        return found

    def _diagnosis(self, code: str) -> int:
        known = self._vocabulary.diagnosis_index(code)
        if known or self._categories is None:
            return known
        return self._categories.diagnosis_entry(code, self._vocabulary)

    def _procedure(self, code: str) -> int:
        known = self._vocabulary.procedure_index(code)
        if known or self._categories is None:
            return known
        return self._categories.procedure_entry(code, self._vocabulary)

    def _medication(self, group: str) -> int | None:
        return self._vocabulary.medication_index(group)


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
    return Lookup(vocabulary, max_history, profile, categories).encode(visit)


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


def _padded(sets: Sequence[Sequence[int]]) -> torch.Tensor:
    width = max(1, max(len(codes) for codes in sets))
    return torch.tensor([[*codes, *[PAD] * (width - len(codes))] for codes in sets])
