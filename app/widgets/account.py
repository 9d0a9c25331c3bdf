"""The account at the right of the top bar: who is signed in, as what, and the way out."""

import streamlit as st

from app import identity, style
from engine.permissions import Actor


def draw(actor: Actor) -> None:
    """Draw the name, the role and the button that signs out."""
    with st.container(key="account", horizontal=True, vertical_alignment="center"):
        st.html(
            f'<div class="wb-account"><div class="name" title="{style.text(actor.name)}">'
            f'{style.text(actor.name)}</div><div class="role">{actor.role.capitalize()}</div></div>'
        )
        st.button(
            "Sign out",
            key="sign-out",
            icon=":material/logout:",
            type="tertiary",
            on_click=identity.sign_out,
        )
