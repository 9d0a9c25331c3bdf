"""What a check returns: alerts by tier, what was not repeated, and what was not checked."""

from dataclasses import dataclass
from typing import Literal

from engine.terminology.interactions import COUNTED_SHARE, SEVERITIES, Severity

Kind = Literal["interaction", "duplicate", "allergy", "caution"]
Tier = Literal["interrupt", "inline", "folded"]
Certainty = Literal["certain", "likely", "possible"]
TIERS: tuple[Tier, ...] = ("interrupt", "inline", "folded")
KINDS: tuple[Kind, ...] = ("allergy", "interaction", "duplicate", "caution")


def certainty(share: float) -> Certainty:
    """How sure it is that a rule holds, by the share of a group's drugs that it names.

    1 is every one of them, or drugs known by name; from a third on it is likely; below, possible.
    """
    return "certain" if share >= 1 else "likely" if share >= COUNTED_SHARE else "possible"


def tier(severity: Severity, certain: Certainty) -> Tier:
    """How an alert is shown. Only what is contraindicated for certain interrupts.

    | | certain | likely | possible |
    |---|---|---|---|
    | contraindicated | interrupt | inline | folded |
    | major | inline | folded | folded |
    | moderate | folded | folded | counted, not shown |
    """
    if certain == "possible" or severity == "moderate":
        return "folded"
    if severity == "contraindicated":
        return "interrupt" if certain == "certain" else "inline"
    return "inline" if certain == "certain" else "folded"


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule that holds for this list and patient."""

    rule: str  # its id in the rules files
    kind: Kind
    severity: Severity
    tier: Tier
    level: Literal["drug", "class"]  # class: at least one medication is known by its group only
    certainty: Certainty
    what: str  # "warfarin with amiodarone"
    why: str  # mechanism and consequence
    management: str
    source: str
    scope: str  # at class level: which members it applies to; else empty
    involved: tuple[str, ...]  # drugs and groups, sorted
    pairs: tuple[tuple[str, ...], ...]  # what it holds for: pairs, or single medications
    also: tuple[str, ...] = ()  # further rules for the same pairs, milder or equal, in words
    lists: tuple[str, ...] = ()  # of lists with names those that hold it, such as "teacher"
    current: tuple[str, ...] = ()  # of those involved what the patient is on and no list holds

    @property
    def sort_key(self) -> tuple:
        """The worst first, then by kind, then by rule."""
        return (
            TIERS.index(self.tier),
            -SEVERITIES.index(self.severity),
            KINDS.index(self.kind),
            self.level == "class",
            self.rule,
            bool(self.current),
            self.what,
            self.lists,
        )


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a check."""

    alerts: tuple[Alert, ...]  # to show, the worst first
    repeated: tuple[Alert, ...]  # known from what the patient is already on, and no worse now
    unshown: int  # rules of less weight that only a few members of a group would meet
    not_checked: tuple[str, ...]  # sentences for the screen

    def in_tier(self, wanted: Tier) -> tuple[Alert, ...]:
        """The alerts to show in one way."""
        return tuple(alert for alert in self.alerts if alert.tier == wanted)

    @property
    def possible(self) -> tuple[Alert, ...]:
        """The folded alerts that hang on which drug of a group is chosen: one line for all."""
        return tuple(alert for alert in self.alerts if alert.certainty == "possible")

    @property
    def interrupts(self) -> bool:
        """Whether a person must answer before going on."""
        return any(alert.tier == "interrupt" for alert in self.alerts)


@dataclass(frozen=True, slots=True)
class SetCount:
    """How many pairs of a list interact, each counted once, under its worst rule."""

    contraindicated: int
    major: int
    moderate: int
    possible: int  # contraindicated or major for fewer than a third of the groups' drugs
    interrupt: int  # the first three again, by how they are shown
    inline: int
    folded: int

    def in_words(self) -> str:
        """ "1 contraindicated, 2 major and 4 moderate pairs"."""
        pairs = "pair" if self.moderate == 1 else "pairs"
        return (
            f"{self.contraindicated} contraindicated, {self.major} major and "
            f"{self.moderate} moderate {pairs}"
        )
