"""The runs that have ended, as a table: who, when, with what parameters, and what came of it."""

import pandas as pd
import streamlit as st

from app import retraining
from app.widgets import recipe_form, run_progress
from engine.jobs.client import Run

ROW_HEIGHT = 33  # pixels
DEVICES = {"cpu": "processor", "cuda": "graphics card"}
STATUS_IN_WORDS = {
    "champion": "in use",
    "previous": "was in use before",
    "candidate": "to decide",
    "rejected": "rejected",
    "retired": "was in use once",
    "damaged": "damaged",
}


def draw(runs: list[Run], versions: list) -> None:
    """Draw the runs that have ended; a click opens one."""
    st.subheader("Past trainings", anchor=False)
    if not runs:
        st.html(
            '<div class="wb-card wb-muted">Nothing has been trained here yet. What you start above '
            "is kept here, with who asked for it and what came of it.</div>"
        )
        return
    st.caption("Click one to open it.")
    st.session_state["listed-runs"] = [run.run_id for run in runs]
    st.dataframe(
        frame(runs, versions),
        key="past-runs",
        hide_index=True,
        height=ROW_HEIGHT * (min(len(runs), 12) + 1) + 3,
        row_height=ROW_HEIGHT,
        placeholder="",
        on_select=_open_clicked,
        selection_mode="single-cell",
        alt="Past trainings",
        column_config={
            "Started": st.column_config.TextColumn(width=150),
            "Recipe": st.column_config.TextColumn(width=75),
            "Status": st.column_config.TextColumn(width=80),
            "Result": st.column_config.TextColumn(width=330),
            "By": st.column_config.TextColumn(width=110),
            "Took": st.column_config.TextColumn(width=90, alignment="right"),
            "Parameters": st.column_config.TextColumn(width=320),
        },
    )


def frame(runs: list[Run], versions: list) -> pd.DataFrame:
    """Return one row a run, in the order given."""
    status = {version.version: version.status for version in versions}
    return pd.DataFrame(
        {
            "Started": [run_progress.moment(run.submitted_at) for run in runs],
            "Recipe": [run.request.recipe.get("name", "") for run in runs],
            "Status": [run.status for run in runs],
            "Result": [_result(run, status) for run in runs],
            "By": [run.requested_by for run in runs],
            "Took": [_took(run) for run in runs],
            "Parameters": [_in_short(run) for run in runs],
        }
    )


def parameters(recipe: dict) -> str:
    """Return the fields of a recipe that the page lets one change, as HTML."""
    lines = (run_progress.fact(*pair) for pair in recipe_form.summary(recipe).items())
    return f'<div class="wb-facts">{"".join(lines)}</div>'


def device(name: str) -> str:
    """Return what a device is called on the page: `processor`, `graphics card 0`."""
    kind, _, number = name.partition(":")
    return f"{DEVICES.get(kind, kind)} {number}".strip()


def _open_clicked() -> None:
    cells = st.session_state["past-runs"].selection.cells
    for row_number, _ in cells:
        st.session_state[retraining.OPENED_RUN] = st.session_state["listed-runs"][row_number]


def _in_short(run: Run) -> str:
    recipe = run.request.recipe
    patients, teacher = recipe["data"]["training_patients"], recipe["teacher"]
    layers = teacher["adapted_layers"]
    parts = [
        f"{patients:,} patients" if patients else "all patients",
        f"{teacher['epochs']:g} {'pass' if teacher['epochs'] == 1 else 'passes'}",
        f"{layers} {'layer' if layers == 1 else 'layers'}" if layers else "all layers",
        f"rank {teacher['lora_rank']}",
        device(run.request.device),
    ]
    return " · ".join(parts)


def _took(run: Run) -> str:
    if run.started_at is None or run.finished_at is None:
        return "–"
    return run_progress.duration((run.finished_at - run.started_at).total_seconds())


def _result(run: Run, status: dict[str, str]) -> str:
    if run.version is None:
        return run.reason or ""
    word = STATUS_IN_WORDS.get(status.get(run.version), "no longer there")
    return f"{run.version}: {word}"
