"""Visits as flat arrays: nothing is padded, and a batch is index arithmetic.

    packed = pack(visits, vocabulary, max_history, profile_fields, categories)
    batch = packed.select(torch.tensor([4, 2, 7]))

A visit brings one *row* for itself and one for each kept earlier visit; a row has one set of codes
of each kind. Both are stored one after another, with offsets that say where each begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

import torch

from engine.records.schema import Visit
from engine.records.vocabulary import Vocabulary
from engine.student.categories import Categories
from engine.student.tensors import Lookup


@dataclass(frozen=True)
class Sets:
    """Set number r is `entries[offsets[r] : offsets[r + 1]]`; both are int64."""

    entries: torch.Tensor
    offsets: torch.Tensor  # (sets + 1,)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(cls, sets: Sequence[Sequence[int]]) -> "Sets":
        """Lay sets one after another."""
        offsets = torch.tensor([0, *accumulate(map(len, sets))])
        return cls(torch.tensor(list(chain.from_iterable(sets)), dtype=torch.long), offsets)

    @property
    def owner(self) -> torch.Tensor:
        """Return (entries,): the number of the set that each entry is in."""
        return torch.repeat_interleave(self.offsets.diff())

    def select(self, numbers: torch.Tensor) -> "Sets":
        """Return some of the sets, in the order of `numbers`."""
        starts = self.offsets[numbers]
        lengths = self.offsets[numbers + 1] - starts
        offsets = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
        places = torch.repeat_interleave(starts - offsets[:-1], lengths)
        places += torch.arange(len(places), device=places.device)
        return Sets(self.entries[places], offsets)

    def to(self, device: torch.device) -> "Sets":
        """Move both arrays to a device."""
        return Sets(self.entries.to(device), self.offsets.to(device))


@dataclass(frozen=True)
class Packed:
    """Visits to recommend for, each with its kept history.

    A visit's own medications are in its row only for `labels` and alignment; the network must not
    let them reach the logits.
    """

    rows: Sets  # of each visit: its earlier visits, oldest first, and itself last
    diagnoses: Sets  # of each row
    procedures: Sets
    medications: Sets
    profile: torch.Tensor  # (visits, profile fields shown) int64; 0 is "unknown"

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def present(self) -> torch.Tensor:
        """Return (visits,): the row of each visit itself."""
        return self.rows.offsets[1:] - 1

    @property
    def ago(self) -> torch.Tensor:
        """Return (rows,): how many visits each row lies before the one at hand."""
        owner = self.rows.owner
        return self.present[owner] - torch.arange(len(owner), device=owner.device)

    def labels(self, groups: int) -> torch.Tensor:
        """Return (visits, groups) float32: 1 where a medication group was given."""
        given = self.medications.select(self.present)
        labels = torch.zeros(len(self), groups, device=given.entries.device)
        labels[given.owner, given.entries] = 1.0
        return labels

    def select(self, numbers: torch.Tensor) -> "Packed":
        """Return some of the visits, in the order of `numbers`."""
        chosen = self.rows.select(numbers)
        return Packed(
            Sets(torch.arange(len(chosen.entries), device=numbers.device), chosen.offsets),
            self.diagnoses.select(chosen.entries),
            self.procedures.select(chosen.entries),
            self.medications.select(chosen.entries),
            self.profile[numbers],
        )

    def to(self, device: torch.device) -> "Packed":
        """Move every array to a device."""
        return Packed(**{name: part.to(device) for name, part in vars(self).items()})


def pack(
    visits: Sequence[Visit],
    vocabulary: Vocabulary,
    max_history: int,
    profile: Sequence[str],
    categories: Categories | None = None,
) -> Packed:
    """Look up every code once and lay the visits out; the arguments are those of `encode`."""
    lookup = Lookup(vocabulary, max_history, profile, categories)
    encoded = [lookup.encode(visit) for visit in visits]
    lengths = [len(visit.diagnoses) for visit in encoded]
    return Packed(
        Sets(torch.arange(sum(lengths)), torch.tensor([0, *accumulate(lengths)])),
        Sets.of([codes for visit in encoded for codes in visit.diagnoses]),
        Sets.of([codes for visit in encoded for codes in visit.procedures]),
        Sets.of([codes for visit in encoded for codes in visit.medications]),
        torch.tensor([visit.profile for visit in encoded], dtype=torch.long).view(
            len(encoded), len(profile)
        ),
    )
