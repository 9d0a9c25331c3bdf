"""The sentences of a check: who with whom, how far a class-level alert goes, what was left out."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal

from engine.safety.allergies import Allergy
from engine.safety.facts import PatientFacts
from engine.safety.matching import Hit
from engine.safety.medications import Medication
from engine.safety.rules import SafetyRules
from engine.terminology import interactions

Given = Literal["last stay", "now", "either"]  # when a patient got what they are already on
GIVEN: Mapping[Given, tuple[str, str]] = {  # of one drug, of several
    "last stay": (
        "given at the last stay (it may have been stopped)",
        "given at the last stay (they may have been stopped)",
    ),
    "now": ("which the patient is already on",) * 2,
    "either": ("given at the last stay or named as already taken",) * 2,
}
_LONGEST_CLASS = 60  # characters of a side's title that are read as a class, not as a list
_NAMED = 4  # members that are named of a longer list
_CHILDBEARING = range(12, 56)  # years


def what(hits: Sequence[Hit], current: Collection[str] = (), given: Given = "last stay") -> str:
    """ "warfarin with amiodarone, dronedarone", "naproxen, ibuprofen together", or one side.

    `current` are the labels of those that the patient is on already: they come second.
    """
    if current:
        involved = [one for hit in hits for one in hit.medications]
        proposed = _titles(one for one in involved if one.label not in current)
        there = _titles(one for one in involved if one.label in current)
        since = GIVEN[given][len(there) > 1]
        return f"{', '.join(proposed)} with {', '.join(there)}, {since}"
    first = _titles(hit.medications[0] for hit in hits)
    if len(hits[0].medications) == 1:
        return ", ".join(first)
    second = _titles(hit.medications[1] for hit in hits)
    if set(first) & set(second) or hits[0].rule.kind == "duplicate":
        return f"{', '.join(sorted({*first, *second}))} together"
    return f"{', '.join(first)} with {', '.join(second)}"


def scope(hits: Sequence[Hit]) -> str:
    """How far an alert about groups goes, in words that say whether it is certain."""
    parts: dict[str, str] = {}
    for hit in hits:
        for place, medication in enumerate(hit.medications):
            if medication.is_group:
                members = _members(medication.label, hit.rule.sides, place)
                parts.setdefault(medication.label, members)
    return f"class-level: applies to {' and '.join(parts[label] for label in sorted(parts))}"


def also(hits: Iterable[Hit]) -> tuple[str, ...]:
    """Further rules for the same pairs, each once, in words."""
    rules = {hit.rule.id: hit.rule for hit in hits}
    return tuple(
        f"{rule.severity}: {rule.consequence} {rule.management}" for rule in rules.values()
    )


def sentence(parts: Iterable[str]) -> str:
    """Texts that are sentences already, one after the other."""
    return " ".join(part for part in parts if part)


def not_checked(
    rules: SafetyRules,
    listed: tuple[Sequence[Medication], Sequence[str]],
    current: tuple[Sequence[Medication] | None, Sequence[str]],
    facts: PatientFacts,
    allergies: Sequence[Allergy],
) -> tuple[str, ...]:
    """What a reader must not take for checked, each in a sentence.

    `listed` and `current` hold what was read and what was not recognised; of what the patient is
    already on, only what no list holds, and None where nothing was known of it.
    """
    medications, unknown = listed
    lines = []
    if unknown:
        lines.append(f"Not recognised, and so not checked: {', '.join(unknown)}.")
    groups = sum(one.is_group for one in medications)
    if groups:
        lines.append(
            f"{groups} of {len(medications)} medications are known by group only: which drug "
            "of the group, and so whether a rule applies, is open; two drugs of one group count "
            "as one."
        )
    lines += _about_current(*current)
    lines += _about_allergies(facts, allergies)
    if facts.age is None:
        lines.append("Age is not known: cautions for children and older adults were not checked.")
    if not (facts.diagnoses or facts.past_diagnoses):
        lines.append("No diagnoses are known: cautions by disease were not checked.")
    else:
        lines.append(
            "Kidney, liver, potassium and QT go by coded diagnoses, not by measured values; what "
            "was not coded is not seen."
        )
    if facts.sex != "M" and (facts.age is None or facts.age in _CHILDBEARING):
        lines.append("Pregnancy is seen only where a diagnosis says so; breastfeeding is not.")
    lines.append(
        "Doses, routes, durations and whether drugs were given at the same time were not checked."
    )
    lines.append(
        f"{len(rules.interactions)} interaction rules are no full database; herbs, food, alcohol "
        "and drugs outside the list are not covered."
    )
    return tuple(lines)


def _about_current(medications: Sequence[Medication] | None, unknown: Sequence[str]) -> list[str]:
    """What of the drugs that the patient is on already was not looked at."""
    lines = []
    if unknown:
        lines.append(f"Already on, not recognised, and so not checked: {', '.join(unknown)}.")
    if medications is None:
        return [*lines, "What the patient is already on is not known; nothing was checked with it."]
    if groups := [one.label for one in medications if one.is_group]:
        lines.append(f"Already on, known by group only: {', '.join(groups)}.")
    if medications:
        lines.append(
            f"Of what the patient was on, {len(medications)} not listed by that name: checked with "
            "what is listed only, not with each other, nor for allergies, age or diseases."
        )
    return [*lines, "What was stopped, begun or bought since the last record is not known."]


def _about_allergies(facts: PatientFacts, allergies: Sequence[Allergy]) -> list[str]:
    lines = [allergy.note for allergy in allergies if allergy.note]
    if facts.allergies is None:
        coded = "only those coded as diagnoses were checked" if allergies else "none are coded"
        lines.append(f"Allergies were not asked for; {coded}.")
    return lines


def _titles(medications: Iterable[Medication]) -> list[str]:
    return sorted({one.title for one in medications})


@lru_cache(maxsize=20_000)
def _members(group: str, sides: tuple[interactions.Side, ...], place: int) -> str:
    """ "some members of B01A (vitamin K antagonists)"."""
    members = interactions.ingredients_of(group)
    ordered = (*sides[place : place + 1], *sides)
    side = next((one for one in ordered if members & one.members), None)
    if side is None:
        return f"the members of {group} with that ingredient"
    if members <= side.members:
        return f"every drug of {group} on file"
    title = side.title
    if len(title) > _LONGEST_CLASS or "," in title:
        named = sorted(members & side.members, key=lambda name: ("/" in name, name))
        more = " …" if len(named) > _NAMED else ""
        title = ", ".join(named[:_NAMED]) + more
    return f"some members of {group} ({title})"
