"""The category of a code: what is known of one that no training patient had.

A student that starts from the teacher's titles has one embedding for every ICD category beside
those of its codes (`engine/student/title_embeddings.py`). A code unseen in training is read as its
category instead of as "unknown": no title, tokenizer or base model is needed at inference.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from engine.records.vocabulary import UNKNOWN, Vocabulary
from engine.terminology import icd

PCS_CATEGORY = 3  # section, body system and operation: ICD-10-PCS has no dot


@dataclass(frozen=True)
class Categories:
    """Sorted categories; their entries follow those of the vocabulary's codes."""

    diagnoses: tuple[str, ...]
    procedures: tuple[str, ...]

    @classmethod
    def known(cls, vocabulary: Vocabulary) -> "Categories":
        """Return every category of the ICD tables and of the vocabulary's own codes."""
        return cls(
            tuple(sorted(members("diagnosis", vocabulary.diagnoses))),
            tuple(sorted(members("procedure", vocabulary.procedures))),
        )

    def diagnosis_entry(self, code: str, vocabulary: Vocabulary) -> int:
        """Return the entry of a diagnosis's category, or 0 where that is unknown too."""
        place = self._diagnosis_places.get(category("diagnosis", code))
        return UNKNOWN if place is None else 1 + len(vocabulary.diagnoses) + place

    def procedure_entry(self, code: str, vocabulary: Vocabulary) -> int:
        """Return the entry of a procedure's category, or 0 where that is unknown too."""
        place = self._procedure_places.get(category("procedure", code))
        return UNKNOWN if place is None else 1 + len(vocabulary.procedures) + place

    def to_metadata(self) -> dict[str, str]:
        """Return text for the header of a safetensors file."""
        return {
            "diagnosis_categories": " ".join(self.diagnoses),
            "procedure_categories": " ".join(self.procedures),
        }

    @classmethod
    def from_metadata(cls, header: dict[str, str] | None) -> "Categories | None":
        """Read what `to_metadata` gave; None from the file of a student without categories."""
        if not header or "diagnosis_categories" not in header:
            return None
        return cls(
            tuple(header["diagnosis_categories"].split()),
            tuple(header["procedure_categories"].split()),
        )

    @cached_property
    def _diagnosis_places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.diagnoses)}

    @cached_property
    def _procedure_places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.procedures)}


def category(kind: icd.Kind, code: str) -> str:
    """Return a code's category with its version.

    >>> category("diagnosis", "10:I5021"), category("procedure", "9:3995")
    ('10:I50', '9:39')
    """
    version, _, plain = code.rpartition(":")
    return f"{version}:{plain[: icd.dot_place(kind, code) or PCS_CATEGORY]}"


def members(kind: icd.Kind, codes: Iterable[str], tables: bool = True) -> dict[str, list[str]]:
    """Return the sorted codes of every category, of `codes` and of the ICD `tables`."""
    found = defaultdict(list)
    for code in sorted({*codes, *(icd.codes(kind) if tables else ())}):
        found[category(kind, code)].append(code)
    return dict(found)


def parents(
    vocabulary: Vocabulary, categories: Categories | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return, for diagnoses and procedures, what each entry is read as when its code is hidden.

    Each is (entries,) int64: a code's category where there are categories, else the unknown.
    """
    if categories is None:
        return _table(vocabulary.diagnoses, []), _table(vocabulary.procedures, [])
    return (
        _table(
            categories.diagnoses,
            [categories.diagnosis_entry(code, vocabulary) for code in vocabulary.diagnoses],
        ),
        _table(
            categories.procedures,
            [categories.procedure_entry(code, vocabulary) for code in vocabulary.procedures],
        ),
    )


def _table(rest: Sequence[str], entries: list[int]) -> torch.Tensor:
    return torch.tensor([UNKNOWN, *entries, *[UNKNOWN] * len(rest)], dtype=torch.long)
