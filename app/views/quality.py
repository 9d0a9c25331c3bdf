"""Data: how good the records of the open cohort are, as counted when it was made."""

import streamlit as st

from app import session, style
from app.widgets import notice
from engine.records import quality_figures, quality_findings, quality_report
from engine.records.cohort import Cohort

NARROWEST = {1: 700, 2: 420, 3: 300}  # pixels of a piece, by how many stand side by side


def show() -> None:
    """Draw the page."""
    cohort = session.cohort()
    facts = quality_report.read(cohort.folder)
    if facts is None:
        st.title("Data", anchor=False)
        _draw_nothing(cohort)
        return
    _draw_head(cohort, facts)
    st.html(f"<style>{quality_report.CSS}</style>{quality_report.overview(facts)}")
    figures = quality_report.figures(facts)
    for section in quality_report.sections(facts):
        _draw_section(section, figures)


def _draw_head(cohort: Cohort, facts: dict) -> None:
    report = cohort.folder / "quality.html"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title("Data", anchor=False, width="stretch")
        if report.is_file():
            st.download_button(
                "Download as one page",
                data=report.read_bytes,
                file_name=f"quality-{cohort.folder.name}.html",
                mime="text/html",
                icon=":material/download:",
                on_click="ignore",
            )
    st.caption(
        f"Counted when {style.literal(cohort.folder.name)} was made from "
        f"{style.literal(facts['source'])}. Counts only: no patient is named here."
    )
    st.markdown(f"##### {style.literal(quality_findings.headline(facts))}")


def _draw_section(section: quality_report.Section, figures: dict) -> None:
    st.header(section.title, anchor=False)
    st.caption(style.literal(section.reading))
    with st.grid(section.columns, min_column_width=NARROWEST[section.columns], gap="medium"):
        for piece in section.pieces:
            with st.container():
                if piece.title:
                    st.markdown(f"**{piece.title}**")
                if piece.figure:
                    st.plotly_chart(
                        figures[piece.figure],
                        key=f"quality-{piece.figure}",
                        config=quality_figures.CONFIG,
                        theme=None,
                        alt=f"{piece.title}. {section.reading}",
                    )
                else:
                    st.html(piece.table)


def _draw_nothing(cohort: Cohort) -> None:
    notice.empty(
        "This cohort has no quality report.",
        [
            "The report is counted while a cohort is made; this one was made without it.",
            "Make the cohort again from the same tables, with the same options, and it is here.",
            "The same tables and options give the same records and splits: models stay valid.",
        ],
    )
    source = cohort.manifest.get("source", "SOURCE")
    st.code(
        f".venv/bin/python -m engine ingest {source} INPUT_DIR {cohort.folder} --force",
        language="bash",
    )


if __name__ == "__main__":
    show()
