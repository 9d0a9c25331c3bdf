"""Check a list of medications for one patient.

    report = check(["Warfarin", "Ibuprofen"], PatientFacts(age=70), already_on=["Warfarin"])
    report.alerts[0].what         # "warfarin with ibuprofen"
    report.not_checked            # sentences that belong on the screen beside it

    check(["N06A"], already_on=["Linezolid"]).alerts[0].what
    # "Antidepressants (N06A) with linezolid, given at the last stay (it may have been stopped)"

Nothing here is complete: an empty report says that no rule was met, not that the list is safe.
"""

from collections.abc import Iterable, Mapping, Sequence

from engine.safety.facts import PatientFacts
from engine.safety.findings import Current, Finding, Lists, find
from engine.safety.matching import Hit, pair_hits
from engine.safety.medications import Medication, read
from engine.safety.report import Alert, Report, SetCount
from engine.safety.rules import SafetyRules
from engine.safety.wording import Given, also, not_checked, scope, sentence, what

NOBODY = PatientFacts()


def check(
    medications: Iterable[str],
    facts: PatientFacts = NOBODY,
    already_on: Iterable[str] = (),
    facts_before: PatientFacts | None = None,
    rules: SafetyRules | None = None,
    given: Given = "last stay",
) -> Report:
    """Return what the rules say of a list of medications for a patient.

    `medications` and `already_on` hold drug names as a hospital writes them, ATC groups ("B01A")
    or ATC codes, in any order; a group beside a drug of that group is that drug. Each medication
    is checked against the others and against what the patient is `already_on`, which the alert
    says in the words of `given`. What holds among the latter alone is not shown again, unless it
    is now more urgent: `facts_before` is the patient as of then (by default as now), for whom a
    new diagnosis may have made an old drug dangerous.
    """
    return check_lists({"": medications}, facts, already_on, facts_before, rules, given)


def check_lists(
    lists: Mapping[str, Iterable[str]],
    facts: PatientFacts = NOBODY,
    already_on: Iterable[str] = (),
    facts_before: PatientFacts | None = None,
    rules: SafetyRules | None = None,
    given: Given = "last stay",
) -> Report:
    """Check several lists that are alternatives, such as the student's and the teacher's.

    As `check`; two medications of different lists are no pair, and an alert's `lists` names those
    that hold all it is about.
    """
    rules = rules or SafetyRules.load()
    read_lists = Lists(lists)
    on, unknown_on = read(already_on)
    current = Current(read_lists, on)
    findings = find(rules, read_lists, current, facts, facts_before or facts)
    by_alert: dict[tuple, list[Finding]] = {}
    for finding in findings.found:
        by_alert.setdefault(finding.alert, []).append(finding)
    told = [(group[0].is_known, _alert(group, given)) for group in by_alert.values()]
    told.sort(key=lambda pair: pair[1].sort_key)
    return Report(
        alerts=tuple(alert for is_known, alert in told if not is_known),
        repeated=tuple(alert for is_known, alert in told if is_known),
        unshown=findings.unshown,
        not_checked=not_checked(
            rules,
            (read_lists.medications, read_lists.unknown),
            (current.beside if on else None, unknown_on),
            facts,
            findings.allergies,
        ),
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


def _alert(findings: Sequence[Finding], given: Given) -> Alert:
    first = findings[0]
    hits = [finding.hit for finding in findings]
    rule = first.hit.rule
    is_class = any(one.is_group for hit in hits for one in hit.medications)
    mild = first.side_effect
    note = f"Recorded reaction: {mild}, a side effect rather than an allergy." if mild else ""
    current = tuple(sorted({finding.current for finding in findings if finding.current}))
    return Alert(
        rule=rule.id,
        kind=rule.kind,
        severity=rule.severity,
        tier=first.hit.tier,
        level="class" if is_class else "drug",
        certainty=first.hit.certainty,
        what=f"{what(hits, current, given)}{first.why}",
        why=sentence((rule.mechanism, rule.consequence, note)),
        management=rule.management,
        source=rule.source,
        scope=scope(hits) if is_class else "",
        involved=tuple(sorted({one.label for hit in hits for one in hit.medications})),
        pairs=tuple(sorted({hit.labels for hit in hits})),
        also=also(other for finding in findings for other in finding.beside),
        lists=first.lists,
        current=current,
    )


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
