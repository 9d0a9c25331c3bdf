"""Which cautions a patient's age and diagnoses bring into force."""

from collections.abc import Sequence

from engine.safety.facts import PatientFacts
from engine.safety.matching import Hit, single_shares
from engine.safety.medications import Medication
from engine.safety.rules import Condition, Rule, SafetyRules


def hits(
    rules: SafetyRules, facts: PatientFacts, medications: Sequence[Medication]
) -> list[tuple[Hit, str]]:
    """The cautions that hold for single medications, each with why: "in heart failure"."""
    shares = [(medication, single_shares(rules, medication)) for medication in medications]
    reached = {rule for _, held in shares for rule in held}
    found = []
    for order, rule in enumerate(rules.cautions):
        if rule.id in reached and (reason := _reason(rule, facts, rules)) is not None:
            found += [
                (Hit(rule, (medication,), held[rule.id], order), reason)
                for medication, held in shares
                if rule.id in held
            ]
    return found


def _reason(rule: Rule, facts: PatientFacts, rules: SafetyRules) -> str | None:
    """What of the patient meets the rule, in words; None where it is not met."""
    by_age = rule.age_from is not None or rule.age_below is not None
    if by_age and (facts.age is None or not _in_range(rule, facts.age)):
        return None
    met = [name for name in rule.conditions if _has(facts, rules.conditions[name])]
    if rule.conditions and not met:
        return None
    words = [f"in {' and '.join(met)}"] if met else []
    return " ".join([*words, f"at {facts.age} years"] if by_age else words)


def _in_range(rule: Rule, age: int) -> bool:
    return (rule.age_from or 0) <= age and (rule.age_below is None or age < rule.age_below)


def _has(facts: PatientFacts, condition: Condition) -> bool:
    codes = facts.diagnoses + (facts.past_diagnoses if condition.lasting else ())
    if not any(code.startswith(condition.prefixes) for code in codes):
        return False
    return not (condition.unless and any(code.startswith(condition.unless) for code in codes))
