"""Which rules a patient's lists meet: whose list it is, and whether that is known already.

Pairs are sought within each list, never between two, and between a list and what the patient is
already on. What holds among the latter alone is known: nobody needs to be told of it again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from engine.safety import allergies, cautions
from engine.safety.allergies import Allergy
from engine.safety.facts import PatientFacts
from engine.safety.matching import Hit, may_be_same, pair_hits
from engine.safety.medications import Medication, read
from engine.safety.report import TIERS
from engine.safety.rules import SafetyRules
from engine.terminology.interactions import SEVERITIES


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that is met, and what a reader needs to know besides."""

    hit: Hit
    lists: tuple[str, ...]  # whose; empty where the lists have no names
    is_known: bool  # from what the patient is already on, and no worse now
    current: str = ""  # the label of the one that the patient is on and no list holds
    why: str = ""  # of an allergy or caution: "; allergy: penicillin", " in heart failure"
    side_effect: str = ""
    beside: tuple[Hit, ...] = ()  # further rules for the same pair

    @property
    def alert(self) -> tuple:
        """What the findings of one alert have in common."""
        rule, is_class = self.hit.rule, any(one.is_group for one in self.hit.medications)
        told = (rule.id, rule.severity, self.hit.certainty, is_class, self.why, self.side_effect)
        return (*told, self.lists, bool(self.current), self.is_known)


class Lists:
    """Lists by name, read, with who holds what."""

    def __init__(self, lists: Mapping[str, Iterable[str]]) -> None:
        self._names = tuple(lists)
        self._holders: dict[str, frozenset[str]] = {}
        self._unknown: set[str] = set()
        found: dict[str, Medication] = {}
        for name, written in lists.items():
            medications, unknown = read(written)
            self._unknown |= set(unknown)
            for one in medications:
                found[one.label] = _united(one, found.get(one.label, one))
                self._holders[one.label] = self._holders.get(one.label, frozenset()) | {name}
        self.medications = tuple(sorted(found.values(), key=lambda one: one.label))

    @property
    def unknown(self) -> tuple[str, ...]:
        """What was not recognised."""
        return tuple(sorted(self._unknown))

    def __contains__(self, label: str) -> bool:
        return label in self._holders

    def holding(self, labels: Iterable[str]) -> frozenset[str]:
        """The lists that hold every one of these; a label that is in no list does not count."""
        held = [self._holders[label] for label in labels if label in self._holders]
        return frozenset.intersection(*held)

    def named(self, holders: frozenset[str]) -> tuple[str, ...]:
        """The names of some lists in their order; the nameless one is none."""
        return tuple(name for name in self._names if name and name in holders)


class Current:
    """What the patient is already on, compared with the lists."""

    def __init__(self, lists: Lists, medications: Sequence[Medication]) -> None:
        self.medications = medications
        self.beside = tuple(one for one in medications if one.label not in lists)
        # Which of the patient's drugs a medication of the lists may go on with.
        self._continued = {
            one.label: tuple(old.label for old in medications if _goes_on(one, old))
            for one in lists.medications
        }

    def has(self, label: str) -> bool:
        """Whether the patient is already on it; on a group, whichever drug of it."""
        return bool(self._continued.get(label, True))

    def labels_of(self, label: str) -> tuple[str, ...]:
        """A medication, and the drugs of the patient that it may go on with."""
        return (label, *self._continued[label])

    def with_groups(self) -> tuple[Medication, ...]:
        """The medications, and the groups that they belong to."""
        groups = {code[:4] for one in self.medications for code in one.codes}
        groups -= {one.label for one in self.medications}
        read_as_groups = (Medication(code, (code,), True, frozenset()) for code in sorted(groups))
        return (*self.medications, *read_as_groups)


@dataclass
class Findings:
    """All of them; and how many are not worth a line, as few drugs of a group would meet them."""

    found: list[Finding] = field(default_factory=list)
    unshown: int = 0
    allergies: list[Allergy] = field(default_factory=list)


def find(
    rules: SafetyRules,
    lists: Lists,
    current: Current,
    facts: PatientFacts,
    facts_before: PatientFacts,
) -> Findings:
    """Return what the lists meet; `facts_before` is the patient who got the current ones."""
    findings = Findings(allergies=allergies.of_patient(facts, rules))
    _add_pairs(findings, rules, lists, current)
    known = _known(rules, current, facts_before)
    for hit, why, mild in _singles(rules, findings.allergies, facts, lists.medications):
        if not hit.is_shown:
            findings.unshown += 1
            continue
        (label,) = hit.labels
        worst = max(known.get((hit.rule.id, one), _NEVER) for one in current.labels_of(label))
        holders = lists.named(lists.holding(hit.labels))
        is_known = worst >= _urgency(hit)
        findings.found.append(Finding(hit, holders, is_known, why=why, side_effect=mild))
    return findings


def _add_pairs(findings: Findings, rules: SafetyRules, lists: Lists, current: Current) -> None:
    by_pair: dict[tuple[str, ...], list[Hit]] = {}
    for hit in pair_hits(rules, lists.medications, current.beside):
        if not lists.holding(hit.labels):
            continue
        if hit.is_shown:
            by_pair.setdefault(hit.labels, []).append(hit)
        else:
            findings.unshown += 1
    main = {pair: min(held, key=lambda hit: hit.worst_first) for pair, held in by_pair.items()}
    for pair, first in main.items():
        added = next((label for label in pair if label not in lists), "")
        if added and _is_covered(first, added, main, lists):
            continue
        rest = sorted(by_pair[pair], key=lambda hit: hit.worst_first)
        findings.found.append(
            Finding(
                first,
                lists.named(lists.holding(pair)),
                is_known=all(current.has(label) for label in pair),
                current=added,
                beside=tuple(hit for hit in rest if _adds(hit, first)),
            )
        )


def _is_covered(hit: Hit, added: str, main: Mapping[tuple[str, ...], Hit], lists: Lists) -> bool:
    """Whether the list says as much itself, since it goes on with what the patient is on."""
    (old,) = (one for one in hit.medications if one.label == added)
    (new,) = (one for one in hit.medications if one.label != added)
    for going_on in lists.medications:
        own = main.get(tuple(sorted((new.label, going_on.label))))
        if own and may_be_same(going_on, old):
            as_loud = own.worst_first[:3] <= hit.worst_first[:3]
            if as_loud and lists.holding(own.labels) >= lists.holding((new.label,)):
                return True
    return False


def _adds(hit: Hit, first: Hit) -> bool:
    """Whether a second rule says something new; qt-with-qt-lesser beside qt-with-qt does not."""
    if hit is first or hit.certainty == "possible":
        return False
    return not hit.rule.id.startswith(first.rule.id)


def _singles(
    rules: SafetyRules,
    known_allergies: Sequence[Allergy],
    facts: PatientFacts,
    medications: Sequence[Medication],
) -> list[tuple[Hit, str, str]]:
    """Allergies and cautions, each with why, and the side effect that an allergy may only be."""
    found = [
        (hit, f"; allergy: {allergy.said}", allergy.side_effect)
        for hit, allergy in allergies.hits(rules, known_allergies, medications)
    ]
    return found + [(hit, f" {why}", "") for hit, why in cautions.hits(rules, facts, medications)]


_NEVER = (-len(TIERS), -1)


def _known(
    rules: SafetyRules, current: Current, facts: PatientFacts
) -> dict[tuple[str, str], tuple[int, int]]:
    """Rule and medication of the allergies and cautions that held already → how urgently."""
    known: dict[tuple[str, str], tuple[int, int]] = {}
    medications = current.with_groups()
    held = allergies.of_patient(facts, rules) if medications else ()
    for hit, _, _ in _singles(rules, held, facts, medications):
        key = (hit.rule.id, *hit.labels)
        if hit.is_shown:
            known[key] = max(known.get(key, _NEVER), _urgency(hit))
    return known


def _urgency(hit: Hit) -> tuple[int, int]:
    return (-TIERS.index(hit.tier), SEVERITIES.index(hit.rule.severity))


def _united(one: Medication, other: Medication) -> Medication:
    codes = tuple(sorted({*one.codes, *other.codes}))
    return replace(one, codes=codes, written=one.written | other.written)


def _goes_on(new: Medication, old: Medication) -> bool:
    """Whether the patient is already on it, by the same route; a named drug is more than a group
    of which the drug was not recorded."""
    if new.is_group:
        return may_be_same(new, old)
    return new.label == old.label and set(new.codes) <= set(old.codes)
