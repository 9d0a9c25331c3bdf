"""The recommendation as a table: code, name, both probabilities, status, and what was given."""

import pandas as pd
import streamlit as st

from app import style, terms
from app.widgets import agreement, prediction_set

ROW_HEIGHT = 27  # pixels
STATUS_COLOUR = {"new": style.PRIMARY, "continued": style.INK, "stopped": style.MUTED}


def frame(rows, sets: dict | None = None) -> pd.DataFrame:
    """Return one line a row, in the order given; `Given` only where the visit has a record.

    With prediction `sets` by model, a further column says whose set a group lies in.
    """
    columns = {
        "Code": [row.atc for row in rows],
        "Medication group": [row.name for row in rows],
        "Teacher": pd.Series([row.teacher for row in rows], dtype="Float64"),
        "Student": pd.Series([row.student for row in rows], dtype="Float64"),
        "Status": [row.status for row in rows],
    }
    if sets:
        title = prediction_set.column_title(sets)
        columns[title] = [prediction_set.mark(row.atc, sets) for row in rows]
    if any(row.given is not None for row in rows):
        columns["Given"] = ["✓" if row.given else "" for row in rows]
    return pd.DataFrame(columns)


def draw(
    rows,
    thresholds: dict[str, float],
    height: int,
    sets: dict | None = None,
    waiting: bool = False,
) -> None:
    """Draw the table, `height` pixels high; a probability that reaches its threshold is bold.

    A missing probability is a dash, or three dots where an answer is still to come.
    """
    table = frame(rows, sets)
    styled = table.style.apply(_emphasise, axis=1, rows=rows, thresholds=thresholds)
    st.dataframe(
        styled,
        key="recommendation",
        hide_index=True,
        height=height,
        row_height=ROW_HEIGHT,
        placeholder="…" if waiting else "–",
        alt="Medication groups with the probabilities of teacher and student",
        column_config={
            "Code": st.column_config.TextColumn(width=58),
            "Medication group": st.column_config.TextColumn(
                width=235, help=terms.explain("Medication group")
            ),
            **{
                model: st.column_config.NumberColumn(
                    format="%.2f",
                    width=70,
                    alignment="right",
                    help=terms.explain(model, "Probability", "Threshold"),
                )
                for model in ("Teacher", "Student")
            },
            "Status": st.column_config.TextColumn(width=85, help=terms.explain("Status")),
            "Given": st.column_config.TextColumn(
                width=55, alignment="center", help=terms.explain("Given")
            ),
        },
    )


def _emphasise(line: pd.Series, rows, thresholds: dict[str, float]) -> list[str]:
    row = rows[line.name]
    shade = style.AGREEMENT[agreement.of(row, thresholds)][2]
    look = dict.fromkeys(line.index, "")
    for model in ("teacher", "student"):
        reached = agreement.proposes(getattr(row, model), thresholds.get(model))
        look[model.capitalize()] = (
            f"color: {style.of_page(shade)}; font-weight: 700"
            if reached
            else f"color: {style.of_page(style.MUTED)}"
        )
    look["Status"] = f"color: {style.of_page(STATUS_COLOUR.get(row.status, style.INK))}"
    return list(look.values())
