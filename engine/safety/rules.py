"""Every rule of the check, read once: interactions, duplicates, allergies, cautions.

    rules = SafetyRules.load()

Interactions are `engine/terminology/data/interactions.yaml`, which training and evaluation use as
well; the rest is `engine/safety/rules/*.yaml`. Drugs are named as in the interactions: by family,
ingredient or ATC code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

import yaml

from engine.errors import WorkbenchError
from engine.safety.report import Kind
from engine.terminology import interactions
from engine.terminology.interactions import SEVERITIES, TEXTS, Severity, Side
from engine.terminology.names import plain

FOLDER = Path(__file__).parent / "rules"
_ALLERGY_PARTS = (
    *("allergens", "rules", "same_drug", "related_drug", "no_drug", "none", "side_effects"),
)
_NO_DRUGS = Side("", (), frozenset(), frozenset(), frozenset())


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of any kind; with two sides it is about pairs, with one about single medications."""

    id: str
    kind: Kind
    sides: tuple[Side, ...]
    severity: Severity
    mechanism: str
    consequence: str
    management: str
    source: str
    conditions: tuple[str, ...] = ()  # of a caution: any of these
    age_from: int | None = None
    age_below: int | None = None
    allergen: str = ""  # of an allergy: key of `SafetyRules.allergens`


@dataclass(frozen=True, slots=True)
class Condition:
    """Diagnoses of one meaning, as beginnings of codes ("10:N184")."""

    prefixes: tuple[str, ...]
    unless: tuple[str, ...]
    lasting: bool


@dataclass(frozen=True, slots=True)
class Allergen:
    """What one can be allergic to."""

    name: str
    words: frozenset[str]  # in plain form
    drugs: Side
    prefixes: tuple[str, ...]  # of diagnosis codes
    unnamed: bool = False  # only its words and codes mean it, not the name of one of its drugs


@dataclass(frozen=True, slots=True, eq=False)  # told apart by identity, so that it can be a key
class SafetyRules:
    """All rules. `load` reads the shipped ones once; another folder may be named for tests."""

    interactions: tuple[Rule, ...]
    duplicates: tuple[Rule, ...]
    allergies: tuple[Rule, ...]
    cautions: tuple[Rule, ...]
    conditions: Mapping[str, Condition]
    allergens: Mapping[str, Allergen]
    same_ingredient: Rule
    not_counted_twice: tuple[str, ...]  # ATC beginnings where one ingredient twice is no alert
    same_drug: Rule
    related_drug: Rule
    no_drug: Mapping[str, str]  # allergies that concern no drug, with what to say
    no_allergy: frozenset[str]
    side_effects: tuple[str, ...]

    @classmethod
    def load(cls, folder: Path = FOLDER) -> "SafetyRules":
        """Read the rules. WorkbenchError: one line with file, rule, field and what to mend."""
        return _load(folder)

    @property
    def pair_rules(self) -> tuple[Rule, ...]:
        """The rules about two medications."""
        return self.interactions + self.duplicates

    def every_rule(self) -> tuple[Rule, ...]:
        """All rules, in the order of the files."""
        general = (self.same_ingredient, self.same_drug, self.related_drug)
        return self.pair_rules + self.allergies + self.cautions + general


@cache
def _load(folder: Path) -> SafetyRules:
    duplicates = _content(folder / "duplicates.yaml", "duplicates", "same_ingredient")
    allergies = _content(folder / "allergies.yaml", *_ALLERGY_PARTS)
    conditions = {
        name: _condition(name, entry)
        for name, entry in _content(folder / "conditions.yaml", "conditions")["conditions"].items()
    }
    allergens = {name: _allergen(name, one) for name, one in allergies["allergens"].items()}
    allergy_rules = tuple(_allergy(entry, allergens) for entry in allergies["rules"])
    cautions = tuple(
        _caution(entry, path.name, conditions)
        for path in sorted(folder.glob("cautions_*.yaml"))
        for entry in _content(path, "cautions")["cautions"]
    )
    same_ingredient = duplicates["same_ingredient"]
    rules = SafetyRules(
        interactions=tuple(_interaction(rule) for rule in interactions.rules()),
        duplicates=tuple(_duplicate(entry) for entry in duplicates["duplicates"]),
        allergies=allergy_rules,
        cautions=cautions,
        conditions=MappingProxyType(conditions),
        allergens=MappingProxyType(allergens),
        same_ingredient=_rule(same_ingredient, "duplicate", "duplicates.yaml"),
        not_counted_twice=tuple(same_ingredient.get("not_in", ())),
        same_drug=_rule(allergies["same_drug"], "allergy", "allergies.yaml"),
        related_drug=_rule(allergies["related_drug"], "allergy", "allergies.yaml"),
        no_drug=MappingProxyType({plain(one): text for one, text in allergies["no_drug"].items()}),
        no_allergy=frozenset(plain(one) for one in allergies["none"]),
        side_effects=tuple(plain(one) for one in allergies["side_effects"]),
    )
    seen: set[str] = set()
    for rule in rules.every_rule():
        if rule.id in seen:
            raise WorkbenchError(f"rules: rule {rule.id}: 'id' is there twice; name one anew")
        seen.add(rule.id)
    return rules


def _interaction(rule: interactions.Rule) -> Rule:
    texts = (rule.mechanism, rule.consequence, rule.management, rule.source)
    return Rule(rule.id, "interaction", rule.sides, rule.severity, *texts)


def _duplicate(entry: dict) -> Rule:
    file = "duplicates.yaml"
    rule = _rule(entry, "duplicate", file)
    return replace(rule, sides=(_side(entry, "drugs", file),) * 2)


def _allergy(entry: dict, allergens: dict[str, Allergen]) -> Rule:
    """A rule about the drugs that an allergy speaks against; it may name its allergen in place."""
    file = "allergies.yaml"
    rule = _rule(entry, "allergy", file)
    _needs(entry, "to", file)
    known = isinstance(entry["to"], str) and entry["to"] in allergens
    if not known:
        drugs = _side(entry, "to", file)
        allergens[rule.id] = Allergen(drugs.title, frozenset(), drugs, ())
    return replace(
        rule, sides=(_side(entry, "drugs", file),), allergen=entry["to"] if known else rule.id
    )


def _caution(entry: dict, file: str, conditions: Mapping[str, Condition]) -> Rule:
    rule = _rule(entry, "caution", file)
    when = entry.get("when") or []
    named = (when,) if isinstance(when, str) else tuple(when)
    for name in named:
        if name not in conditions:
            raise WorkbenchError(
                f"{file}: rule {rule.id}: 'when' names '{name}', which is not in conditions.yaml"
            )
    ages = (entry.get("age_from"), entry.get("age_below"))
    for field, age in zip(("age_from", "age_below"), ages, strict=True):
        if age is not None and not (isinstance(age, int) and 0 <= age <= 120):
            raise WorkbenchError(f"{file}: rule {rule.id}: '{field}' must be years, 0 to 120")
    if not named and ages == (None, None):
        raise WorkbenchError(f"{file}: rule {rule.id}: 'when' or an age is missing; write it there")
    sides = (_side(entry, "drugs", file),)
    return replace(rule, sides=sides, conditions=named, age_from=ages[0], age_below=ages[1])


def _rule(entry: dict, kind: Kind, file: str) -> Rule:
    for field in ("id", "severity", *TEXTS):
        _needs(entry, field, file)
    if entry["severity"] not in SEVERITIES:
        raise WorkbenchError(
            f"{file}: rule {entry['id']}: 'severity' is '{entry['severity']}', expected one of "
            f"{', '.join(SEVERITIES)}"
        )
    texts = (str(entry[field]) for field in TEXTS)
    return Rule(entry["id"], kind, (), entry["severity"], *texts)


def _side(entry: dict, field: str, file: str) -> Side:
    _needs(entry, field, file)
    return interactions.side(entry[field], f"{file}: rule {entry['id']}: '{field}'")


def _needs(entry: dict, field: str, file: str) -> None:
    if not isinstance(entry, dict) or not entry.get(field):
        name = entry.get("id", "without id") if isinstance(entry, dict) else "without id"
        raise WorkbenchError(f"{file}: rule {name}: '{field}' is missing; write it there")


def _condition(name: str, entry: dict) -> Condition:
    prefixes = _prefixes(entry)
    if not prefixes:
        raise WorkbenchError(f"conditions.yaml: rule {name}: 'icd10' and 'icd9' are both missing")
    return Condition(prefixes, tuple(entry.get("unless", ())), bool(entry.get("lasting")))


def _allergen(name: str, entry: dict) -> Allergen:
    words = frozenset(plain(str(word)) for word in entry.get("words", ()))
    where = f"allergies.yaml: rule {name}: 'drugs'"
    drugs = interactions.side(entry["drugs"], where) if entry.get("drugs") else _NO_DRUGS
    return Allergen(name, words, drugs, _prefixes(entry), bool(entry.get("unnamed")))


def _prefixes(entry: dict) -> tuple[str, ...]:
    return tuple(
        f"{version}:{code}" for version in ("10", "9") for code in entry.get(f"icd{version}", ())
    )


def _content(path: Path, *parts: str) -> dict:
    """The content of a rules file, which must have these parts."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", None))
    except OSError as error:
        raise WorkbenchError(f"{path}: cannot be read; it holds the safety rules") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        raise WorkbenchError(
            f"{path.name}: is no YAML{line}; mend the indentation or quotes"
        ) from None
    for part in parts:
        if not isinstance(content, dict) or not content.get(part):
            raise WorkbenchError(f"{path.name}: '{part}' is missing; write it there")
    return content
