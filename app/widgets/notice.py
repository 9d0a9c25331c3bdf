"""Boxes that speak to the reader: the standing notice, limits, errors and empty states."""

import streamlit as st

from app import style

DECISION_SUPPORT = "Decision support for research. A clinician decides."
LIMITS = (
    "Diagnoses are coded at discharge and prescriptions cover the whole stay: both are known only "
    "after it. Read the answers as a study of past records."
)
HOW_TO_MAKE_A_COHORT = """\
.venv/bin/python -m engine ingest mimic-iv INPUT_DIR COHORT_DIR
make run COHORT=COHORT_DIR"""


def decision_support() -> None:
    """Draw the notice that stands on every page with a recommendation."""
    st.html(
        f'<div class="wb-notice"><b>{DECISION_SUPPORT}</b> '
        f'<span class="wb-muted wb-small">{LIMITS}</span></div>'
    )


def error(message: str, title: str = "This cannot be shown") -> None:
    """Draw the one line of a `WorkbenchError`, word for word."""
    st.error(style.literal(message), icon=":material/error:", title=title)


def missing_cohort(message: str) -> None:
    """Draw what is missing and the commands that make a cohort."""
    error(message, title="No cohort to open")
    st.markdown("A cohort is made from a hospital's own tables, once:")
    st.code(HOW_TO_MAKE_A_COHORT, language="bash")
    st.caption(
        "`make run` without COHORT makes and opens the sample cohort, which is synthetic. "
        "The app opens the folder named by WORKBENCH_COHORT."
    )


def not_opened(message: str, commands: tuple[str, ...]) -> None:
    """Draw why the app is not opened to anybody, and the commands that mend it."""
    st.error(style.literal(message), icon=":material/lock:", title="The workbench is not open yet")
    st.markdown("Run this where the workbench is installed, then reload the page:")
    st.code("\n".join(commands), language="bash", wrap_lines=True)
    st.caption(
        "An administrator retrains and reads the audit; `--role clinician` and `--role auditor` "
        "are for the others. On one's own machine demonstration accounts do: leave "
        "`server.address` at localhost, as `make run` does."
    )


def not_allowed(message: str) -> None:
    """Draw a designed refusal: what one may not do, and who may."""
    said = message[:1].upper() + message[1:]
    st.html(
        '<div class="wb-card" style="text-align:center; padding:2.2rem 1rem; margin-top:1.5rem">'
        '<div class="title" style="font-size:1.1rem">This page is not for your role</div>'
        f'<p class="wb-muted" style="margin:.6rem 0 0 0">{style.text(said)}</p></div>'
    )


def unexpected() -> None:
    """Draw what is said when the program itself is at fault; nothing of the fault is shown."""
    st.error(
        "Something went wrong in the program, not in what you did. Reload the page; if it happens "
        "again, tell the person who runs this installation. Its log names the place.",
        icon=":material/error:",
        title="This page could not be drawn",
    )


def empty(title: str, advice: list[str]) -> None:
    """Draw a designed nothing: what was looked for, and what to try."""
    items = "".join(f"<li>{style.text(line)}</li>" for line in advice)
    st.html(
        '<div class="wb-card" style="text-align:center; padding:2.2rem 1rem">'
        f'<div class="title" style="font-size:1.1rem">{style.text(title)}</div>'
        '<ul class="wb-muted" style="display:inline-block; text-align:left; margin:.6rem 0 0 0">'
        f"{items}</ul></div>"
    )
