"""Data: how good the records of the open cohort are, as counted when it was made."""

import shlex

import streamlit as st

from app import identity, session, style
from app.widgets import notice
from engine.records import quality_choices, quality_figures, quality_findings, quality_report
from engine.records.cohort import Cohort

NARROWEST = {1: 700, 2: 420, 3: 300}  # pixels of a piece, by how many stand side by side


def show() -> None:
    """Draw the page."""
    identity.guard("see data quality")
    cohort = session.cohort()
    facts = quality_report.read(cohort.folder)
    if facts is None:
        st.title("Data", anchor=False)
        _draw_nothing(cohort)
        return
    _draw_head(cohort, facts)
    st.html(f"<style>{style.for_both(quality_report.CSS)}</style>{quality_report.overview(facts)}")
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
        f"{style.literal(facts['source'])}. {quality_findings.SHOWN}"
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
    options = cohort.manifest.get("options", {})
    steps = [
        "The report is counted while a cohort is made; this one was made without it, or by another "
        "version of the workbench.",
        "Make the cohort again from the same tables with its own options, as below, and it is "
        "here.",
        "The same tables and options give the same records and splits: models stay valid.",
    ]
    if options.get("drug_map"):
        steps.append(f"FILE is the drug map with the SHA-256 {options['drug_map'].get('sha256')}.")
    notice.empty("This cohort has no quality report.", steps)
    st.code(_command(cohort, options), language="bash", wrap_lines=True)


def _command(cohort: Cohort, options: dict) -> str:
    """Return the command that makes the cohort again, safe to paste into a shell."""
    words = [".venv/bin/python", "-m", "engine", "ingest"]
    words += [str(cohort.manifest.get("source", "SOURCE")), "INPUT_DIR", str(cohort.folder)]
    return shlex.join([*words, *quality_choices.arguments(options), "--force"])


if __name__ == "__main__":
    show()
