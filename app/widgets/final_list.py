"""The list as it would be saved, checked as a set before it is: with what is typed in its place.

What the panel above has said of the proposals already is counted, not drawn again.
"""

from collections.abc import Iterable, Sequence

import streamlit as st

from app import style
from app.widgets import safety_panel
from engine.decisions import Item
from engine.records.schema import Visit
from engine.safety.final_list import FinalCheck, check_final
from engine.safety.report import Alert, Report, SetCount


def draw(visit: Visit, said, items: Sequence[Item]) -> bool:
    """Draw the check of what is accepted and changed so far.

    Returns whether an alert that interrupts, and that the proposals had not met, has yet to be
    acknowledged.
    """
    checked = check(visit, items)
    if not checked.medications and not checked.readings:
        return False
    new, again = _parted(checked.report.alerts, safety_panel.checked(visit, said))
    st.html(f'<div class="wb-small">{style.text(_heading(checked, again))}</div>')
    for reading in checked.readings:
        st.html(f'<div class="wb-small wb-muted">{style.text(reading)}</div>')
    stopping = [alert for alert in new if alert.tier == "interrupt"]
    pending = safety_panel.ask_to_read(
        stopping, visit, "I have read what is contraindicated in the final list"
    )
    for alert in new:
        if alert.tier == "inline":
            st.html(safety_panel.card(alert, "warn"))
    if folded := [alert for alert in new if alert.tier == "folded"]:
        severities = safety_panel.by_severity(folded)
        with st.expander(f"Final list, of lesser weight or not for every drug: {severities}"):
            for alert in folded:
                st.html(safety_panel.card(alert, ""))
    safety_panel.draw_not_checked(checked.report, "Final list: not checked")
    return pending


def check(visit: Visit, items: Iterable[Item]) -> FinalCheck:
    """Return the check of what items say is to be given."""
    given = [item for item in items if item.verdict != "rejected"]
    return check_final(
        [item.group for item in given if item.verdict == "accepted"],
        [item.instead for item in given if item.instead],
        **safety_panel.on_record(visit, safety_panel.allergies(visit)),
    )


def in_words(checked: FinalCheck) -> list[str]:
    """Return what a page to print says of the check: the alerts that matter, and what was not."""
    report = checked.report
    loud = [alert for alert in report.alerts if alert.tier != "folded"]
    lines = [f"{alert.severity.capitalize()}: {alert.what}. {alert.management}" for alert in loud]
    folded = len(report.alerts) - len(loud)
    lines.append(
        f"{'Besides, of' if loud else 'Of'} lesser weight or not for every drug of a group: "
        f"{folded or 'no'} {'alert' if folded == 1 else 'alerts'}."
    )
    unread = [line for line in report.not_checked if line.startswith("Not recognised")]
    return [*lines, *checked.readings, *unread, "An empty check is no proof of safety."]


def _heading(checked: FinalCheck, again: Sequence[Alert]) -> str:
    count = checked.medications
    listed = f"{count} {'medication' if count == 1 else 'medications'}"
    pairs = safety_panel.in_words(_by_name(checked.pairs))
    words = f"The final list as a set, {listed} – interacting pairs: {pairs}."
    if again:
        words += f" Said above already: {safety_panel.by_severity(again)}."
    return words


def _by_name(pairs: SetCount) -> dict[str, int]:
    return {severity: getattr(pairs, severity) for severity in safety_panel.SEVERITY_MARK}


def _parted(alerts: Iterable[Alert], above: Report) -> tuple[list[Alert], list[Alert]]:
    """Part what is new from what was said of the proposals, pair by pair."""
    told = {(alert.rule, alert.tier, pair) for alert in above.alerts for pair in alert.pairs}
    new, again = [], []
    for alert in alerts:
        known = all((alert.rule, alert.tier, pair) in told for pair in alert.pairs)
        (again if known else new).append(alert)
    return new, again
