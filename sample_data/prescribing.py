"""Which medications a visit receives: indications, contraindications, habits of prescribers."""

from __future__ import annotations

import math
from random import Random

from sample_data.chance import one_of, pick, poisson, stream, with_odds
from sample_data.knowledge_base import KnowledgeBase, Treatment
from sample_data.visits import VisitRecord

PRESCRIBERS = 90
_STAYS_ON_THERAPY = 0.94
_CHANGES_AGENT = 0.04
_STARTS_LATER = 0.15
_FORGOTTEN = 0.03
_UNEVEN_CARE = 0.85  # spread of how much supportive care a stay receives (log odds)
_INCIDENTAL = 0.5  # mean number of agents without a coded indication


class Prescribers:
    """The hospital's prescribers: each is more or less thorough and prefers certain agents."""

    def __init__(self, seed: int, knowledge: KnowledgeBase):
        self.names = []
        self.thoroughness = []
        self.preference: list[dict[str, float]] = []
        for number in range(PRESCRIBERS):
            random = stream(seed, "prescriber", number)
            letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
            self.names.append("P" + "".join(one_of(random, letters) for _ in range(5)))
            self.thoroughness.append(math.exp(random.gauss(0.1, 0.3)))
            self.preference.append({key: math.exp(random.gauss(0, 0.6)) for key in knowledge.drugs})


class Prescribing:
    """Turns a visit into the set of agents ordered."""

    def __init__(self, knowledge: KnowledgeBase, prescribers: Prescribers):
        self.knowledge = knowledge
        self.prescribers = prescribers
        rules = knowledge.prescribing
        self.rules = {rule["when"]: rule for rule in rules["rules"]}
        self.one_agent = set(rules["one_agent_per_group"])
        self.not_combined = rules["not_combined"]
        barred = tuple(rules["no_incidental_groups"])
        self.incidental = [
            drug.key for drug in knowledge.drugs.values() if not drug.group.startswith(barred)
        ]

    def agents(self, visit: VisitRecord, prescriber: int) -> list[str]:
        """The agents ordered, in the order of their indications; may be empty."""
        random = visit.patient.random
        nothing = self.knowledge.demographics["visits_without_prescriptions"][visit.setting]
        if random.random() < nothing:
            return []
        chosen: dict[str, None] = {}
        intensity = math.exp(random.gauss(0, _UNEVEN_CARE))
        for name in visit.conditions:
            self._treat(visit, name, prescriber, chosen)
        self._note_given(visit, chosen)
        settings = [visit.setting]
        if visit.setting == "icu" and "surgical" in visit.circumstances:
            settings.append("surgical")
        for treatment in self.knowledge.supportive:
            chance = max(treatment.chance.get(setting, 0.0) for setting in settings)
            agent = self._indicated(visit, treatment, chance, prescriber, chosen, intensity)
            if agent:
                chosen[agent] = None
                self._note_given(visit, chosen)
        for _ in range(poisson(random, _INCIDENTAL * min(visit.days, 8) / 5)):
            chosen[one_of(random, self.incidental)] = None
        return [agent for agent in chosen if random.random() >= _FORGOTTEN]

    def _treat(
        self, visit: VisitRecord, name: str, prescriber: int, chosen: dict[str, None]
    ) -> None:
        condition = self.knowledge.conditions[name]
        recorded = visit.conditions[name]
        for number, treatment in enumerate(condition.treatments):
            if treatment.codes and not any(code.startswith(treatment.codes) for code in recorded):
                continue
            lasting = condition.chronic and not treatment.when
            agent = self._continued(visit, (name, number), treatment, prescriber, chosen, lasting)
            if agent:
                chosen[agent] = None

    def _continued(
        self,
        visit: VisitRecord,
        indication: tuple[str, int],
        treatment: Treatment,
        prescriber: int,
        chosen: dict[str, None],
        lasting: bool,
    ) -> str | None:
        """The agent for an indication; chronic therapy mostly goes on from visit to visit."""
        random = visit.patient.random
        therapy = visit.patient.therapy
        if not lasting or indication not in therapy:
            agent = self._indicated(visit, treatment, treatment.chance, prescriber, chosen)
            if lasting:
                therapy[indication] = agent
            return agent
        current = therapy[indication]
        if current is None:
            chance = treatment.chance * _STARTS_LATER
            therapy[indication] = self._indicated(visit, treatment, chance, prescriber, chosen)
            return therapy[indication]
        if random.random() < _CHANGES_AGENT:
            therapy[indication] = self._indicated(visit, treatment, 1.0, prescriber, chosen)
            return therapy[indication]
        if random.random() > _STAYS_ON_THERAPY or not self._allowed(visit, treatment):
            return None  # held during this stay, resumed at the next
        if self._ruled_out(visit, current) or self._duplicates(current, chosen, random):
            return None
        return current

    def _indicated(
        self,
        visit: VisitRecord,
        treatment: Treatment,
        chance: float,
        prescriber: int,
        chosen: dict[str, None],
        odds: float = 1.0,
    ) -> str | None:
        random = visit.patient.random
        if not self._allowed(visit, treatment):
            return None
        factor = odds * self.prescribers.thoroughness[prescriber]
        for circumstance, raised in treatment.raise_odds.items():
            if circumstance in visit.circumstances:
                factor *= raised
        if random.random() >= with_odds(chance, factor):
            return None
        options = self._options(visit, treatment)
        preference = self.prescribers.preference[prescriber]
        weights = {key: weight * preference[key] for key, weight in options.items()}
        while weights:
            agent = pick(random, weights)
            if not self._ruled_out(visit, agent):
                return None if self._duplicates(agent, chosen, random) else agent
            substitute = self._substitute(visit, agent)
            if substitute and not self._ruled_out(visit, substitute):
                return None if self._duplicates(substitute, chosen, random) else substitute
            del weights[agent]
        return None

    def _allowed(self, visit: VisitRecord, treatment: Treatment) -> bool:
        found = visit.circumstances
        if treatment.when and not found.intersection(treatment.when):
            return False
        return not found.intersection(treatment.unless)

    def _options(self, visit: VisitRecord, treatment: Treatment) -> dict[str, float]:
        for circumstance, agents in treatment.instead.items():
            if circumstance in visit.circumstances:
                return agents or {}
        return treatment.give

    def _ruled_out(self, visit: VisitRecord, agent: str) -> bool:
        """Whether a comorbidity or allergy keeps the prescriber from this agent."""
        drug = self.knowledge.drugs[agent]
        for circumstance in sorted(visit.circumstances & self.rules.keys()):
            avoid = self.rules[circumstance]["avoid"]
            strength = avoid.get(agent, avoid.get(drug.group, 0.0))
            if strength and visit.patient.random.random() < strength:
                return True
        return False

    def _substitute(self, visit: VisitRecord, agent: str) -> str | None:
        for circumstance in sorted(visit.circumstances & self.rules.keys()):
            substitute = self.rules[circumstance].get("instead", {}).get(agent)
            if substitute:
                return substitute
        return None

    def _duplicates(self, agent: str, chosen: dict[str, None], random: Random) -> bool:
        """Whether another agent on board already does the work (or must not be combined)."""
        group = self.knowledge.drugs[agent].group
        for other in chosen:
            other_group = self.knowledge.drugs[other].group
            if other == agent:
                continue
            if other_group in self.not_combined.get(group, ()) and random.random() < 0.93:
                return True
            if other_group == group and group in self.one_agent and random.random() < 0.8:
                return True
        return False

    def _note_given(self, visit: VisitRecord, chosen: dict[str, None]) -> None:
        for circumstance, agents in self.knowledge.prescribing["given"].items():
            if any(agent in chosen for agent in agents):
                visit.circumstances.add(circumstance)


def long_term_codes(visit: VisitRecord, agents: list[str], knowledge: KnowledgeBase) -> list[str]:
    """Codes for long-term drug use, as coders add them after the stay."""
    codes = []
    for rule in knowledge.prescribing["long_term_use"]:
        on_board = any(agent in agents for agent in rule["agents"])
        if on_board and visit.patient.random.random() < rule["chance"]:
            codes.append(rule["code"])
    return codes
