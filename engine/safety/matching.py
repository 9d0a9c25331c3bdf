"""Which rules a list of medications meets, and how sure that is.

A drug known by name is on a side of a rule or not. A group is on it with a *share* of its drugs: a
rule about warfarin holds for a part of B01A. The share of two groups is that of their pairs of
drugs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, combinations, product

from engine.safety.medications import Medication
from engine.safety.report import TIERS, Certainty, Tier, certainty, tier
from engine.safety.rules import Rule, SafetyRules
from engine.terminology import interactions
from engine.terminology.interactions import SEVERITIES, Side


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule that holds for one medication, or for two."""

    rule: Rule
    medications: tuple[Medication, ...]  # in the order of the rule's sides
    share: float  # of the drugs, or pairs of drugs, that they may stand for
    order: int = 0  # of the rule in the files

    @property
    def certainty(self) -> Certainty:
        return certainty(self.share)

    @property
    def tier(self) -> Tier:
        return tier(self.rule.severity, self.certainty)

    @property
    def is_shown(self) -> bool:
        """What only a few members of a group would meet is counted, not shown, unless it is an
        interaction or allergy of weight, or a caution that forbids the drug."""
        if self.certainty != "possible":
            return True
        if self.rule.kind in ("interaction", "allergy"):
            return self.rule.severity != "moderate"
        return self.rule.kind == "caution" and self.rule.severity == "contraindicated"

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(sorted(one.label for one in self.medications))

    @property
    def worst_first(self) -> tuple:
        """A key by which the rule that says most about a pair comes first."""
        severity = SEVERITIES.index(self.rule.severity)
        unsure = self.certainty == "possible"
        return (TIERS.index(self.tier), unsure, -severity, -self.share, self.order)


def share_on_side(medication: Medication, side: Side) -> float:
    """The share of what a medication may stand for that is on a side."""
    if not medication.is_group:
        return float(side.covers(medication.label, medication.codes))
    if medication.label not in side.groups:
        return 0.0
    members = interactions.ingredients_of(medication.label)
    return len(members & side.members) / len(members)


def single_shares(rules: SafetyRules, medication: Medication) -> dict[str, float]:
    """The shares of a medication on the allergy and caution rules that it is on, by their ids."""
    return _single_shares(rules, medication.label, medication.codes, medication.is_group)


@lru_cache(maxsize=20_000)
def _single_shares(
    rules: SafetyRules, label: str, codes: tuple[str, ...], is_group: bool
) -> dict[str, float]:
    medication = Medication(label, codes, is_group, frozenset())
    shares = {
        rule.id: share_on_side(medication, rule.sides[0])
        for rule in (*rules.allergies, *rules.cautions)
    }
    return {rule: share for rule, share in shares.items() if share}


def pair_hits(
    rules: SafetyRules, medications: Sequence[Medication], beside: Sequence[Medication] = ()
) -> list[Hit]:
    """The pair rules that hold between any two medications of a list, and between one of the list
    and one `beside` it, of other labels, that cannot be the same: what a patient is on already."""
    by_rule = _by_rule(rules, medications)
    by_rule_beside = _by_rule(rules, beside)
    hits = []
    for place, reached in by_rule.items():
        pairs = combinations(reached, 2)
        across = product(reached, by_rule_beside.get(place, ()))
        for (one, reach), (other, other_reach) in chain(pairs, across):
            share = reach.share_with(other_reach)
            if share and _are_different(one, other):
                in_order = reach.left * other_reach.right > 0
                pair = (one, other) if in_order else (other, one)
                hits.append(Hit(rules.pair_rules[place], pair, share, place))
    if beside:
        own = {one.label for one in medications}
        hits = [
            hit for hit in hits if own.issuperset(hit.labels) or not may_be_same(*hit.medications)
        ]
    hits = _with_united_shares(rules, hits)
    return hits + _same_ingredient(rules, medications, beside)


def may_be_same(one: Medication, other: Medication) -> bool:
    """Whether two are one drug or group, or one is a group that holds the other."""
    if one.is_group:
        return any(code.startswith(one.label) for code in other.codes)
    if other.is_group:
        return any(code.startswith(other.label) for code in one.codes)
    return one.label == other.label


def _by_rule(
    rules: SafetyRules, medications: Sequence[Medication]
) -> dict[int, list[tuple[Medication, "_Reach"]]]:
    """The medications that have a part in each pair rule, by the rule's place."""
    by_rule: dict[int, list[tuple[Medication, _Reach]]] = {}
    for medication in medications:
        for place, reach in _reaches(
            rules, medication.label, medication.codes, medication.is_group
        ).items():
            by_rule.setdefault(place, []).append((medication, reach))
    return by_rule


def _with_united_shares(rules: SafetyRules, hits: list[Hit]) -> list[Hit]:
    """Where several rules hold for parts of two groups, the share is that of all of them: NSAIDs
    interact with heparins by one rule, with warfarin by another, so with most of B01A."""
    places: dict[tuple[str, ...], list[int]] = {}
    for hit in hits:
        if hit.share < 1:
            places.setdefault(hit.labels, []).append(hit.order)
    united = []
    for hit in hits:
        if len(places.get(hit.labels, ())) > 1:
            least = SEVERITIES.index(hit.rule.severity)
            counted = tuple(
                place
                for place in places[hit.labels]
                if SEVERITIES.index(rules.pair_rules[place].severity) >= least
            )
            one, other = sorted(hit.medications, key=lambda medication: medication.label)
            ends = ((one.label, one.is_group), (other.label, other.is_group))
            hit = replace(hit, share=_united_share(rules, *ends, counted))
        united.append(hit)
    return united


@lru_cache(maxsize=20_000)
def _united_share(
    rules: SafetyRules, one: tuple[str, bool], other: tuple[str, bool], places: tuple[int, ...]
) -> float:
    """The share of the pairs of drugs for which at least one of some rules holds."""
    firsts, seconds = (
        interactions.ingredients_of(label) if is_group else frozenset((label,))
        for label, is_group in (one, other)
    )
    held = set()
    for place in places:
        left, right = rules.pair_rules[place].sides
        for side, opposite in ((left, right), (right, left)):
            held |= set(product(firsts & side.members, seconds & opposite.members))
    return len(held) / (len(firsts) * len(seconds))


@dataclass(frozen=True, slots=True)
class _Reach:
    """The shares of a medication on the left side of a rule, on the right, and on both."""

    left: float
    right: float
    both: float

    def share_with(self, other: "_Reach") -> float:
        crossed = self.left * other.right + self.right * other.left
        return crossed - self.both * other.both


@lru_cache(maxsize=20_000)
def _reaches(
    rules: SafetyRules, label: str, codes: tuple[str, ...], is_group: bool
) -> dict[int, _Reach]:
    """The pair rules that a medication has a part in, by their place."""
    medication = Medication(label, codes, is_group, frozenset())
    found = {}
    for place, rule in enumerate(rules.pair_rules):
        left, right = rule.sides
        shares = (share_on_side(medication, left), share_on_side(medication, right))
        if any(shares):
            found[place] = _Reach(*shares, _on_both(medication, left, right, shares))
    return found


def _on_both(medication: Medication, left: Side, right: Side, shares: tuple[float, float]) -> float:
    if not all(shares):
        return 0.0
    if not medication.is_group:
        return 1.0
    members = interactions.ingredients_of(medication.label)
    return len(members & left.members & right.members) / len(members)


def _are_different(one: Medication, other: Medication) -> bool:
    """Neither parts of one product, nor an ingredient with a product that holds it."""
    if one.is_group or other.is_group:
        return True
    return not (one.written & other.written or one.ingredients & other.ingredients)


def _same_ingredient(
    rules: SafetyRules, medications: Sequence[Medication], beside: Sequence[Medication]
) -> list[Hit]:
    rule = rules.same_ingredient
    counted, counted_beside = (
        [one for one in some if not one.is_group and not any(_is_in(one, rules.not_counted_twice))]
        for some in (medications, beside)
    )
    hits = []
    for one, other in chain(combinations(counted, 2), product(counted, counted_beside)):
        if one.label != other.label and one.ingredients & other.ingredients:
            hits.append(Hit(rule, (one, other), 1.0, len(rules.pair_rules)))
    return hits


def _is_in(medication: Medication, beginnings: tuple[str, ...]) -> list[bool]:
    return [code.startswith(beginnings) for code in medication.codes]
