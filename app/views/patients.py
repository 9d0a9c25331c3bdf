"""Patients: find one by id, diagnosis or drug, and open it."""

import math

import pandas as pd
import streamlit as st

from app import identity, session, style, terms
from app.widgets import notice
from app.widgets.patient_header import SEX
from engine.patient_index import ORDERS

PAGE_SIZE = 25
DEFAULT_ORDER = "patient"
ROW_HEIGHT = 33  # pixels
SHOWN_MATCHES = 3
VISIT_KINDS = {"first": "First visit", "returning": "Returning"}


def show() -> None:
    """Draw the page."""
    identity.guard("find patients")
    cohort = session.cohort()
    _open_clicked()
    st.title("Patients", anchor=False)
    index = session.patient_index(cohort)
    facets = index.facets()
    st.caption(f"{facets['total']:,} patients in {style.literal(cohort.folder.name)}")
    asked = _ask(facets)
    page = st.session_state.get(_page_key(asked), 1)
    rows, total = index.search(**asked, page=page, page_size=PAGE_SIZE)
    if not total:
        _draw_nothing(asked, facets)
        return
    _draw_count(asked, total)
    _draw_table(rows, bool(asked["text"].strip()))


def _open_clicked() -> None:
    """Leave for the patient whose row was clicked; nothing is searched or drawn before."""
    table = st.session_state.get("patients")
    for row_number, _ in table.selection.cells if table else ():
        del st.session_state["patients"]  # or who comes back at once would be sent here again
        _open(row_number)


def _open_pressed() -> None:
    """Leave for the patient whose id was pressed.

    An id is a button because Streamlit tells of a press at once, of a click beside it only after
    150 ms, in which more cells might be chosen.
    """
    _open(st.session_state["pressed"]["row"])


def _open(row_number: int) -> None:
    listed = st.session_state["listed"]
    if row_number < len(listed):  # what a browser sends may be anything
        session.open_patient(listed[row_number])
        st.switch_page("views/recommend.py")


def _ask(facets: dict) -> dict:
    """Draw the search box and the filters; return them as arguments of `PatientIndex.search`."""
    text = st.text_input(
        "Search",
        key="search",
        type="search",
        live="300ms",
        persist_state="session",
        icon=":material/search:",
        placeholder="Patient id, diagnosis, code or drug, such as: heart failure, insulin",
        label_visibility="collapsed",
        autocomplete="off",
    )
    with st.container(horizontal=True, gap="medium", vertical_alignment="top"):
        ages = _ask_age(facets["ages"])
        sex = _choose("Sex", {code: SEX.get(code, code) for code in facets["sexes"]})
        visits = _choose("Visits", VISIT_KINDS)
        split = _choose("Split", {name: name.capitalize() for name in facets["splits"]})
    return {
        "text": text or "",
        "age_range": ages,
        "sex": sex,
        "visit_kind": visits,
        "split": split,
        "order": st.session_state.get("order", DEFAULT_ORDER),  # asked for beside the count
    }


def _ask_age(ages: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return the chosen range, or None for the whole one, which keeps patients without an age."""
    if ages is None or ages[0] == ages[1]:
        return None
    chosen = st.slider(
        "Age at last admission", *ages, value=ages, key="age", persist_state="session", width=190
    )
    return None if tuple(chosen) == tuple(ages) else tuple(chosen)


def _choose(label: str, names: dict[str, str]) -> str | None:
    return st.pills(
        label,
        list(names),
        format_func=names.get,
        key=label.lower(),
        persist_state="session",
        help=terms.explain(label) if label in terms.TERMS else None,
    )


def _draw_count(asked: dict, total: int) -> None:
    pages = math.ceil(total / PAGE_SIZE)
    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        st.markdown(
            f"**{total:,}** {'patient' if total == 1 else 'patients'} · click one to open it",
            width="stretch",
        )
        st.selectbox(
            "Sorted by",
            list(ORDERS),
            format_func="Sorted by {}".format,
            key="order",
            persist_state="session",
            label_visibility="collapsed",
            width=205,
        )
        if pages > 1:
            st.pagination(pages, key=_page_key(asked))


def _draw_table(rows: list[dict], searched: bool) -> None:
    columns = {
        "Patient": [row["patient_id"] for row in rows],
        "Age": pd.Series([row["age"] for row in rows], dtype="Int64"),
        "Sex": [SEX.get(row["sex"], "") for row in rows],
        "Visits": [row["visits"] for row in rows],
        "Last admission": [row["last_admission"] for row in rows],
    }
    if searched:
        columns["Found by"] = [
            "; ".join(row["found"][:SHOWN_MATCHES]) or "patient id" for row in rows
        ]
    columns["Leading diagnoses of the last visit"] = [row["leading_diagnoses"] for row in rows]
    columns["Split"] = [row["split"] for row in rows]
    st.session_state["listed"] = columns["Patient"]
    st.dataframe(
        pd.DataFrame(columns),
        key="patients",
        hide_index=True,
        height=ROW_HEIGHT * (len(rows) + 1) + 3,
        row_height=ROW_HEIGHT,
        placeholder="",
        on_select="rerun",
        selection_mode="single-cell",
        alt="Patients found",
        column_config={
            "Patient": st.column_config.ButtonColumn(
                width=95, alignment="left", on_click=_open_pressed, key="pressed"
            ),
            "Age": st.column_config.NumberColumn(width=50, alignment="right"),
            "Sex": st.column_config.TextColumn(width=70),
            "Visits": st.column_config.NumberColumn(width=55, alignment="right"),
            "Last admission": st.column_config.TextColumn(width=110, alignment="right"),
            "Leading diagnoses of the last visit": st.column_config.TextColumn(width=480),
            "Split": st.column_config.TextColumn(width=80, help=terms.explain("Split")),
            "Found by": st.column_config.TextColumn(width=300),
        },
    )


def _draw_nothing(asked: dict, facets: dict) -> None:
    if not facets["total"]:
        notice.empty("This cohort has no patients.", ["Ingest a folder that has admissions."])
        return
    text = asked["text"].strip()
    advice = [
        "Use the beginning of a word: “hypert” finds hypertension and hypertensive.",
        "Separate things a patient must have both of by a comma: “heart failure, insulin”.",
        "Diagnoses go by their official titles and codes, drugs by the hospital's own names.",
    ]
    if any(asked[name] for name in ("age_range", "sex", "visit_kind", "split")):
        advice.insert(0, "Take a filter off: age, sex, visits or split.")
    notice.empty(f"No patient matches “{text}”." if text else "No patient matches.", advice)


def _page_key(asked: dict) -> str:
    """Return a key that changes with the question, so that another question starts on page 1."""
    return f"page-{hash(tuple(asked.values()))}"


if __name__ == "__main__":
    show()
