"""One hospital admission: why the patient came, what was found, what was done."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from sample_data.chance import on_curve, one_of, pick, poisson, with_odds
from sample_data.codes import CodeTables
from sample_data.knowledge_base import Condition, KnowledgeBase
from sample_data.patients import Patient, add_chronic, draw_code, possible

ICD10_SINCE = datetime(2015, 10, 1)  # the United States changed over on this day
_COMPLICATIONS_BY_SETTING = {
    "observation": 0.45,
    "medical": 1.0,
    "surgical": 0.75,
    "icu": 1.7,
    "obstetric": 0.25,
    "psychiatric": 0.35,
    "oncology": 1.1,
}
_INTENSIVE_AFTER = {
    "coronary_bypass",
    "aortic_valve_replacement",
    "whipple",
    "brain_excision",
    "aortic_repair_endovascular",
}
_VENTILATION = ("ventilation_short", "ventilation_medium", "ventilation_long")
_MOST_DIAGNOSES = 39


@dataclass
class VisitRecord:
    """What one admission leaves behind. Times are unshifted."""

    patient: Patient
    admitted: datetime
    discharged: datetime
    setting: str
    icd_version: int
    conditions: dict[str, tuple[str, ...]]  # every condition present -> its ICD-10-CM codes
    diagnoses: list[str]  # codes by sequence number, in the visit's ICD version
    procedures: list[tuple[str, datetime]]
    circumstances: set[str]  # conditions, settings, allergies, procedures: what rules can refer to
    emergency: str  # emergency, observation, planned
    deceased: bool = False
    orders: list = field(default_factory=list)

    @property
    def days(self) -> float:
        return (self.discharged - self.admitted).total_seconds() / 86400


def simulate_visit(
    patient: Patient,
    admitted: datetime,
    previous_reason: str | None,
    knowledge: KnowledgeBase,
    tables: CodeTables,
) -> tuple[VisitRecord, str]:
    """Draws one admission; returns it with the reason it happened for."""
    random = patient.random
    age = patient.age_at(admitted)
    reason = _reason(patient, age, previous_reason, knowledge)
    severe = random.random() < with_odds(reason.severe, math.exp(0.3 * patient.frailty))
    setting = pick(random, reason.setting)
    if severe and setting in ("medical", "surgical", "oncology"):
        setting = "icu" if random.random() < 0.8 else setting
    names = _procedures(random, reason, 1.0)
    if _INTENSIVE_AFTER & set(names) and random.random() < 0.7:
        setting = "icu"
    circumstances = _circumstances(patient, admitted, age, setting, severe)
    if setting == "icu" and "surgical" in reason.setting:
        circumstances.add("surgical")
    acute = _acute(patient, age, reason, setting, circumstances, knowledge)
    for name in acute:
        names += _procedures(random, knowledge.conditions[name], 0.45)
    if setting == "icu":
        names += _critical_care(random, "respiratory_failure" in acute)
    eager = math.exp(
        random.gauss(-0.6, 1.2)
    )  # some stays are full of interventions, many have none
    for name, chance in knowledge.demographics["procedures_by_setting"][setting].items():
        if random.random() < with_odds(chance, eager):
            names.append(name)
    circumstances |= set(names) | set(acute) | set(patient.chronic)
    if any(name in circumstances for name in _VENTILATION):
        circumstances.add("ventilated")
    for name in circumstances & set(knowledge.conditions):
        if knowledge.conditions[name].marks:
            circumstances.add(knowledge.conditions[name].marks)

    coded = _coded_conditions(patient, reason, acute, knowledge, tables)
    codes = _diagnosis_codes(patient, reason, coded, circumstances, setting, knowledge, tables)
    if "Z66" in codes and (severe or "metastases" in circumstances) and random.random() < 0.35:
        circumstances.add("comfort_care")
    days = _days(random, setting, severe, len(acute), knowledge.demographics)
    visit = VisitRecord(
        patient=patient,
        admitted=admitted,
        discharged=admitted + timedelta(minutes=int(days * 1440)),
        setting=setting,
        icd_version=10 if admitted >= ICD10_SINCE else 9,
        conditions=coded,
        diagnoses=codes,
        procedures=_procedure_codes(random, names, admitted, days, knowledge, tables),
        circumstances=circumstances,
        emergency=_urgency(random, setting, reason),
    )
    chance = knowledge.demographics["death_chance"][setting] * (3 if age > 75 else 1)
    visit.deceased = random.random() < chance + (0.4 if "comfort_care" in circumstances else 0)
    _aftermath(patient, reason, acute, knowledge, tables)
    return visit, reason.name


def _reason(
    patient: Patient, age: float, previous: str | None, knowledge: KnowledgeBase
) -> Condition:
    curves = knowledge.demographics["age_curves"]
    weights: dict[str, float] = {}
    for condition in knowledge.conditions.values():
        if not condition.admits:
            continue
        if condition.chronic:
            if condition.name not in patient.chronic:
                continue
            weight = condition.admits * 3
        elif possible(patient, condition):
            weight = condition.admits * on_curve(curves[condition.ages], age)
            weight *= condition.sex.get(patient.sex, 1.0)
            for other, odds in condition.odds.items():
                if other in patient.chronic:
                    weight *= odds
        else:
            continue
        if condition.name == previous:
            weight *= 4 if condition.chronic else 1.5
        weights[condition.name] = weight
    return knowledge.conditions[pick(patient.random, weights)]


def _acute(
    patient: Patient,
    age: float,
    reason: Condition,
    setting: str,
    circumstances: set[str],
    knowledge: KnowledgeBase,
) -> list[str]:
    """Acute conditions of this visit: the reason, what it brings along, and complications."""
    random = patient.random
    curves = knowledge.demographics["age_curves"]
    acute = [] if reason.chronic else [reason.name]
    waiting, strength = [reason], 1.0
    while waiting:
        condition = waiting.pop(0)
        for name, chance in condition.brings.items():
            brought = knowledge.conditions[name]
            fresh = name not in acute and name not in patient.chronic
            if fresh and possible(patient, brought) and random.random() < chance * strength:
                if brought.chronic:
                    continue
                acute.append(name)
                waiting.append(brought)
        strength = 0.6
    known = circumstances | set(patient.chronic) | set(acute)
    if any(knowledge.conditions[name].marks for name in patient.chronic):
        known.add("cancer_active")
    load = _COMPLICATIONS_BY_SETTING[setting] * math.exp(0.32 * patient.frailty)
    for condition in knowledge.conditions.values():
        if condition.chronic or not condition.complicates or condition.name in acute:
            continue
        if not possible(patient, condition):
            continue
        factor = load * condition.sex.get(patient.sex, 1.0)
        factor *= on_curve(curves[condition.ages], age)
        for other, odds in condition.odds.items():
            if other in known:
                factor *= odds
        if random.random() < with_odds(condition.complicates, factor):
            acute.append(condition.name)
    if "cancer_active" in known:
        for condition in knowledge.conditions.values():
            if condition.name not in acute and random.random() < condition.in_cancer:
                acute.append(condition.name)
    return acute


def _coded_conditions(
    patient: Patient,
    reason: Condition,
    acute: list[str],
    knowledge: KnowledgeBase,
    tables: CodeTables,
) -> dict[str, tuple[str, ...]]:
    """Every condition of the visit with its codes; the reason comes first.

    A reason of another category (chemotherapy, a transplant's failure) is coded before the
    condition itself; one of the same category (an acute episode) takes its place.
    """
    random = patient.random
    coded = {}
    lasting = patient.chronic.get(reason.name)
    if reason.reason_codes:
        episode = draw_code(random, reason, tables, reason.reason_codes)
        same_category = not lasting or lasting[:3] == episode[:3]
        coded[reason.name] = (episode,) if same_category else (episode, lasting)
    elif lasting:
        coded[reason.name] = (lasting,)
    else:
        coded[reason.name] = (draw_code(random, reason, tables),)
    for name in acute:
        if name not in coded:
            coded[name] = (draw_code(random, knowledge.conditions[name], tables),)
    for name, code in patient.chronic.items():
        if name not in coded:
            coded[name] = (code,)
    return coded


def _diagnosis_codes(
    patient: Patient,
    reason: Condition,
    coded: dict[str, tuple[str, ...]],
    circumstances: set[str],
    setting: str,
    knowledge: KnowledgeBase,
    tables: CodeTables,
) -> list[str]:
    """ICD-10-CM codes by sequence: reason, acute problems, chronic ones, then the long tail."""
    random = patient.random
    documented = knowledge.demographics["documented_chance"][setting]
    documented *= math.exp(random.gauss(-0.08, 0.25))  # some coders write down more than others
    codes = []
    for name, recorded in coded.items():
        if name == reason.name or random.random() < documented:
            codes.extend(recorded)
            partners = patient.partner_codes.get(name, ())
            if not partners and not knowledge.conditions[name].chronic:
                condition = knowledge.conditions[name]
                if condition.partner_codes and random.random() < condition.partner_chance:
                    partners = (pick(random, condition.partner_codes),)
            codes.extend(partners)
    who = knowledge.demographics
    for allergy in patient.allergies:
        if random.random() < who["allergy_coded_chance"]:
            codes.append(who["allergy_codes"][allergy])
    codes.extend(code for code in patient.lasting_codes if random.random() < 0.7)
    codes.extend(_long_tail(patient, circumstances, setting, documented, knowledge, tables))
    return list(dict.fromkeys(codes))[:_MOST_DIAGNOSES]


def _long_tail(
    patient: Patient,
    circumstances: set[str],
    setting: str,
    documented: float,
    knowledge: KnowledgeBase,
    tables: CodeTables,
) -> list[str]:
    random = patient.random
    codes = []
    for group in knowledge.long_tail:
        if "when" in group and not circumstances.intersection(group["when"]):
            continue
        mean = group["mean"] * documented * group.get("settings", {}).get(setting, 1.0)
        mean *= math.exp(0.25 * patient.frailty)
        family = tables.family(tuple(group["families"]), tuple(group.get("seventh", ())))
        common = {code: weight for code, weight in group.get("common", {}).items() if weight}
        for _ in range(poisson(random, mean)):
            if common and random.random() < group["common_share"]:
                code = pick(random, common)
            else:
                code = one_of(random, family)
            codes.append(code)
            if group.get("lasting") and len(patient.lasting_codes) < 6:
                patient.lasting_codes.append(code)
    return codes


def _procedures(random: Random, condition: Condition, factor: float) -> list[str]:
    return [
        name for name, chance in condition.procedures.items() if random.random() < chance * factor
    ]


def _critical_care(random: Random, respiratory_failure: bool) -> list[str]:
    names = []
    if random.random() < (0.75 if respiratory_failure else 0.28):
        names.append(pick(random, dict(zip(_VENTILATION, (0.35, 0.4, 0.25), strict=True))))
        if random.random() < 0.6:
            names.append("intubation")
    for name, chance in {"central_line": 0.4, "arterial_line": 0.3, "enteral_feeding": 0.2}.items():
        if random.random() < chance:
            names.append(name)
    return names


def _procedure_codes(
    random: Random,
    names: list[str],
    admitted: datetime,
    days: float,
    knowledge: KnowledgeBase,
    tables: CodeTables,
) -> list[tuple[str, datetime]]:
    """Codes with their dates, in the coding system in force on admission."""
    coded: dict[str, datetime] = {}
    old = admitted < ICD10_SINCE
    for name in dict.fromkeys(names):
        procedure = knowledge.procedures[name]
        day = admitted + timedelta(days=int(random.random() * min(days, 4)))
        wanted = procedure.several + poisson(random, 0.4 * min(3.0, days / 4))
        for _ in range(wanted):
            if old:
                code = pick(random, procedure.icd9)
            elif procedure.tail and random.random() < 0.28:
                code = one_of(random, tables.family(procedure.tail, (), procedures=True))
            else:
                code = pick(random, procedure.codes)
            coded.setdefault(code, day)
    return list(coded.items())


def _circumstances(
    patient: Patient, admitted: datetime, age: float, setting: str, severe: bool
) -> set[str]:
    found = {setting, "male" if patient.sex == "M" else "female", *patient.allergies}
    if severe:
        found.add("severe")
    if age >= 75:
        found.add("elderly")
    if admitted.month in (9, 10, 11, 12, 1, 2, 3):
        found.add("winter")
    return found


def _days(random: Random, setting: str, severe: bool, acute: int, who: dict) -> float:
    typical = who["length_of_stay_days"][setting] * (1.4 if severe else 1.0)
    days = typical * math.exp(random.gauss(0, 0.55)) * (0.75 + 0.05 * acute)
    return max(0.2, min(days, 60.0))


def _urgency(random: Random, setting: str, reason: Condition) -> str:
    if setting == "observation":
        return "observation"
    if setting == "obstetric":
        return "planned" if random.random() < 0.4 else "observation"
    planned = {"surgical": 0.55, "oncology": 0.5, "icu": 0.12}.get(setting, 0.03)
    acute_surgery = setting == "surgical" and not reason.chronic
    return "planned" if random.random() < planned * (0.4 if acute_surgery else 1) else "emergency"


def _aftermath(
    patient: Patient,
    reason: Condition,
    acute: list[str],
    knowledge: KnowledgeBase,
    tables: CodeTables,
) -> None:
    """What this visit leaves for the next one: myocardial infarction leads to coronary disease."""
    for name in [reason.name, *acute, *list(patient.chronic)]:
        for later, chance in knowledge.conditions[name].leads_to.items():
            if later not in patient.chronic and patient.random.random() < chance:
                add_chronic(patient, knowledge.conditions[later], tables)
