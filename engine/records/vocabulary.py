"""The codes a model knows: what occurs in the training patients, and one place for the rest."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from engine.errors import WorkbenchError
from engine.records.schema import PROFILE_FIELDS, Visit, profile_value

UNKNOWN = 0  # index of every diagnosis, procedure or profile value not seen in training


@dataclass(frozen=True)
class Vocabulary:
    """Sorted codes of the training patients.

    Diagnoses, procedures and profile values are numbered from 1, with 0 for the unknown; a
    medication's number is its column among the labels, from 0.
    """

    diagnoses: tuple[str, ...]
    procedures: tuple[str, ...]
    medications: tuple[str, ...]
    profile: dict[str, tuple[str, ...]]  # field → values

    @classmethod
    def from_visits(cls, visits: Iterable[Visit]) -> "Vocabulary":
        """Collect every code of these visits and of their histories; pass training visits only."""
        diagnoses, procedures, medications = set(), set(), set()
        profile = {field: set() for field in PROFILE_FIELDS}
        for sample in visits:
            for visit in (sample, *sample.history):
                diagnoses.update(visit.diagnoses)
                procedures.update(visit.procedures)
                medications.update(visit.medications)
                for field, values in profile.items():
                    values.add(profile_value(visit, field))
        return cls.from_codes(diagnoses, procedures, medications, profile)

    @classmethod
    def from_codes(
        cls,
        diagnoses: Iterable[str],
        procedures: Iterable[str],
        medications: Iterable[str],
        profile: dict[str, Iterable[str | None]],
    ) -> "Vocabulary":
        """Sort and deduplicate; missing profile values (`None`) are the unknown."""
        return cls(
            diagnoses=tuple(sorted(set(diagnoses))),
            procedures=tuple(sorted(set(procedures))),
            medications=tuple(sorted(set(medications))),
            profile={
                field: tuple(sorted(set(profile.get(field, ())) - {None}))
                for field in PROFILE_FIELDS
            },
        )

    def diagnosis_index(self, code: str) -> int:
        """Return 1…n, or 0 for a diagnosis not seen in training."""
        return self._diagnosis_numbers.get(code, UNKNOWN)

    def procedure_index(self, code: str) -> int:
        """Return 1…n, or 0 for a procedure not seen in training."""
        return self._procedure_numbers.get(code, UNKNOWN)

    def medication_index(self, atc: str) -> int | None:
        """Return the label column 0…L-1, or `None` for a group that is no label."""
        return self._medication_columns.get(atc)

    def profile_index(self, field: str, value: str | None) -> int:
        """Return 1…n, or 0 for a missing value or one not seen in training."""
        return self._profile_numbers[field].get(value, UNKNOWN)

    def to_dict(self) -> dict:
        """Return plain lists, as they stand in `vocabulary.json`."""
        return {
            "diagnoses": list(self.diagnoses),
            "procedures": list(self.procedures),
            "medications": list(self.medications),
            "profile": {field: list(values) for field, values in self.profile.items()},
        }

    @classmethod
    def from_dict(cls, content: dict) -> "Vocabulary":
        """Rebuild what `to_dict` gave; the order of the lists is kept, as models count by it."""
        return cls(
            diagnoses=tuple(content["diagnoses"]),
            procedures=tuple(content["procedures"]),
            medications=tuple(content["medications"]),
            profile={field: tuple(values) for field, values in content["profile"].items()},
        )

    def save(self, path: str | Path) -> None:
        """Write `vocabulary.json`."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Vocabulary":
        """Read `vocabulary.json`; WorkbenchError when it is missing or is not one."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except OSError as error:
            raise WorkbenchError(f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WorkbenchError(
                f"{path}: is not a vocabulary; it is damaged: ingest or train again"
            ) from error

    @cached_property
    def _diagnosis_numbers(self) -> dict[str, int]:
        return {code: number for number, code in enumerate(self.diagnoses, start=1)}

    @cached_property
    def _procedure_numbers(self) -> dict[str, int]:
        return {code: number for number, code in enumerate(self.procedures, start=1)}

    @cached_property
    def _medication_columns(self) -> dict[str, int]:
        return {atc: column for column, atc in enumerate(self.medications)}

    @cached_property
    def _profile_numbers(self) -> dict[str, dict[str, int]]:
        return {
            field: {value: number for number, value in enumerate(values, start=1)}
            for field, values in self.profile.items()
        }
