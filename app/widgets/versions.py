"""The registered versions: the one in use, and all there are."""

from pathlib import Path

import pandas as pd
import streamlit as st

from app import retraining, style
from app.widgets import decision, run_progress
from app.widgets.run_history import STATUS_IN_WORDS
from engine.registry.versions import Registry, Version

ROW_HEIGHT = 33  # pixels


def draw_in_use(registry: Registry, versions: list[Version]) -> None:
    """Draw which version answers clinicians, and the way back to the one before."""
    champion = registry.champion()
    previous = next((v.version for v in versions if v.status == "previous"), None)
    with st.container(border=True, height="stretch"):
        shipped = " · came with the workbench" if champion.shipped else ""
        st.html(
            '<div class="wb-muted wb-small">In use</div>'
            f"<b>{style.text(champion.version)}</b>"
            f'<div class="wb-muted wb-small">trained {run_progress.moment(champion.created)}'
            f"{shipped}</div>"
        )
        pinned = retraining.pinned()
        if pinned is not None and Path(pinned).resolve() != champion.folder.resolve():
            st.html(
                f'<div class="wb-small">{style.badge("not here", "warn")} This app was told to '
                f"open {style.text(pinned)} (WORKBENCH_MODELS), whatever is promoted.</div>"
            )
        if previous is not None:
            decision.draw_roll_back(registry, champion.version, previous)


def draw_all(versions: list[Version]) -> None:
    """Draw every version in a table; a click opens one."""
    with st.expander(f"All versions ({len(versions)})"):
        st.session_state["listed-versions"] = [version.version for version in versions]
        st.dataframe(
            frame(versions),
            key="versions",
            hide_index=True,
            row_height=ROW_HEIGHT,
            placeholder="",
            on_select=_open_clicked,
            selection_mode="single-cell",
            alt="All registered versions",
            column_config={
                "Version": st.column_config.TextColumn(width=230),
                "Status": st.column_config.TextColumn(width=120),
                "Trained": st.column_config.TextColumn(width=160),
                "By": st.column_config.TextColumn(width=165),
                "Reason": st.column_config.TextColumn(width=420),
            },
        )


def frame(versions: list[Version]) -> pd.DataFrame:
    """Return one row a version."""
    return pd.DataFrame(
        {
            "Version": [version.version for version in versions],
            "Status": [STATUS_IN_WORDS.get(v.status, v.status) for v in versions],
            "Trained": [run_progress.moment(version.created) for version in versions],
            "By": [_made_by(version) for version in versions],
            "Reason": [version.reason or "" for version in versions],
        }
    )


def header(version: Version) -> str:
    """Return a version's name and status as the head of a page, HTML."""
    status = STATUS_IN_WORDS.get(version.status, version.status)
    return (
        f'<div class="wb-header"><h1>{style.text(version.version)}</h1>{style.badge(status)}'
        f'<span class="wb-muted">trained {run_progress.moment(version.created)}</span></div>'
    )


def _made_by(version: Version) -> str:
    """Return who asked for its training, or where it came from."""
    if version.shipped:
        return "came with the workbench"
    return version.run.get("requested_by") or version.registered_by or ""


def _open_clicked() -> None:
    for row_number, _ in st.session_state["versions"].selection.cells:
        name = st.session_state["listed-versions"][row_number]
        st.session_state[retraining.OPENED_VERSION] = name
