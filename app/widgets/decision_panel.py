"""What the clinician decides, group by group: accepted, changed, or rejected with a reason."""

import json
from collections.abc import Callable

import pandas as pd
import streamlit as st

from app import identity, style
from app.widgets import agreement, final_list, notice, safety_panel
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
ENTRY = {"Decision": OPEN, "Reason": None, "In its place": "", "Note": ""}  # as a line starts
SINCE = {  # what has changed, after a decision in words
    "same cohort": "",
    "same record": "; on another state of the cohort, with this record",
    "other record": "; on another state of the cohort, whose record of this visit was another",
}
LEADING = 3  # diagnoses on the page to print


def draw(actor: Actor, cohort: Cohort, visit: Visit, said, pending: bool) -> None:
    """Draw the form and what was decided before.

    Args:
        pending: an alert that interrupts was not acknowledged yet, so nothing can be saved.
    """
    decisions = Decisions(Installation.current())
    saved = decisions.of(actor, cohort.fingerprint, [visit])
    if permissions.allowed(actor, "decide"):
        _draw_form(decisions, actor, cohort, visit, said, pending)
    else:
        st.caption("Decisions are made by clinicians; this role reads them.")
    _draw_saved(decisions, saved, cohort, visit)


def saved_by_visit(actor: Actor, cohort: Cohort, visits: list[Visit]) -> dict[str, str]:
    """Return visit id → what was decided last about it, in words, for the timeline."""
    saved = Decisions(Installation.current()).of(actor, cohort.fingerprint, visits)
    return {one.visit_id: f"Decision of {_in_words(one)}" for one in reversed(saved)}


def _in_words(decision: Decision) -> str:
    at = f"{decision.decided_at.replace('T', ' ')[:16]} UTC"
    given = f"{len(decision.final)} of {len(decision.items)} groups to be given"
    return f"{at} by {decision.account}: {given}{SINCE[decision.since]}"


def _draw_form(
    decisions: Decisions, actor: Actor, cohort: Cohort, visit: Visit, said, pending: bool
) -> None:
    proposed = [row for row in said.rows if _is_proposed(row, said.thresholds)]
    if not proposed:
        st.caption("Nothing is proposed, so there is nothing to decide.")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(  # on the left: the table's own tools come up on the right
            "Accept all that are open", key=_key(visit, "all"), on_click=_accept_open, args=(visit,)
        )
        st.caption(
            f"Proposed: {_groups(len(proposed))}. What you leave open is not saved.",
            width="stretch",
        )
    key, frame = _table(visit, proposed)
    entered = st.data_editor(
        frame,
        key=key,
        hide_index=True,
        height="content",
        placeholder="",
        disabled=["Medication group", "Teacher", "Student"],
        alt="Decision for each proposed medication group",
        column_config=_columns(),
    )
    st.session_state[_key(visit, "entered")] = _by_group(entered, proposed)
    items = _items(entered, proposed)
    pending |= final_list.draw(visit, said, items)
    blocked = "Read what is contraindicated above first." if pending else None
    if st.button(
        _save_label(len(items)),
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
        _start_over(visit)
        st.toast("The decision is saved.", icon=":material/check:")
        st.rerun()


def _draw_saved(decisions: Decisions, saved: list[Decision], cohort: Cohort, visit: Visit) -> None:
    if not saved:
        st.caption("No decision about this visit has been saved yet.")
        return
    st.markdown("**Saved decisions about this visit**")
    for decision in saved:
        with st.expander(style.literal(_in_words(decision))):
            st.dataframe(
                _saved_frame(decision), hide_index=True, alt="What was decided for each group"
            )
            with st.container(horizontal=True):
                st.download_button(
                    "FHIR drafts",
                    _export(
                        decisions, decision, "FHIR", json.dumps(fhir_drafts(decision), indent=1)
                    ),
                    f"decision-{decision.number}.json",
                    "application/fhir+json",
                    icon=":material/data_object:",
                    key=f"fhir-{decision.number}",
                    on_click="ignore",
                )
                st.download_button(
                    "Page to print",
                    _export(decisions, decision, "page", _page(decision, cohort, visit)),
                    f"decision-{decision.number}.html",
                    "text/html",
                    icon=":material/print:",
                    key=f"print-{decision.number}",
                    on_click="ignore",
                )


def _export(decisions: Decisions, decision: Decision, form: str, text: str) -> Callable[[], str]:
    """Return what gives the text when its button is pressed: once it stands in the audit."""
    signed_in = identity.afterwards()

    def written() -> str:
        decisions.exported(signed_in(), decision, form)
        return text

    return written


def _page(decision: Decision, cohort: Cohort, visit: Visit) -> str:
    leading = [cohort.title("diagnosis", code) for code in visit.diagnoses[:LEADING]]
    safety = final_list.in_words(final_list.check(visit, decision.items))
    return summary(decision, visit, leading, safety_panel.allergies(visit) or [], safety)


def _table(visit: Visit, proposed) -> tuple[str, pd.DataFrame]:
    """Return the editor's key and what it starts from.

    An editor knows its changes by the place of a line, and forgets them when it is not drawn.
    Other lines, as when the teacher answers, or a return to this tab are therefore another
    editor, which starts from what was entered for each group.
    """
    lines = [(row.atc, row.teacher, row.student) for row in proposed]
    known, turn, frame = st.session_state.get(_key(visit, "table"), (None, 0, None))
    if known != lines or _editor(visit, turn) not in st.session_state:
        turn += 1
        frame = _frame(proposed, st.session_state.get(_key(visit, "entered"), {}))
        st.session_state[_key(visit, "table")] = lines, turn, frame
    return _editor(visit, turn), frame


def _editor(visit: Visit, turn: int) -> str:
    return f"{_key(visit, 'editor')}-{turn}"


def _accept_open(visit: Visit) -> None:
    entered = st.session_state.get(_key(visit, "entered"), {})
    for line in entered.values():
        if line["Decision"] == OPEN:
            line["Decision"] = ACCEPTED
    _, turn, _ = st.session_state[_key(visit, "table")]
    st.session_state[_key(visit, "table")] = None, turn, None


def _start_over(visit: Visit) -> None:
    _, turn, _ = st.session_state[_key(visit, "table")]
    st.session_state[_key(visit, "table")] = None, turn, None
    st.session_state.pop(_key(visit, "entered"), None)


def _by_group(entered: pd.DataFrame, proposed) -> dict[str, dict]:
    lines = entered[list(ENTRY)].to_dict("records")
    return {row.atc: line for row, line in zip(proposed, lines, strict=True)}


def _save_label(count: int) -> str:
    if not count:
        return "Save the decision"
    return f"Save the decision on {_groups(count)}"


def _groups(count: int) -> str:
    return f"{count} {'group' if count == 1 else 'groups'}"


def _frame(proposed, entered: dict[str, dict]) -> pd.DataFrame:
    lines = [ENTRY | entered.get(row.atc, {}) for row in proposed]
    return pd.DataFrame(
        {
            "Medication group": [f"{row.name} ({row.atc})" for row in proposed],
            "Teacher": pd.Series([row.teacher for row in proposed], dtype="Float64"),
            "Student": pd.Series([row.student for row in proposed], dtype="Float64"),
            **{name: [line[name] for line in lines] for name in ENTRY},
        }
    )


def _columns() -> dict:
    column = st.column_config
    return {
        "Medication group": column.TextColumn(width=300, pinned=True),  # narrow screens scroll
        "Teacher": column.NumberColumn(format="%.2f", width=70),
        "Student": column.NumberColumn(format="%.2f", width=70),
        "Decision": column.SelectboxColumn(
            options=[OPEN, ACCEPTED, CHANGED, REJECTED], required=True, width=105
        ),
        "Reason": column.SelectboxColumn(
            options=list(REASONS.values()), help="Needed to change or reject", width="medium"
        ),
        "In its place": column.TextColumn(
            max_chars=LONGEST_NOTE, help="What is given instead, where you change", width=130
        ),
        "Note": column.TextColumn(max_chars=LONGEST_NOTE, width=300),
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
