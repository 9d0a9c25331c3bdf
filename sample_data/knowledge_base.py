"""The knowledge files as typed objects: conditions, drugs, procedures, rules, settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import yaml

FOLDER = Path(__file__).parent / "knowledge"


@dataclass(frozen=True)
class Treatment:
    """One indication: which agents, how often, and under which circumstances."""

    give: dict[str, float]
    chance: float | dict[str, float]  # for supportive care: by setting
    when: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()  # only when the condition is coded with one of these prefixes
    instead: dict[str, dict[str, float] | None] = field(default_factory=dict)
    raise_odds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, fields: dict) -> Treatment:
        instead = {
            circumstance: None if agents == "none" else agents
            for circumstance, agents in fields.get("instead", {}).items()
        }
        return cls(
            give=fields["give"],
            chance=fields["chance"],
            when=tuple(fields.get("when", ())),
            unless=tuple(fields.get("unless", ())),
            codes=tuple(fields.get("codes", ())),
            instead=instead,
            raise_odds=fields.get("raise", {}),
        )


@dataclass(frozen=True)
class Condition:
    """What the knowledge files say about one condition; the fields are explained there."""

    name: str
    codes: dict[str, float]
    chronic: bool
    family: tuple[str, ...] = ()
    seventh: tuple[str, ...] = ()
    tail: float = 0.2
    reason_codes: dict[str, float] = field(default_factory=dict)
    partner_codes: dict[str, float] = field(default_factory=dict)
    partner_chance: float = 0.5
    prevalence: float = 0.0
    admits: float = 0.0
    complicates: float = 0.0
    in_cancer: float = 0.0  # chance at a visit of a patient with active cancer
    ages: str = "any"
    sex: dict[str, float] = field(default_factory=dict)
    only_sex: str | None = None
    races: tuple[str, ...] = ()
    requires: str | None = None
    odds: dict[str, float] = field(default_factory=dict)
    excludes: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    marks: str | None = None
    setting: dict[str, float] = field(default_factory=lambda: {"medical": 1.0})
    severe: float = 0.0
    brings: dict[str, float] = field(default_factory=dict)
    leads_to: dict[str, float] = field(default_factory=dict)
    treatments: tuple[Treatment, ...] = ()
    procedures: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, name: str, fields: dict) -> Condition:
        fields = dict(fields)
        for key in ("codes", "reason_codes", "partner_codes"):
            if key in fields:
                fields[key] = {code: weight for code, weight in fields[key].items() if weight}
        return cls(
            name=name,
            chronic=fields.pop("course") == "chronic",
            odds=fields.pop("with", {}),
            treatments=tuple(Treatment.read(item) for item in fields.pop("treat", ())),
            **{
                key: tuple(value) if isinstance(value, list) else value
                for key, value in fields.items()
            },
        )


@dataclass(frozen=True)
class Drug:
    """One stocked product with its ward spellings and its ATC third-level group."""

    key: str
    group: str
    names: dict[str, float]
    routes: tuple[str, ...]
    product: str
    doses: tuple[str, ...]
    daily: tuple[int, ...]  # doses per 24 hours; empty: as needed
    base: str | None
    drug_type: str

    @classmethod
    def read(cls, key: str, group: str, fields: dict) -> Drug:
        names = fields["names"]
        return cls(
            key=key,
            group=group,
            names=names if isinstance(names, dict) else {names: 1.0},
            routes=_as_tuple(fields.get("route", "PO/NG")),
            product=fields["product"],
            doses=tuple(str(dose) for dose in _as_tuple(fields["dose"])),
            daily=_as_tuple(fields.get("daily", ())),
            base=fields.get("base"),
            drug_type=fields.get("drug_type", "MAIN"),
        )


@dataclass(frozen=True)
class Procedure:
    name: str
    codes: dict[str, float]  # ICD-10-PCS
    icd9: dict[str, float]
    tail: tuple[str, ...] = ()
    several: int = 1  # how many codes one intervention usually has
    repeats: int = 1


@dataclass(frozen=True)
class KnowledgeBase:
    conditions: dict[str, Condition]
    drugs: dict[str, Drug]
    procedures: dict[str, Procedure]
    supportive: tuple[Treatment, ...]
    long_tail: tuple[dict, ...]
    prescribing: dict  # rules.yaml
    demographics: dict

    @classmethod
    def load(cls, folder: Path = FOLDER) -> KnowledgeBase:
        conditions = {}
        for path in sorted((folder / "conditions").glob("*.yaml")):
            for name, fields in _read(path).items():
                conditions[name] = Condition.read(name, fields)
        drugs = {}
        for path in sorted((folder / "drugs").glob("*.yaml")):
            for group, members in _read(path).items():
                for key, fields in members.items():
                    drugs[key] = Drug.read(key, group, fields)
        return cls(
            conditions=conditions,
            drugs=drugs,
            procedures={
                name: _procedure(name, fields)
                for name, fields in _read(folder / "procedures.yaml").items()
            },
            supportive=tuple(Treatment.read(item) for item in _read(folder / "supportive.yaml")),
            long_tail=tuple(_read(folder / "long_tail.yaml")),
            prescribing=_read(folder / "rules.yaml"),
            demographics=_read(folder / "demographics.yaml"),
        )


def _procedure(name: str, fields: dict) -> Procedure:
    return Procedure(
        name=name,
        codes={str(code): weight for code, weight in fields["codes"].items() if weight},
        icd9={str(code): weight for code, weight in fields["icd9"].items()},
        tail=tuple(fields.get("tail", ())),
        several=fields.get("several", 1),
        repeats=fields.get("repeats", 1),
    )


def _read(path: Path) -> dict | list:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the compiled one is ten times faster
    return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)


def _as_tuple(value) -> tuple:
    return tuple(value) if isinstance(value, list | tuple) else (value,)
