"""Check a list of medications for one patient.

    report = check(["Warfarin", "Amiodarone"], PatientFacts(age=70), already_on=["Warfarin"])
    report.alerts[0].what         # "warfarin with amiodarone"
    report.not_checked            # sentences that belong on the screen beside it

Nothing here is complete: an empty report says that no rule was met, not that the list is safe.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from engine.safety import allergies, cautions
from engine.safety.facts import PatientFacts
from engine.safety.matching import Hit, pair_hits
from engine.safety.medications import Medication, read
from engine.safety.report import TIERS, Alert, Report, SetCount
from engine.safety.rules import SafetyRules
from engine.safety.wording import also, not_checked, scope, sentence, what
from engine.terminology.interactions import SEVERITIES

NOBODY = PatientFacts()


def check(
    medications: Iterable[str],
    facts: PatientFacts = NOBODY,
    already_on: Iterable[str] = (),
    facts_before: PatientFacts | None = None,
    rules: SafetyRules | None = None,
) -> Report:
    """Return what the rules say of a list of medications for a patient.

    `medications` and `already_on` hold drug names as a hospital writes them, ATC groups ("B01A")
    or ATC codes, in any order; a group beside a drug of that group is that drug. An alert that
    holds among what the patient is already on is not shown again, unless it is now shown more
    urgently: `facts_before` is the patient as of then (by default as now), for whom a new diagnosis
    may have made an old drug dangerous.
    """
    rules = rules or SafetyRules.load()
    listed, unknown = read(medications)
    found = _alerts(rules, listed, facts)
    known = _known(rules, already_on, facts_before or facts)
    shown, repeated = [], []
    for alert in found.alerts:
        new, old = _split(alert, known)
        shown += [new] if new else []
        repeated += [old] if old else []
    return Report(
        alerts=tuple(sorted(shown, key=lambda alert: alert.sort_key)),
        repeated=tuple(sorted(repeated, key=lambda alert: alert.sort_key)),
        unshown=found.unshown,
        not_checked=not_checked(rules, listed, unknown, facts, found.patient_allergies),
    )


def check_set(
    lists: Mapping[str, Iterable[str]], rules: SafetyRules | None = None
) -> dict[str, SetCount]:
    """Count the interacting pairs of several lists, such as the student's and the prescribed one.

    To compare like with like give all of them as groups, or all of them as drugs.
    """
    rules = rules or SafetyRules.load()
    return {name: _count(rules, read(medications)[0]) for name, medications in lists.items()}


def compared(counts: Mapping[str, SetCount]) -> str:
    """ "student: 0 contraindicated, 2 major and 5 moderate pairs; teacher: …"."""
    return "; ".join(f"{name}: {count.in_words()}" for name, count in counts.items())


class _Found:
    """The alerts of a list, before what is already known is taken out."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []
        self.unshown = 0
        self.patient_allergies: list[allergies.Allergy] = []


def _alerts(rules: SafetyRules, medications: Sequence[Medication], facts: PatientFacts) -> _Found:
    found = _Found()
    main, others, found.unshown = _worst_of_each_pair(pair_hits(rules, medications))
    for hits in _by_rule(main).values():
        beside = [other for hit in hits for other in others[hit.labels]]
        found.alerts.append(_alert(hits, "", also(beside)))
    found.patient_allergies = allergies.of_patient(facts, rules)
    single = [
        (hit, f"; allergy: {allergy.said}", allergy)
        for hit, allergy in allergies.hits(rules, found.patient_allergies, medications)
    ]
    single += [(hit, f" {why}", None) for hit, why in cautions.hits(rules, facts, medications)]
    grouped: dict[tuple, list[Hit]] = {}
    for hit, why, allergy in single:
        if hit.is_shown:
            mild = allergy.side_effect if allergy else ""
            grouped.setdefault((hit.rule.id, hit.tier, hit.certainty, why, mild), []).append(hit)
        else:
            found.unshown += 1
    for (*_, why, mild), hits in grouped.items():
        note = f"Recorded reaction: {mild}, a side effect rather than an allergy." if mild else ""
        found.alerts.append(_alert(hits, why, (), note))
    return found


def _worst_of_each_pair(
    hits: Iterable[Hit],
) -> tuple[list[Hit], dict[tuple[str, ...], list[Hit]], int]:
    """For each pair the rule that says most; the others by pair; and how many are not shown."""
    by_pair: dict[tuple[str, ...], list[Hit]] = {}
    unshown = 0
    for hit in hits:
        if hit.is_shown:
            by_pair.setdefault(hit.labels, []).append(hit)
        else:
            unshown += 1
    main, others = [], {}
    for labels, held in by_pair.items():
        first, *rest = sorted(held, key=lambda hit: hit.worst_first)
        main.append(first)
        others[labels] = [hit for hit in rest if _adds(hit, first)]
    return main, others, unshown


def _adds(hit: Hit, first: Hit) -> bool:
    """Whether a second rule says something new; qt-with-qt-lesser beside qt-with-qt does not."""
    return hit.certainty != "possible" and not hit.rule.id.startswith(first.rule.id)


def _by_rule(hits: Iterable[Hit]) -> dict[tuple, list[Hit]]:
    grouped: dict[tuple, list[Hit]] = {}
    for hit in hits:
        is_class = any(one.is_group for one in hit.medications)
        grouped.setdefault((hit.rule.id, hit.certainty, is_class), []).append(hit)
    return grouped


def _alert(hits: Sequence[Hit], why: str, beside: tuple[str, ...], note: str = "") -> Alert:
    rule = hits[0].rule
    is_class = any(one.is_group for hit in hits for one in hit.medications)
    reasons = (rule.mechanism, rule.consequence, note)
    return Alert(
        rule=rule.id,
        kind=rule.kind,
        severity=rule.severity,
        tier=hits[0].tier,
        level="class" if is_class else "drug",
        certainty=hits[0].certainty,
        what=f"{what(hits)}{why}",
        why=sentence(reasons),
        management=rule.management,
        source=rule.source,
        scope=scope(hits) if is_class else "",
        involved=tuple(sorted({one.label for hit in hits for one in hit.medications})),
        pairs=tuple(sorted({hit.labels for hit in hits})),
        also=beside,
    )


def _known(
    rules: SafetyRules, already_on: Iterable[str], facts: PatientFacts
) -> dict[tuple[str, tuple[str, ...]], tuple[int, int]]:
    """Rule and pair of every alert that holds already → how urgently it was shown."""
    medications, _ = read(already_on)
    if not medications:
        return {}
    return {
        (alert.rule, pair): _urgency(alert)
        for alert in _alerts(rules, medications, facts).alerts
        for pair in alert.pairs
    }


def _urgency(alert: Alert) -> tuple[int, int]:
    return (-TIERS.index(alert.tier), SEVERITIES.index(alert.severity))


def _split(alert: Alert, known: Mapping) -> tuple[Alert | None, Alert | None]:
    """The part of an alert that is new, and the part that is known and no more urgent now.

    The words of both stay those of the whole: what is known helps to read what is new.
    """
    never = (-len(TIERS), -1)
    old = tuple(
        pair for pair in alert.pairs if known.get((alert.rule, pair), never) >= _urgency(alert)
    )
    new = tuple(pair for pair in alert.pairs if pair not in old)
    if not old or not new:
        return (alert, None) if new else (None, alert)
    return replace(alert, pairs=new), replace(alert, pairs=old)


def _count(rules: SafetyRules, medications: Sequence[Medication]) -> SetCount:
    worst: dict[tuple[str, ...], Hit] = {}
    for hit in pair_hits(rules, medications):
        if hit.is_shown:
            best = worst.get(hit.labels)
            if best is None or hit.worst_first < best.worst_first:
                worst[hit.labels] = hit
    sure = [hit for hit in worst.values() if hit.certainty != "possible"]
    severities = [hit.rule.severity for hit in sure]
    tiers = [hit.tier for hit in sure]
    return SetCount(
        contraindicated=severities.count("contraindicated"),
        major=severities.count("major"),
        moderate=severities.count("moderate"),
        possible=len(worst) - len(sure),
        interrupt=tiers.count("interrupt"),
        inline=tiers.count("inline"),
        folded=tiers.count("folded"),
    )
