"""Audit: who did what and when, found by account, action, day and patient; and taken along."""

import io
import json
import math
from datetime import UTC, datetime

import pandas as pd
import streamlit as st

from app import identity, session, style
from app.widgets import notice
from engine.audit import Audit, Entry
from engine.errors import WorkbenchError
from engine.permissions import Actor

PAGE_SIZE = 50
ROW_HEIGHT = 33  # pixels
SHORT = 12  # characters of a sum that are shown; the download has them all
CHECKED_FOR = 60  # seconds that a check of the chain is remembered
TELLS_LITTLE = ("cohort", "input", "output")
COUNTED = {  # what is counted beside all rows, and what it is called
    "sign-in refused": "Sign-ins refused",
    "patient opened": "Patients opened",
    "recommendation shown": "Recommendations shown",
}


def show() -> None:
    """Draw the page."""
    actor = identity.guard("read audit")
    audit = identity.audit()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title("Audit", anchor=False, width="stretch")
        beside = st.container(horizontal=True, width="content", vertical_alignment="center")
    _draw_chain(actor, audit)
    filters = _ask(actor, audit)
    total = audit.count(actor, **filters)
    with beside:
        _draw_download(audit, filters, total)
    _draw_counts(actor, audit, filters)
    if not total:
        notice.empty(
            "No row of the audit matches.",
            ["Take a filter off, or choose other days.", "Patients are found by their whole id."],
        )
        return
    page = _draw_pages(filters, total)
    _draw_rows(audit.rows(actor, **filters, limit=PAGE_SIZE, offset=(page - 1) * PAGE_SIZE))


# ---------------------------------------------------------------- the chain


def _draw_chain(actor: Actor, audit: Audit) -> None:
    """Say whether every row is as it was written."""
    rows = audit.count(actor)
    newest = audit.rows(actor, limit=1)
    broken = _broken(str(audit.database), newest[0].hmac if newest else "", audit)
    if broken:
        notice.error(broken, title="The audit was changed from outside")
        return
    st.html(
        f'{style.badge("Verified", "strong")} <span class="wb-muted wb-small">'
        f"{rows:,} {'row' if rows == 1 else 'rows'}, each sealed with the one before; none was "
        "edited, removed or put elsewhere.</span>"
    )


@st.cache_data(ttl=CHECKED_FOR, show_spinner="Checking every row of the audit …")
def _broken(database: str, newest: str, _audit: Audit) -> str | None:
    """Return what is wrong with the chain, or None."""
    try:
        _audit.verify()
    except WorkbenchError as error:
        return str(error)
    return None


# ---------------------------------------------------------------- the question


def _ask(actor: Actor, audit: Audit) -> dict:
    """Draw the filters; return them as arguments of `Audit.rows`."""
    choices = audit.choices(actor)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        account = _choose("Account", choices["account"], "Everyone", 185)
        action = _choose("Action", choices["action"], "Every action", 200)
        days = st.date_input(
            "Days (UTC)",
            value=(),
            max_value=datetime.now(UTC).date(),
            format="YYYY-MM-DD",
            key="audit-days",
            width=240,
        )
        patient = st.text_input(
            "Patient",
            key="audit-patient",
            placeholder="Whole patient id",
            autocomplete="off",
            width=160,
        ).strip()
    return {
        "account": account,
        "action": action,
        "since": days[0] if days else None,
        "until": days[-1] if days else None,
        "patient": audit.pseudonym(session.cohort().fingerprint, patient) if patient else None,
    }


def _choose(label: str, names: list[str], every: str, width: int) -> str | None:
    return st.selectbox(
        label, names, index=None, placeholder=every, key=f"audit-{label.lower()}", width=width
    )


# ---------------------------------------------------------------- the answer


def _draw_counts(actor: Actor, audit: Audit, filters: dict) -> None:
    """Count the rows of the same account, days and patient, whatever action is asked for."""
    others = {**filters, "action": None}
    counts = {"All rows": audit.count(actor, **others)}
    for action, label in COUNTED.items():
        counts[label] = audit.count(actor, **{**others, "action": action})
    cards = "".join(
        f'<div class="wb-card"><div class="wb-muted wb-small">{label}</div>'
        f'<div class="big">{count:,}</div></div>'
        for label, count in counts.items()
    )
    st.html(f'<div class="wb-cards narrow">{cards}</div>')


def _draw_download(audit: Audit, filters: dict, total: int) -> None:
    signed_in = identity.afterwards()

    def written() -> str:
        """Export when the button is pressed, if it is still allowed then; which is recorded."""
        file = io.StringIO()
        audit.export(signed_in(), file, **filters)
        return file.getvalue()

    st.download_button(
        f"Download {total:,} {'row' if total == 1 else 'rows'} as CSV",
        data=written,
        file_name=f"audit-{datetime.now(UTC):%Y%m%d-%H%M%S}.csv",
        mime="text/csv",
        icon=":material/download:",
        help="The download is itself recorded in the audit.",
        disabled=not total,
        on_click="ignore",
    )


def _draw_pages(filters: dict, total: int) -> int:
    """Say how many rows there are; return the page of them that is asked for."""
    pages = math.ceil(total / PAGE_SIZE)
    key = f"audit-page-{hash(tuple(filters.values()))}"  # another question starts on page 1
    page = st.session_state.get(key, 1)
    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        st.markdown(
            f"**{total:,}** {'row' if total == 1 else 'rows'}, newest first", width="stretch"
        )
        if pages > 1:
            st.pagination(pages, key=key)
    return min(page, pages)


def _draw_rows(entries: list[Entry]) -> None:
    st.dataframe(
        pd.DataFrame(
            {
                "Row": [entry.number for entry in entries],
                "Time (UTC)": [entry.at[:19].replace("T", " ") for entry in entries],
                "Account": [entry.account for entry in entries],
                "Role": [entry.role for entry in entries],
                "Action": [entry.action for entry in entries],
                "Details": [_details(entry.details) for entry in entries],
            }
        ),
        key="audit-rows",
        hide_index=True,
        height=ROW_HEIGHT * (len(entries) + 1) + 3,
        row_height=ROW_HEIGHT,
        alt="Rows of the audit",
        column_config={
            "Row": st.column_config.NumberColumn(width=60, alignment="right", format="%d"),
            "Time (UTC)": st.column_config.TextColumn(width=150),
            "Account": st.column_config.TextColumn(width=150),
            "Role": st.column_config.TextColumn(width=105),
            "Action": st.column_config.TextColumn(width=170),
            "Details": st.column_config.TextColumn(width=560),
        },
    )


def _details(stored: str) -> str:
    """Return the JSON of a row in words, what tells a reader little last; sums are cut."""
    details = sorted(json.loads(stored).items(), key=lambda item: item[0] in TELLS_LITTLE)
    return " · ".join(f"{name}: {_brief(value)}" for name, value in details)


def _brief(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_brief(inner)}" for name, inner in value.items())
    text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
    return f"{text[:SHORT]}…" if len(text) == 64 else text


if __name__ == "__main__":
    show()
