"""A list of medications as a check reads it: drugs by name where they are known, else groups.

    >>> [one.label for one in read(["Warfarin 5 mg", "B01A", "C03D"])[0]]
    ['C03D', 'warfarin']

A group beside a named drug of that group is the same medication, not a further one; it also tells
by which route the drug was given (timolol with S01E is an eye drop, with C07A a tablet).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from engine.terminology import atc, drugs, names, routes

_GROUP = re.compile(r"[A-Z]\d\d[A-Z]")
_CODE = re.compile(r"[A-Z]\d\d[A-Z]{2}(?:\d\d)?")
# What opens or locks a catheter stays in it, as what rinses stays outside the blood (B05C).
_IN_A_CATHETER = re.compile(r"\b(catheter clearance|dwell|lock)\b")
_STAYS_OUTSIDE = "B05CX"


@dataclass(frozen=True, slots=True)
class Medication:
    """One ingredient or fixed combination of the list, or a group whose drug is unknown."""

    label: str  # the ingredient, "acetaminophen/hydrocodone"; or the group, "B01A"
    codes: tuple[str, ...]  # ATC codes of the drug on its route; of a group the group alone
    is_group: bool
    written: frozenset[str]  # how the list wrote it; two parts of one product share it

    @property
    def ingredients(self) -> frozenset[str]:
        """The parts of a combination, or the one ingredient."""
        return frozenset(self.label.split("/"))

    @property
    def title(self) -> str:
        """For a person: the drug, or the group's name with its code."""
        return f"{atc.name(self.label)} ({self.label})" if self.is_group else self.label


def read(written: Iterable[str]) -> tuple[tuple[Medication, ...], tuple[str, ...]]:
    """The medications of a list, each once, in the order of their labels; and what is unknown.

    `written` holds third-level groups ("B01A"), ATC codes of the fourth or fifth level and drug
    names as a hospital writes them, in any order.
    """
    entries = sorted({text.strip() for text in written if text and text.strip()})
    groups = {text for text in entries if _GROUP.fullmatch(text)}
    known_groups = groups & atc.groups().keys()
    unknown = list(groups - known_groups)
    found: dict[str, tuple[set[str], set[str]]] = {}
    explained: set[str] = set()
    for text in entries:
        if text in groups:
            continue
        parts = _by_code(text) if _CODE.fullmatch(text) else _by_name(text)
        if not parts:
            unknown.append(text)
        for part in parts:
            codes, texts = found.setdefault(part.ingredient, (set(), set()))
            by_route = _on_record(part.possible, groups)
            codes |= _on_record(part.codes, groups) or by_route or set(part.codes)
            texts.add(text)
            explained |= {code[:4] for code in codes | by_route} | part.explains
    medications = [
        Medication(ingredient, tuple(sorted(codes)), False, frozenset(texts))
        for ingredient, (codes, texts) in found.items()
    ]
    medications += [
        Medication(group, (group,), True, frozenset((group,))) for group in known_groups - explained
    ]
    return tuple(sorted(medications, key=lambda one: one.label)), tuple(sorted(unknown))


def _on_record(codes: Iterable[str], groups: set[str]) -> set[str]:
    """The codes whose group the list holds: by these the drug was given."""
    return {code for code in codes if code[:4] in groups}


@dataclass(frozen=True, slots=True)
class _Part:
    ingredient: str
    codes: tuple[str, ...]  # by the name alone
    possible: tuple[str, ...]  # those that the groups of the record may choose from
    explains: frozenset[str] = frozenset()  # groups beside it that are this drug


@lru_cache(maxsize=50_000)
def _by_name(text: str) -> tuple[_Part, ...]:
    match = drugs.match(text)
    if match.kind != "mapped" or not match.ingredient:
        return ()
    plain = names.plain(text)
    tells_route = routes.classify(None, plain) != routes.UNKNOWN
    parts = []
    for ingredient in match.ingredient.split(" + "):
        every = tuple(code.atc for code in drugs.ingredients()[ingredient])
        fitting = tuple(code for code in every if code[:4] in match.groups) or every
        if _IN_A_CATHETER.search(plain):
            parts.append(_Part(ingredient, (_STAYS_OUTSIDE,), (), frozenset(match.groups)))
        else:
            parts.append(_Part(ingredient, fitting, fitting if tells_route else every))
    return tuple(parts)


@lru_cache(maxsize=10_000)
def _by_code(code: str) -> tuple[_Part, ...]:
    """The drug of a code, where a single one has it."""
    held = {
        ingredient: known.atc
        for ingredient, codes in drugs.ingredients().items()
        for known in codes
        if known.atc.startswith(code)
    }
    only = len(held) == 1 or (len(code) == 7 and held)
    return tuple(_Part(name, (atc_,), (atc_,)) for name, atc_ in list(held.items())[:1] if only)
