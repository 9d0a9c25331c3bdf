"""Whether patients today resemble those the models learnt from: drift of the inputs, by field.

    expected = describe(training_visits)          # kept in a version's metrics.json
    drift(expected, describe(recent_visits))      # field → Drift

The measure is the population stability index, the sum over a field's categories of
(actual − expected) · ln(actual / expected), and the usual reading of it: below 0.1 stable, below
0.25 some change, else a large one (N. Siddiqi, Credit Risk Scorecards, Wiley 2006, chapter 7).
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from engine.records.schema import PROFILE_FIELDS, Visit, profile_value

Reading = Literal["stable", "some change", "large change"]
SOME, LARGE = 0.1, 0.25
FEWEST = 30  # visits; of fewer the index tells chance, not change
RARE = 0.0001  # stands for a share of zero, whose logarithm there is none of
UNKNOWN = "not on record"
OTHER = "others"
MOST_CATEGORIES = 20  # of a field; the rest is counted together

_COUNTS = {  # field → (upper ends of its classes, how to count)
    "diagnoses of the visit": ((5, 10, 15, 20), lambda visit: len(visit.diagnoses)),
    "procedures of the visit": ((0, 2, 5), lambda visit: len(visit.procedures)),
    "earlier visits": ((0, 1, 3), lambda visit: len(visit.history)),
    "previous medication groups": ((0, 10, 20), lambda visit: len(visit.previous_medications)),
}
_CODES = {  # field → what each code of a visit counts as
    "kind of diagnosis": lambda visit: [_chapter(code) for code in visit.diagnoses],
    "coding system": lambda visit: [f"ICD-{code.partition(':')[0]}" for code in visit.diagnoses],
    "kind of earlier medication": lambda visit: [code[:3] for code in visit.previous_medications],
}


@dataclass(frozen=True)
class Drift:
    """How far one field has moved."""

    field: str
    index: float | None  # None: too few visits
    reading: Reading | None
    moved: tuple[tuple[str, float, float], ...]  # category, expected and actual share; most first


def describe(visits: Sequence[Visit]) -> dict:
    """Return {"visits": number, "fields": field → category → share}; no patient can be told."""
    fields: dict[str, Counter] = {}
    for name in PROFILE_FIELDS:
        fields[name.replace("_", " ")] = Counter(
            profile_value(visit, name) or UNKNOWN for visit in visits
        )
    for name, (ends, count) in _COUNTS.items():
        fields[name] = Counter(_class(count(visit), ends) for visit in visits)
    for name, kinds in _CODES.items():
        fields[name] = Counter(kind for visit in visits for kind in kinds(visit))
    return {
        "visits": len(visits),
        "fields": {name: _shares(counted) for name, counted in fields.items()},
    }


def drift(expected: Mapping, actual: Mapping) -> list[Drift]:
    """Return every field that both descriptions have, the most moved first."""
    enough = min(expected["visits"], actual["visits"]) >= FEWEST
    found = []
    for name, before in expected["fields"].items():
        now = actual["fields"].get(name)
        if now is None or not before or not now:
            continue
        before, now = _same_categories(before, now)
        index = stability_index(before, now) if enough else None
        moved = sorted(before, key=lambda one: -abs(now[one] - before[one]))[:3]
        shares = tuple((one, before[one], now[one]) for one in moved)
        found.append(Drift(name, index, None if index is None else reading(index), shares))
    return sorted(found, key=lambda one: -(one.index or 0.0))


def stability_index(expected: Mapping[str, float], actual: Mapping[str, float]) -> float:
    """Return the population stability index of two sets of shares over the same categories."""
    pairs = ((max(expected[one], RARE), max(actual[one], RARE)) for one in expected)
    return sum((now - before) * math.log(now / before) for before, now in pairs)


def reading(index: float) -> Reading:
    if index < SOME:
        return "stable"
    return "some change" if index < LARGE else "large change"


def _same_categories(before: Mapping, now: Mapping) -> tuple[dict, dict]:
    """Return both over one set of categories: what training kept apart, and all others."""
    kept = [one for one in before if one != OTHER]
    return tuple(
        {one: shares.get(one, 0.0) for one in kept}
        | {OTHER: max(1.0 - sum(shares.get(one, 0.0) for one in kept), 0.0)}
        for shares in (before, now)
    )


def _shares(counted: Counter) -> dict[str, float]:
    total = counted.total()
    return {one: round(number / total, 6) for one, number in counted.most_common(MOST_CATEGORIES)}


def _class(number: int, ends: Iterable[int]) -> str:
    start = 0
    for end in ends:
        if number <= end:
            return str(end) if start == end else f"{start}–{end}"
        start = end + 1
    return f"{start} or more"


def _chapter(code: str) -> str:
    """Return the letter of an ICD-10 code, or the hundred of an ICD-9 one."""
    version, _, plain = code.partition(":")
    if version == "10":
        return f"ICD-10 {plain[:1]}"
    return f"ICD-9 {plain[:1]}" + ("" if plain[:1] in "EV" else "00s")
