"""The text the teacher reads, set so that a person can read it too."""

import re

import streamlit as st

from app import style

_LABEL = re.compile(r"^([A-Z][A-Za-z ]{2,40}):\s*(.*)$")
_SECTION = re.compile(r"^(This visit|Earlier visit \d+)\b")


def draw(text: str, tokens: int, omitted: tuple[str, ...]) -> None:
    """Draw a prompt with its sections emphasised, its length in tokens and what was left out."""
    left_out = (
        style.badge("left out to fit: " + "; ".join(omitted), "warn")
        if omitted
        else style.badge("nothing left out")
    )
    st.html(
        f'<div style="margin-bottom:.5rem">{style.badge(f"{tokens:,} tokens", "strong")} '
        f'{left_out}</div><div class="wb-prompt">{as_html(text)}</div>'
    )


def as_html(text: str) -> str:
    """Return the prompt, word for word, one paragraph a line with its beginning emphasised."""
    return "".join(_paragraph(line) for line in text.splitlines() if line.strip())


def _paragraph(line: str) -> str:
    labelled = _LABEL.match(line)
    if _SECTION.match(line) or line.endswith("?"):
        return f'<p><span class="lead">{style.text(line)}</span></p>'
    if labelled:
        label, rest = labelled.groups()
        return f"<p><b>{style.text(label)}:</b> {style.text(rest)}</p>"
    return f"<p>{style.text(line)}</p>"
