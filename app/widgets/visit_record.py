"""What is recorded of one visit: diagnoses, procedures and medications by name."""

from collections.abc import Callable

import streamlit as st

from app import style
from app.widgets.patient_header import visit_label
from engine.records.schema import Visit

LEADING = 5


def title(visit: Visit) -> str:
    """Return the line over a visit's record: when, what kind, how long and how much."""
    return f"{visit_label(visit)} · {count(visit)}"


def count(visit: Visit) -> str:
    """Return how much is recorded of a visit, in words."""
    parts = (
        (len(visit.diagnoses), "diagnosis", "diagnoses"),
        (len(visit.procedures), "procedure", "procedures"),
        (len(visit.medications), "medication group", "medication groups"),
    )
    return ", ".join(f"{number} {one if number == 1 else many}" for number, one, many in parts)


def draw_leading(visit: Visit, code_title: Callable[[str, str], str]) -> None:
    """Draw the first diagnoses of a visit in a line."""
    names = [style.text(code_title("diagnosis", code)) for code in visit.diagnoses[:LEADING]]
    more = len(visit.diagnoses) - len(names)
    listed = "; ".join(names) or "none recorded"
    rest = f' <span class="wb-muted">and {more} more</span>' if more else ""
    st.html(f"<div class='wb-small'><b>Diagnoses</b> {listed}{rest}</div>")


def draw(
    visit: Visit,
    code_title: Callable[[str, str], str],
    group_name: Callable[[str], str],
) -> None:
    """Draw the three lists of one visit.

    Args:
        code_title: maps ("diagnosis" | "procedure", code) to a name.
        group_name: maps a medication group to its name.
    """
    columns = [
        ("Diagnoses", [_code_row("diagnosis", c, code_title) for c in visit.diagnoses]),
        ("Procedures", [_code_row("procedure", c, code_title) for c in visit.procedures]),
        (
            "Medication groups given",
            [_row(g, style.text(group_name(g))) for g in visit.medications],
        ),
    ]
    lists = "".join(
        f"<div><h4>{heading} <span class='wb-muted'>{len(rows) or ''}</span></h4>"
        + (f"<table>{''.join(rows)}</table>" if rows else _NONE)
        + "</div>"
        for heading, rows in columns
    )
    drugs = ""
    if visit.drugs:
        names = style.text("; ".join(visit.drugs))
        drugs = (
            f'<p class="wb-small wb-muted" style="margin:.6rem 0 0 0">As prescribed: {names}</p>'
        )
    st.html(f'<div class="wb-lists">{lists}</div>{drugs}')


_NONE = '<span class="wb-small wb-muted">none recorded</span>'


def _code_row(kind: str, code: str, code_title: Callable[[str, str], str]) -> str:
    return _row(code.split(":", 1)[-1], style.text(code_title(kind, code)))


def _row(code: str, name: str) -> str:
    return f'<tr><td class="code">{style.text(code)}</td><td>{name}</td></tr>'
