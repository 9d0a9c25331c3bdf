"""Allergies as they are typed or coded, and which medications they speak against.

>>> understand("Penicillin (hives)", SafetyRules.load()).allergens
('penicillins',)
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.safety.facts import PatientFacts
from engine.safety.matching import Hit, share_on_side, single_shares
from engine.safety.medications import Medication, read
from engine.safety.rules import Rule, SafetyRules
from engine.terminology import interactions, names
from engine.terminology.interactions import SEVERITIES

# What follows a dash or a colon is the reaction; what stands in brackets as well.
_REACTION = re.compile(r"\s+[-–—]+\s+|\s*:\s*")
_LONGEST = 120  # characters of an entry that are read
_LEFT_OUT = ("allergy to ", "allergic to ", "allergy ", "allergies ")


@dataclass(frozen=True, slots=True)
class Allergy:
    """One entry: what it is to, as far as it was understood."""

    said: str  # "penicillin (hives)", or the title of a code
    allergens: tuple[str, ...] = ()  # keys of `SafetyRules.allergens`
    drugs: tuple[Medication, ...] = ()
    side_effect: str = ""  # the reaction, where it is one rather than an allergy
    note: str = ""  # for the screen: why nothing was checked


def of_patient(facts: PatientFacts, rules: SafetyRules) -> list[Allergy]:
    """The allergies of a patient: typed in, and coded as diagnoses of this or an earlier visit."""
    typed = [understand(entry, rules) for entry in facts.allergies or () if entry.strip()]
    codes = sorted({*facts.diagnoses, *facts.past_diagnoses})
    coded = [
        Allergy(f"{allergen.name}, recorded as diagnosis {code.replace(':', ' ', 1)}", (key,))
        for key, allergen in rules.allergens.items()
        for code in codes
        if allergen.prefixes and code.startswith(allergen.prefixes)
    ]
    return [one for one in typed if one.said] + coded


def understand(entry: str, rules: SafetyRules) -> Allergy:
    """Read one free-text entry; an Allergy with nothing in it says that there is none."""
    said = " ".join(entry[:_LONGEST].split())
    outside, inside = names.brackets(said)
    words, *after = _REACTION.split(outside, maxsplit=1)
    reaction = names.plain(" ".join([*inside, *after]))
    plain = names.plain(words)
    for beginning in _LEFT_OUT:
        plain = plain.removeprefix(beginning)
    if plain in rules.no_allergy or names.plain(said) in rules.no_allergy:
        return Allergy("")
    if plain in rules.no_drug:
        return Allergy(said, note=f"“{said}”: {rules.no_drug[plain]}.")
    mild = reaction if reaction and _only_side_effects(reaction, rules) else ""
    by_word = tuple(key for key, one in rules.allergens.items() if plain in one.words)
    if by_word:
        return Allergy(said, by_word, side_effect=mild)
    medications, _ = read([words.strip() if words.strip().isupper() else plain])
    if not medications:
        return Allergy(said, note=f"The allergy “{said}” was not understood.")
    classes = tuple(
        key
        for key, allergen in rules.allergens.items()
        if not allergen.unnamed
        and any(share_on_side(_anywhere(one), allergen.drugs) == 1 for one in medications)
    )
    return Allergy(said, classes, medications, side_effect=mild)


def hits(
    rules: SafetyRules, allergies: Sequence[Allergy], medications: Sequence[Medication]
) -> list[tuple[Hit, Allergy]]:
    """For each medication and allergy the one rule that says most, and the allergy."""
    found = []
    for allergy in allergies:
        for medication in medications:
            held = [
                Hit(_milder(rule, allergy), (medication,), share, order)
                for order, (rule, share) in enumerate(_held(rules, allergy, medication))
            ]
            if held:
                found.append((min(held, key=lambda hit: hit.worst_first), allergy))
    return found


def _held(rules: SafetyRules, allergy: Allergy, medication: Medication):
    """The rules that hold, each with the share of a group that it holds for."""
    subgroups: set[str] = set()
    for drug in allergy.drugs:
        if share := _share_of_same(drug, medication):
            yield rules.same_drug, share
        subgroups |= {code[:5] for code in drug.codes if len(code) >= 5 and code[4] != "X"}
    shares = single_shares(rules, medication)
    for rule in rules.allergies:
        if rule.id in shares and rule.allergen in allergy.allergens:
            yield rule, shares[rule.id]
    if not medication.is_group and any(code[:5] in subgroups for code in medication.codes):
        yield rules.related_drug, 1.0


def _share_of_same(drug: Medication, medication: Medication) -> float:
    if drug.is_group:
        return float(any(code.startswith(drug.label) for code in medication.codes))
    if not medication.is_group:
        return float(bool(drug.ingredients & medication.ingredients))
    members = interactions.ingredients_of(medication.label)
    same = sum(not drug.ingredients.isdisjoint(member.split("/")) for member in members)
    return same / len(members)


def _anywhere(medication: Medication) -> Medication:
    """The drug without regard to its route: an allergy is to the substance."""
    return medication if medication.is_group else replace(medication, codes=())


def _milder(rule: Rule, allergy: Allergy) -> Rule:
    if not allergy.side_effect or rule.severity == SEVERITIES[0]:
        return rule
    return replace(rule, severity=SEVERITIES[SEVERITIES.index(rule.severity) - 1])


def _only_side_effects(reaction: str, rules: SafetyRules) -> bool:
    rest = f" {reaction} "
    for known in sorted(rules.side_effects, key=len, reverse=True):
        rest = rest.replace(f" {known} ", " ")
    return not set(rest.split()) - {"and", "or", "severe", "mild", "some"}
