"""Drug-drug interactions: rules between ingredients, and what they mean for ATC groups.

    >>> [rule.id for rule in between("warfarin", "ibuprofen")]
    ['warfarin-nsaid']

The rules are `data/interactions.yaml`. A rule holds between two ingredients. Where only ATC
third-level groups are known, it holds for a *share* of the pairs of drugs of two groups: all of
C09A with C03D, few of B01A with J02A (warfarin with fluconazole). Alerts by group are therefore
more than the drugs may deserve, and every use of them says which share it counts from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import yaml

from engine.errors import WorkbenchError
from engine.terminology import atc, drugs, routes

Severity = Literal["moderate", "major", "contraindicated"]
SEVERITIES: tuple[Severity, ...] = ("moderate", "major", "contraindicated")  # the worst last
COUNTED_SHARE = 1 / 3  # of the drug pairs of two groups, from which the groups interact
TEXTS = ("mechanism", "consequence", "management", "source")

_FILE = Path(__file__).parent / "data" / "interactions.yaml"
_EXCEPT = "not "
# On these routes too little of a drug reaches the blood for a rule that names the ingredient.
_LOCAL_ROUTES = frozenset(
    ["topical", "ophthalmic", "otic", "nasal", "inhaled", "vaginal", "irrigation", "intravesical"]
    + ["oromucosal", "local", "intradermal", "epidural", "intrathecal", "dwell"]
)
_SYSTEMIC_SKIN_DRUGS = ("D01B", "D05B", "D10B")  # taken by mouth, though filed under skin


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a rule: a drug, a list of drugs or a class."""

    title: str  # for a person, e.g. "NSAIDs"
    codes: tuple[str, ...]  # ATC codes it names, third to fifth level
    named: frozenset[str]  # ingredients it names
    members: frozenset[str]  # every ingredient of the terminology that it covers
    groups: frozenset[str]  # third-level groups of which it covers at least some drugs

    def covers(self, ingredient: str, codes: Sequence[str] = ()) -> bool:
        """Whether an ingredient is on this side; `codes` are its ATC codes on the route it is
        given by (timolol in the eye is no beta blocker here), all its codes where left out."""
        if ingredient not in self.members:
            return False
        if not codes or any(code.startswith(self.codes) for code in codes):
            return True
        if self.named.isdisjoint({ingredient, *ingredient.split("/")}):
            return "/" in ingredient  # the component that makes it a member has codes of its own
        return any(not _is_local(code) for code in codes)


@dataclass(frozen=True, slots=True)
class Rule:
    """An interaction between any drug of one side and any other drug of the other side."""

    id: str
    sides: tuple[Side, Side]
    severity: Severity
    mechanism: str
    consequence: str
    management: str
    source: str

    def holds(self, one: str, other: str) -> bool:
        """Whether two different ingredients are on opposite sides, either way round."""
        left, right = self.sides
        return one != other and (
            (left.covers(one) and right.covers(other)) or (left.covers(other) and right.covers(one))
        )


@dataclass(frozen=True, slots=True)
class GroupPair:
    """The interaction of two third-level groups."""

    severity: Severity  # of the worst rule
    share: float  # of the pairs of drugs, one from each group, that interact; above 0, at most 1
    rules: tuple[str, ...]  # ids, the worst first


@cache
def rules() -> tuple[Rule, ...]:
    """Every rule, in the order of the file.

    Raises WorkbenchError naming the rule and the field that is missing or unknown.
    """
    return tuple(_rule(entry, families()) for entry in _content()["rules"])


@cache
def families() -> Mapping[str, list[str]]:
    """Drugs that rules name by a word ("strong CYP3A4 inhibitors"), with what each stands for."""
    return MappingProxyType(_content()["families"])


@cache
def ingredients_of(group: str) -> frozenset[str]:
    """The ingredients of a third-level group, combinations among them."""
    return frozenset(name for code, name in _by_code() if code.startswith(group))


def between(one: str, other: str) -> list[Rule]:
    """The rules that hold between two ingredients, the worst first."""
    return sorted((rule for rule in rules() if rule.holds(one, other)), key=_worst_first)


@cache
def group_pairs(least: Severity = "major") -> Mapping[frozenset[str], GroupPair]:
    """Pairs of different third-level groups between which a rule of at least `least` holds.

    The pairs of a group with itself (two antithrombotics) are not here: a set of groups cannot
    tell one drug from two.
    """
    found: dict[frozenset[str], list[Rule]] = {}
    for rule in sorted(rules(), key=_worst_first):
        if SEVERITIES.index(rule.severity) >= SEVERITIES.index(least):
            left, right = rule.sides
            crossed = {frozenset((one, other)) for one in left.groups for other in right.groups}
            for pair in crossed:
                if len(pair) == 2:
                    found.setdefault(pair, []).append(rule)
    return MappingProxyType(
        {
            pair: GroupPair(held[0].severity, _share(pair, held), tuple(rule.id for rule in held))
            for pair, held in found.items()
        }
    )


def matrix(
    groups: Sequence[str], least: Severity = "major", share: float = COUNTED_SHARE
) -> np.ndarray:
    """Which of L groups interact with which: bool (L, L), symmetric, false on the diagonal.

    A pair counts when at least `share` of its pairs of drugs interact. The default keeps the
    pairs that deserve their alert; 0 keeps every pair with at least one interaction, the way of
    the field, by which an opioid with acetaminophen interacts (N02B also holds pregabalin).
    """
    place = {group: index for index, group in enumerate(groups)}
    interacts = np.zeros((len(groups), len(groups)), dtype=bool)
    for pair, held in group_pairs(least).items():
        if pair <= place.keys() and held.share >= share:
            one, other = (place[group] for group in pair)
            interacts[one, other] = interacts[other, one] = True
    return interacts


def describe(groups: Sequence[str], least: Severity = "major", share: float = COUNTED_SHARE) -> str:
    """Name the source and the vocabulary of a rate over `groups`, for the reader of a report."""
    pairs = int(matrix(groups, least, share).sum()) // 2
    possible = len(groups) * (len(groups) - 1) // 2
    counted = [one for one in SEVERITIES if SEVERITIES.index(one) >= SEVERITIES.index(least)]
    rule_count = sum(rule.severity in counted for rule in rules())
    reach = f"at least {share:.0%} of their drugs' pairs" if share else "any of their drugs"
    return (
        f"this workbench's own list ({rule_count} rules, {' or '.join(counted)}), by which "
        f"{pairs:,} of the {possible:,} pairs of ATC third-level groups in the vocabulary "
        f"interact for {reach}"
    )


def side(
    written: str | Sequence[str], where: str, families: Mapping[str, list[str]] | None = None
) -> Side:
    """Read the drugs that a rule names: families, ingredients, ATC codes, less "not X".

    `where` begins the message of the WorkbenchError for a name that is none of these.
    """
    families = _content()["families"] if families is None else families
    items = [written] if isinstance(written, str) else written
    title = ", ".join(_title(item) for item in items if not item.startswith(_EXCEPT))
    spread = [part for item in items for part in families.get(item, (item,))]
    excluded = {part.removeprefix(_EXCEPT) for part in spread if part.startswith(_EXCEPT)}
    kept = [part for part in dict.fromkeys(spread) if not part.startswith(_EXCEPT)]
    named = frozenset(part for part in kept if part in drugs.ingredients())
    codes = tuple(part for part in kept if part not in named)
    for code in codes:
        if len(code) not in (4, 5, 7) or not any(one.startswith(code) for one in _known_codes()):
            raise WorkbenchError(
                f"{where}: '{code}' is no family, ingredient or ATC code (third to fifth level) of "
                "ingredients.csv; mend it there"
            )
    if unknown := sorted(excluded - drugs.ingredients().keys()):
        raise WorkbenchError(f"{where}: 'not {unknown[0]}' is no ingredient")
    groups = {code[:4] for code in codes}
    groups |= {code[:4] for name in named for code in _systemic_codes()[name]}
    return Side(title, codes, named, _members(named, codes) - excluded, frozenset(groups))


@cache
def _content() -> dict:
    return yaml.load(_FILE.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", None))


def _rule(entry: dict, families: Mapping[str, list[str]]) -> Rule:
    name = entry.get("id", "a rule without id")
    for field in ("id", "between", "and", "severity", *TEXTS):
        if not entry.get(field):
            raise WorkbenchError(f"{_FILE.name}: rule {name}: '{field}' is missing; write it there")
    if entry["severity"] not in SEVERITIES:
        raise WorkbenchError(
            f"{_FILE.name}: rule {name}: severity '{entry['severity']}' is none of "
            f"{', '.join(SEVERITIES)}"
        )
    where = f"{_FILE.name}: rule {name}"
    sides = tuple(side(entry[end], where, families) for end in ("between", "and"))
    return Rule(name, sides, entry["severity"], *(entry[field] for field in TEXTS))


def _title(item: str) -> str:
    """A family or ingredient as it is written, a code as its group or its drug is called."""
    return next((name for code, name in _by_code() if code == item), atc.name(item))


def _members(named: frozenset[str], codes: tuple[str, ...]) -> frozenset[str]:
    """The ingredients named or under a code, and the combinations that contain one of them."""
    own = set(named)
    if codes:
        own |= {name for code, name in _by_code() if code.startswith(codes)}
    combined = {name for name, parts in _combinations().items() if not own.isdisjoint(parts)}
    return frozenset(own | combined)


@cache
def _known_codes() -> frozenset[str]:
    return frozenset(code for code, _ in _by_code())


@cache
def _by_code() -> tuple[tuple[str, str], ...]:
    """Every ATC code with an ingredient that has it."""
    return tuple((code.atc, name) for name, codes in drugs.ingredients().items() for code in codes)


@cache
def _combinations() -> Mapping[str, frozenset[str]]:
    """Combinations that reach the blood, with their components."""
    return {
        name: frozenset(name.split("/"))
        for name, codes in _systemic_codes().items()
        if "/" in name and codes
    }


@cache
def _systemic_codes() -> Mapping[str, tuple[str, ...]]:
    """Every ingredient with the codes under which it reaches the blood."""
    return {
        name: tuple(
            code.atc
            for code in codes
            if not (code.routes and code.routes <= _LOCAL_ROUTES) and not _is_local(code.atc)
        )
        for name, codes in drugs.ingredients().items()
    }


@cache
def _is_local(code: str) -> bool:
    """Whether the group of an ATC code is meant for one place of the body."""
    if code.startswith(_SYSTEMIC_SKIN_DRUGS):
        return False
    places = routes.of_atc(code)
    return bool(places) and places <= _LOCAL_ROUTES | {"rectal", "transdermal"}


def _share(pair: frozenset[str], held: list[Rule]) -> float:
    """The share of the pairs of drugs, one from each of two groups, that a rule holds for."""
    one, other = (ingredients_of(group) for group in sorted(pair))
    interacting = {
        (first, second)
        for rule in held
        for left, right in (rule.sides, rule.sides[::-1])
        for first in one & left.members
        for second in other & right.members
    }
    return len(interacting) / (len(one) * len(other))


def _worst_first(rule: Rule) -> int:
    return -SEVERITIES.index(rule.severity)
