"""What the safety rules say of the proposed medications: the worst interrupts, the mild is folded.

Only what is contraindicated for certain stops the reader until it is acknowledged; the rest of
what matters stands in line, moderate alerts are folded, and what was not checked is said. What is
proposed is checked with what was given at the last stay as well, by the drugs that are on record.
"""

from collections.abc import Iterable, Mapping

import streamlit as st

from app import style, terms
from app.widgets import agreement
from engine.records.schema import Visit
from engine.safety.burden import previous, recorded
from engine.safety.check import check_lists, check_set
from engine.safety.facts import PatientFacts
from engine.safety.report import Alert, Report
from engine.what_if import MADE_UP

MOST_ALLERGIES = 20
LONGEST_ALLERGY = 80  # characters
MARK = "~"  # between a visit id and what tells edits of that visit apart
BUNDLE = "fhir-"  # begins the id of a visit that was read from a bundle
SEVERITY_MARK = {"contraindicated": "⛔", "major": "▲", "moderate": "●"}
SURE = {"certain": "", "likely": " · likely", "possible": " · depends on the drug chosen"}
WHOSE = {
    (): "",
    ("student",): " · student's list",
    ("teacher",): " · teacher's list",
    ("student", "teacher"): " · both lists",
}
BY_NAME = "drug-level: every drug is known by name."


def draw(visit: Visit, said) -> tuple[Report, bool]:
    """Draw the alerts of what the models propose for a visit.

    Returns the report, and whether an alert that interrupts has yet to be acknowledged.
    """
    st.subheader("Safety", anchor=False, help=terms.explain("Contraindicated", "Major"))
    proposed = _proposed(said)
    _ask_allergies(visit)
    report = checked(visit, said)
    stopping = report.in_tier("interrupt")
    pending = ask_to_read(stopping, visit, "I have read what is contraindicated here")
    for alert in report.in_tier("inline"):
        st.html(card(alert, "warn"))
    if not report.in_tier("interrupt") and not report.in_tier("inline"):
        st.html(f'<div class="wb-card wb-small">{_all_quiet(report)}</div>')
    st.html(f'<div class="wb-small wb-muted">{style.text(_pairs(proposed, visit))}</div>')
    _draw_folded(report)
    draw_not_checked(report, "Not checked")
    return report, pending


def checked(visit: Visit, said) -> Report:
    """Return what the rules say of what the models propose, with the allergies typed so far."""
    return check_lists(_proposed(said), **on_record(visit, allergies(visit)))


def on_record(visit: Visit, typed: list[str] | None) -> dict:
    """Return what a check needs to know of a patient: facts, what they are on, and as of when."""
    before = previous(visit)
    return {
        "facts": PatientFacts.of(visit, typed),
        "already_on": recorded(before) if before else (),
        "facts_before": PatientFacts.of(before) if before else None,
    }


def draw_not_checked(report: Report, title: str) -> None:
    """Draw what was not looked at, folded."""
    with st.expander(f"{title} ({len(report.not_checked)})"):
        for line in report.not_checked:
            st.markdown(f"- {style.literal(line)}")


def allergies(visit: Visit) -> list[str] | None:
    """Return what was typed about this patient's allergies; None when nobody was asked."""
    return _entries(visit)[:MOST_ALLERGIES] or None


def _entries(visit: Visit) -> list[str]:
    typed = st.session_state.get(_allergy_key(visit), "")
    return [entry.strip()[:LONGEST_ALLERGY] for entry in typed.split(",") if entry.strip()]


def _ask_allergies(visit: Visit) -> None:
    st.text_input(
        "Allergies, separated by commas",
        key=_allergy_key(visit),
        placeholder="such as penicillin, contrast medium – not kept",
        help="Ingredients or classes, in words. Records hold allergies as diagnosis codes at "
        "most, so what is typed here is checked beside them, for every visit of this patient, "
        "and forgotten when you sign out.",
        max_chars=LONGEST_ALLERGY * MOST_ALLERGIES,
        persist_state=None if visit.patient_id == MADE_UP else "session",
    )
    if len(entered := _entries(visit)) > MOST_ALLERGIES:
        st.warning(
            f"{len(entered)} allergies: only the first {MOST_ALLERGIES} are checked. "
            "Put those that matter first."
        )


def _allergy_key(visit: Visit) -> str:
    """Return the key of a patient; of one on no record that of the visit, whose ids are its own."""
    base = visit.visit_id.partition(MARK)[0]  # of an edited visit
    on_record = visit.patient_id != MADE_UP and not base.startswith(BUNDLE)
    return f"allergies-of-{visit.patient_id}" if on_record else f"allergies-{base}"


def _proposed(said) -> dict[str, list[str]]:
    return {
        model: [
            row.atc
            for row in said.rows
            if agreement.proposes(getattr(row, model), said.thresholds.get(model))
        ]
        for model in ("student", "teacher")
        if said.latency_ms.get(model) is not None
    }


def _all_quiet(report: Report) -> str:
    """Return what is said where nothing stands in line."""
    if not report.alerts:
        words = "No rule was met by what is proposed beyond what the patient is already on."
        words = words if report.repeated else "No rule was met by what is proposed."
    else:
        words = (
            "Nothing new is contraindicated or major for certain; what is milder, or hangs on the "
            "drug that is chosen, is folded."
        )
    return f"{words} That is no proof of safety: what was not checked stands below."


def _pairs(proposed: dict[str, list[str]], visit: Visit) -> str:
    """Return "Interacting pairs of each list – student: 2 major; …; prescribed, by drug: none."."""
    lists = dict(proposed)
    if visit.medications:
        lists["prescribed"] = list(visit.medications)
    if visit.drugs:
        lists["prescribed, by the drugs on record"] = list(recorded(visit))
    counted = [
        f"{name}: {in_words({one: getattr(count, one) for one in SEVERITY_MARK})}"
        for name, count in check_set(lists).items()
    ]
    return f"Interacting pairs of each list – {'; '.join(counted)}."


def in_words(counts: Mapping[str, int]) -> str:
    """Return "1 major, 4 moderate" of counts by severity, the worst first."""
    return ", ".join(f"{count} {one}" for one, count in counts.items() if count) or "none"


def by_severity(alerts: Iterable[Alert]) -> str:
    found = [alert.severity for alert in alerts]
    return in_words({severity: found.count(severity) for severity in SEVERITY_MARK})


def ask_to_read(stopping: Iterable[Alert], visit: Visit, label: str) -> bool:
    """Draw the alerts that interrupt; return whether they have yet to be acknowledged."""
    if not stopping:
        return False
    for alert in stopping:
        st.html(card(alert, "stop"))
    return not st.checkbox(label, key=f"read-{visit.visit_id}-{_told(stopping)}")


def _told(alerts: Iterable[Alert]) -> str:
    """Return what tells these alerts from any others: a rule met by another drug is another one."""
    return ";".join(sorted(f"{alert.rule}:{','.join(alert.involved)}" for alert in alerts))


def _draw_folded(report: Report) -> None:
    folded = report.in_tier("folded")
    if folded:
        with st.expander(
            f"Of lesser weight, or only for some drugs of a group: {by_severity(folded)}"
        ):
            for alert in folded:
                st.html(card(alert, ""))
    if report.repeated:
        with st.expander(
            f"Known from what the patient is already on: {by_severity(report.repeated)}"
        ):
            for alert in report.repeated:
                st.html(card(alert, ""))


def card(alert: Alert, kind: str) -> str:
    """Return one alert as HTML; `kind` is "stop", "warn" or ""."""
    sure, whose = SURE[alert.certainty], WHOSE[alert.lists]
    title = f"{alert.severity.capitalize()}: {alert.what}{sure}{whose}"
    also = f" Also: {'; '.join(alert.also)}." if alert.also else ""
    reach = f"{alert.scope or BY_NAME} Source: {alert.source}"
    return (
        f'<div class="wb-alert {kind}" role="{"alert" if kind == "stop" else "note"}">'
        f'<div class="title">{SEVERITY_MARK[alert.severity]} {style.text(title)}</div>'
        f"<div>{style.text(alert.why)}{style.text(also)}</div>"
        f"<div><b>What to do:</b> {style.text(alert.management)}</div>"
        f'<div class="wb-muted">{style.text(reach)}</div>'
        "</div>"
    )
