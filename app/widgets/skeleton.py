"""What stands on the page while its content is still to come, about as high as that will be."""

import streamlit as st

from app import style


def draw(words: str, lines: int = 14) -> None:
    """Draw a line of words over `lines` pale ones."""
    pale = '<div class="line"></div>' * lines
    st.html(
        f'<div class="wb-skeleton" role="status"><div class="wb-muted">{style.text(words)}</div>'
        f"{pale}</div>"
    )
