"""What the clinician decides, group by group: accepted, changed, or rejected with a reason."""

import json

import pandas as pd
import streamlit as st

from app import style
from app.widgets import agreement, notice, safety_panel
from engine import permissions
from engine.decision_export import fhir_drafts, summary
from engine.decisions import LONGEST_NOTE, REASONS, Decision, Decisions, Item
from engine.errors import WorkbenchError
from engine.installation import Installation
from engine.permissions import Actor
from engine.records.cohort import Cohort
from engine.records.schema import Visit
from engine.terminology import atc

OPEN, ACCEPTED, CHANGED, REJECTED = "not decided", "accept", "change", "reject"
VERDICT = {ACCEPTED: "accepted", CHANGED: "changed", REJECTED: "rejected"}
LEADING = 3  # diagnoses on the page to print


def draw(actor: Actor, cohort: Cohort, visit: Visit, said, pending: bool) -> None:
    """Draw the form and what was decided before.

    Args:
        pending: an alert that interrupts was not acknowledged yet, so nothing can be saved.
    """
    decisions = Decisions(Installation.current())
    saved = decisions.of(actor, cohort.fingerprint, visit.patient_id)
    if permissions.allowed(actor, "decide"):
        _draw_form(decisions, actor, cohort, visit, said, pending)
    else:
        st.caption("Decisions are made by clinicians; this role reads them.")
    _draw_saved([one for one in saved if one.visit_id == visit.visit_id], cohort, visit)


def _draw_form(
    decisions: Decisions, actor: Actor, cohort: Cohort, visit: Visit, said, pending: bool
) -> None:
    proposed = [row for row in said.rows if _is_proposed(row, said.thresholds)]
    if not proposed:
        st.caption("Nothing is proposed, so there is nothing to decide.")
        return
    start = st.session_state.get(_key(visit, "start"), OPEN)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{len(proposed)} groups are proposed. What you leave open is not saved.")
        if st.button("Accept all that are open", key=_key(visit, "all")):
            st.session_state[_key(visit, "start")] = start = ACCEPTED
            st.session_state[_key(visit, "turn")] = st.session_state.get(_key(visit, "turn"), 0) + 1
    entered = st.data_editor(
        _frame(proposed, start),
        key=f"{_key(visit, 'table')}-{st.session_state.get(_key(visit, 'turn'), 0)}",
        hide_index=True,
        height="content",
        placeholder="",
        disabled=["Medication group", "Teacher", "Student"],
        alt="Decision for each proposed medication group",
        column_config=_columns(),
    )
    items = _items(entered, proposed)
    blocked = "Read what is contraindicated above first." if pending else None
    if st.button(
        f"Save the decision on {len(items)} groups" if items else "Save the decision",
        type="primary",
        icon=":material/save:",
        disabled=pending or not items,
        help=blocked,
    ):
        try:
            decisions.save(actor, cohort.fingerprint, visit, said.versions, items)
        except WorkbenchError as error:
            notice.error(str(error), title="Not saved")
            return
        for part in ("start", "turn"):
            st.session_state.pop(_key(visit, part), None)
        st.toast("The decision is saved.", icon=":material/check:")
        st.rerun()


def _draw_saved(saved: list[Decision], cohort: Cohort, visit: Visit) -> None:
    if not saved:
        st.caption("No decision about this visit has been saved yet.")
        return
    st.markdown("**Saved decisions about this visit**")
    for decision in saved:
        at = f"{decision.decided_at.replace('T', ' ')[:16]} UTC"
        given = f"{len(decision.final)} of {len(decision.items)} groups to be given"
        with st.expander(style.literal(f"{at} by {decision.account}: {given}")):
            st.dataframe(
                _saved_frame(decision), hide_index=True, alt="What was decided for each group"
            )
            with st.container(horizontal=True):
                st.download_button(
                    "FHIR drafts",
                    json.dumps(fhir_drafts(decision), indent=1),
                    f"decision-{decision.number}.json",
                    "application/fhir+json",
                    icon=":material/data_object:",
                    key=f"fhir-{decision.number}",
                    on_click="ignore",
                )
                st.download_button(
                    "Page to print",
                    _page(decision, cohort, visit),
                    f"decision-{decision.number}.html",
                    "text/html",
                    icon=":material/print:",
                    key=f"print-{decision.number}",
                    on_click="ignore",
                )


def _page(decision: Decision, cohort: Cohort, visit: Visit) -> str:
    leading = [cohort.title("diagnosis", code) for code in visit.diagnoses[:LEADING]]
    return summary(decision, visit, leading, safety_panel.allergies(visit) or [])


def _frame(proposed, start: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Medication group": [f"{row.name} ({row.atc})" for row in proposed],
            "Teacher": pd.Series([row.teacher for row in proposed], dtype="Float64"),
            "Student": pd.Series([row.student for row in proposed], dtype="Float64"),
            "Decision": [start] * len(proposed),
            "Reason": [None] * len(proposed),
            "In its place": [""] * len(proposed),
            "Note": [""] * len(proposed),
        }
    )


def _columns() -> dict:
    column = st.column_config
    return {
        "Medication group": column.TextColumn(width="large"),
        "Teacher": column.NumberColumn(format="%.2f", width=70),
        "Student": column.NumberColumn(format="%.2f", width=70),
        "Decision": column.SelectboxColumn(
            options=[OPEN, ACCEPTED, CHANGED, REJECTED], required=True, width=105
        ),
        "Reason": column.SelectboxColumn(
            options=list(REASONS.values()), help="Needed to change or reject", width="medium"
        ),
        "In its place": column.TextColumn(
            max_chars=LONGEST_NOTE, help="What is given instead, where you change", width="small"
        ),
        "Note": column.TextColumn(max_chars=LONGEST_NOTE, width="medium"),
    }


def _items(entered: pd.DataFrame, proposed) -> list[Item]:
    codes = {title: code for code, title in REASONS.items()}
    items = []
    for line, row in zip(entered.itertuples(index=False), proposed, strict=True):
        _, _, _, verdict, reason, instead, note = line
        if verdict in VERDICT:
            items.append(
                Item(
                    row.atc,
                    VERDICT[verdict],
                    instead=_text(instead) if verdict == CHANGED else "",
                    reason=codes.get(_text(reason), ""),
                    note=_text(note),
                    teacher=row.teacher,
                    student=row.student,
                )
            )
    return items


def _saved_frame(decision: Decision) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Medication group": [f"{atc.name(i.group)} ({i.group})" for i in decision.items],
            "Decision": [item.verdict for item in decision.items],
            "In its place": [item.instead for item in decision.items],
            "Reason": [REASONS.get(item.reason, "") for item in decision.items],
            "Note": [item.note for item in decision.items],
        }
    )


def _is_proposed(row, thresholds: dict[str, float]) -> bool:
    return any(
        agreement.proposes(getattr(row, model), thresholds.get(model))
        for model in ("teacher", "student")
    )


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _key(visit: Visit, part: str) -> str:
    return f"decision-{part}-{visit.visit_id}"
