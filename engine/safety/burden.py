"""How many alerts a hospital would see: per 100 visits, with and without the tiers.

Every visit is checked as the app does it: with what was given at the visit before, by the names of
the drugs. Counted apart are the alerts with such a drug, and those that were known from that visit.
Class-level checks of groups and checks of named drugs do not compare.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tqdm import tqdm

from engine.records.schema import Visit
from engine.safety.check import check
from engine.safety.facts import PatientFacts
from engine.safety.report import TIERS, Report
from engine.safety.rules import SafetyRules

FREQUENT = 12  # rules that are listed


@dataclass
class Burden:
    """Counts over the visits of one list."""

    visits: int = 0
    returning: int = 0  # of these, those with medications of a visit before
    pairs: int = 0  # alerts of a system that shows each pair, each at once
    alerts: int = 0  # alerts when the pairs of one rule are one alert
    by_tier: Counter = field(default_factory=Counter)  # these, by how they are shown
    possible: int = 0  # of the folded ones: for fewer than a third of a group's drugs
    shown: Counter = field(default_factory=Counter)  # without those known from the visit before
    current_pairs: int = 0  # as `pairs`, of one that is listed with one of the visit before
    current: Counter = field(default_factory=Counter)  # of those shown, by tier
    current_visits: int = 0  # visits with at least one that is shown, folded ones among them
    current_loud: int = 0  # visits with at least one that is not folded
    interrupted: int = 0  # visits with at least one alert that interrupts
    rules: Counter = field(default_factory=Counter)  # (tier, rule) → visits, of those shown

    def add(self, report: Report, returning: bool = False) -> None:
        """Count one visit; `returning` where the visit before has medications."""
        every = report.alerts + report.repeated
        with_current = [alert for alert in report.alerts if alert.current]
        self.visits += 1
        self.returning += returning
        self.current_pairs += sum(len(alert.pairs) for alert in every if alert.current)
        self.current.update(alert.tier for alert in with_current)
        self.current_visits += bool(with_current)
        self.current_loud += any(alert.tier != "folded" for alert in with_current)
        self.pairs += sum(len(alert.pairs) for alert in every)
        self.alerts += len(every)
        self.by_tier.update(alert.tier for alert in every)
        self.possible += sum(alert.certainty == "possible" for alert in every)
        self.shown.update(alert.tier for alert in report.alerts)
        self.interrupted += report.interrupts
        self.rules.update({(alert.tier, alert.rule) for alert in report.alerts})

    def per_100(self, count: int) -> float:
        """A count per 100 visits."""
        return 100 * count / self.visits if self.visits else 0.0

    def to_json(self) -> dict:
        """The figures per 100 visits, and the rules that are met most."""
        return {
            "visits": self.visits,
            "without_tiers_each_pair": round(self.per_100(self.pairs), 1),
            "one_alert_a_rule": round(self.per_100(self.alerts), 1),
            **{tier: round(self.per_100(self.by_tier[tier]), 1) for tier in TIERS},
            "folded_of_which_possible": round(self.per_100(self.possible), 1),
            **{f"{tier}_not_known": round(self.per_100(self.shown[tier]), 1) for tier in TIERS},
            "returning_visits": self.returning,
            "with_current_each_pair": round(self.per_100(self.current_pairs), 1),
            **{
                f"{tier}_with_current": round(self.per_100(self.current[tier]), 1) for tier in TIERS
            },
            "returning_visits_with_current": self.current_visits,
            "returning_visits_with_current_not_folded": self.current_loud,
            "visits_interrupted": round(self.per_100(self.interrupted), 1),
            "frequent": [
                {"tier": tier, "rule": rule, "visits": round(self.per_100(count), 1)}
                for tier in TIERS
                for rule, count in self._most(tier)
            ],
        }

    def _most(self, tier: str) -> list[tuple[str, int]]:
        held = Counter({rule: count for (one, rule), count in self.rules.items() if one == tier})
        return held.most_common(FREQUENT)


def measure(
    visits: Sequence[Visit],
    lists: Mapping[str, Sequence[Iterable[str]]],
    rules: SafetyRules | None = None,
) -> dict[str, Burden]:
    """Return the burden of each list of medications, one list a visit, with a progress bar.

    Each list is checked with the drugs of the visit before, or its groups where it names none.
    """
    rules = rules or SafetyRules.load()
    burdens = {name: Burden() for name in lists}
    for row, visit in enumerate(tqdm(visits, desc="checking", unit="visit", disable=None)):
        facts = PatientFacts.of(visit)
        former = previous(visit)
        before = PatientFacts.of(former) if former else None
        known = recorded(former) if former else ()
        for name, medications in lists.items():
            report = check(medications[row], facts, known, before, rules)
            burdens[name].add(report, returning=bool(known))
    return burdens


def recorded(visit: Visit, by_drug: bool = True) -> tuple[str, ...]:
    """What was prescribed: the drugs with the groups that tell their route, or groups alone."""
    return visit.drugs + visit.medications if by_drug else visit.medications


def previous(visit: Visit) -> Visit | None:
    """The latest earlier visit with medications on record, with its own history."""
    for place in range(len(visit.history) - 1, -1, -1):
        if visit.history[place].medications:
            return replace(visit.history[place], history=visit.history[:place])
    return None


def as_table(burdens: Mapping[str, Burden]) -> str:
    """The burdens as a Markdown table of alerts per 100 visits."""
    lines = [
        "| list | visits | each pair at once | one alert a rule | interrupt | inline | folded "
        "| of these possible | not known: interrupt | inline | folded "
        "| with current: each pair at once | interrupt | inline | folded | visits interrupted |",
        "|---" + "|---:" * 15 + "|",
    ]
    for name, burden in burdens.items():
        counts = [burden.pairs, burden.alerts]
        counts += [burden.by_tier[tier] for tier in TIERS]
        counts.append(burden.possible)
        counts += [burden.shown[tier] for tier in TIERS]
        counts += [burden.current_pairs, *(burden.current[tier] for tier in TIERS)]
        cells = [f"{burden.per_100(count):,.1f}" for count in counts]
        cells.append(f"{burden.per_100(burden.interrupted):.1f} %")
        lines.append(f"| {name} | {burden.visits:,} | {' | '.join(cells)} |")
    return "\n".join(lines)
