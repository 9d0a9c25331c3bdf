"""A synthetic person: demographics, allergies, chronic conditions and how they progress."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from sample_data.chance import on_curve, one_of, pick, stream, with_odds
from sample_data.codes import CodeTables
from sample_data.knowledge_base import Condition, KnowledgeBase

FIRST_PATIENT_ID = 19_900_001  # a range of its own, so that nobody takes one for a MIMIC patient
_LANGUAGE_GROUPS = ("PORTUGUESE", "RUSSIAN", "BRAZILIAN", "HISPANIC", "ASIAN", "BLACK", "WHITE")


@dataclass
class Patient:
    """One person through all visits. Times are real years until the tables shift them."""

    number: int
    random: Random
    sex: str
    age: float  # years at the first visit
    first_admission: datetime  # unshifted
    shift_years: int
    race: str
    language: str
    insurance: str
    marital_status: str
    frailty: float  # standard normal; raises the odds of every condition
    planned_visits: int
    allergies: tuple[str, ...]
    chronic: dict[str, str] = field(default_factory=dict)  # condition -> the code it is recorded as
    partner_codes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lasting_codes: list[str] = field(default_factory=list)  # from the long tail
    therapy: dict[tuple[str, int], str | None] = field(default_factory=dict)  # indication -> agent
    died: datetime | None = None

    @property
    def patient_id(self) -> int:
        return FIRST_PATIENT_ID + self.number

    def age_at(self, time: datetime) -> float:
        return self.age + (time - self.first_admission).days / 365.25


def create_patient(number: int, seed: int, knowledge: KnowledgeBase, tables: CodeTables) -> Patient:
    """Draws a person and the chronic conditions they bring to their first visit."""
    random = stream(seed, "patient", number)
    who = knowledge.demographics
    sex = pick(random, who["sex"])
    age = _age(random, who["age_at_first_visit"])
    race = pick(random, who["race"])
    frailty = random.gauss(0, 1)
    year = pick(random, who["real_year_of_first_visit"])
    first = datetime(year, 1, 1) + timedelta(minutes=int(random.random() * 525_000))
    patient = Patient(
        number=number,
        random=random,
        sex=sex,
        age=age,
        first_admission=first,
        shift_years=97 + int(random.random() * 78),
        race=race,
        language=_language(random, race, who["language_other_chance"]),
        insurance=pick(random, who["insurance"]["over_65" if age >= 65 else "under_65"]),
        marital_status=_marital_status(random, age, who["marital_status"]),
        frailty=frailty,
        planned_visits=_planned_visits(random, frailty, who["visits"]),
        allergies=tuple(
            allergy for allergy, chance in who["allergies"].items() if random.random() < chance
        ),
    )
    for condition in knowledge.conditions.values():
        if condition.chronic and random.random() < _prevalence(patient, age, condition, who):
            add_chronic(patient, condition, tables)
    return patient


def add_chronic(patient: Patient, condition: Condition, tables: CodeTables) -> None:
    """Gives the patient a chronic condition, recorded with one lasting code."""
    for other in condition.excludes:
        if other in patient.chronic:
            if other not in condition.replaces:
                return
            del patient.chronic[other]
    patient.chronic[condition.name] = draw_code(patient.random, condition, tables)
    if condition.partner_codes and patient.random.random() < condition.partner_chance:
        count = 2 if condition.partner_chance >= 0.7 else 1
        drawn = {pick(patient.random, condition.partner_codes) for _ in range(count)}
        patient.partner_codes[condition.name] = tuple(sorted(drawn))


def progress(patient: Patient, age: float, knowledge: KnowledgeBase, tables: CodeTables) -> None:
    """What time brings between two visits: new chronic conditions, with rising age."""
    random = patient.random
    who = knowledge.demographics
    for condition in knowledge.conditions.values():
        if condition.chronic and condition.name not in patient.chronic:
            chance = 0.06 * _prevalence(patient, age, condition, who)
            if random.random() < chance:
                add_chronic(patient, condition, tables)


def possible(patient: Patient, condition: Condition) -> bool:
    """Whether sex, ancestry and other conditions allow this one."""
    if condition.only_sex and patient.sex != condition.only_sex:
        return False
    if condition.races and not patient.race.startswith(condition.races):
        return False
    if condition.requires and condition.requires not in patient.chronic:
        return False
    return not any(other in patient.chronic for other in condition.excludes)


def draw_code(
    random: Random,
    condition: Condition,
    tables: CodeTables,
    common: dict[str, float] | None = None,
) -> str:
    """A code of the condition: mostly a common one, sometimes a rare sibling of its family."""
    if condition.family and random.random() < condition.tail:
        siblings = tables.family(condition.family, condition.seventh)
        code = one_of(random, siblings)
        if code not in condition.codes:
            return code
    return pick(random, common or condition.codes)


def _prevalence(patient: Patient, age: float, condition: Condition, who: dict) -> float:
    if not possible(patient, condition):
        return 0.0
    chance = min(0.9, condition.prevalence * on_curve(who["age_curves"][condition.ages], age))
    factor = math.exp(0.35 * patient.frailty) * condition.sex.get(patient.sex, 1.0)
    for other, odds in condition.odds.items():
        if other in patient.chronic:
            factor *= odds
    return with_odds(chance, factor)


def _age(random: Random, shares: dict[int, float]) -> float:
    starts = list(shares)
    start = pick(random, shares)
    position = starts.index(start)
    end = starts[position + 1] if position + 1 < len(starts) else start + 6
    return start + random.random() * (end - start)


def _language(random: Random, race: str, chances: dict[str, float]) -> str:
    group = next((name for name in _LANGUAGE_GROUPS if name in race), "OTHER")
    chance = chances.get(group, chances["OTHER"])
    return "?" if random.random() < chance else "ENGLISH"


def _marital_status(random: Random, age: float, shares: dict) -> str:
    band = "under_35" if age < 35 else "under_65" if age < 65 else "over_65"
    return pick(random, shares[band])


def _planned_visits(random: Random, frailty: float, shares: dict[int, float]) -> int:
    """Frail patients come back more often; the shares themselves are kept."""
    score = 0.6 * frailty + 0.8 * random.gauss(0, 1)
    rank = 0.5 * (1 + math.erf(score / math.sqrt(2)))
    for visits, share in shares.items():
        rank -= share
        if rank < 0:
            return visits
    return max(shares)
