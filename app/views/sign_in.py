"""Sign in: what stands in place of every page until somebody has."""

import streamlit as st

from app import identity, single_sign_on, style
from app.widgets import notice
from engine.errors import WorkbenchError

NAME, PASSWORD, FAILURE = "sign_in_name", "sign_in_password", "sign_in_failure"
MAY = {  # of the demonstration accounts, which are named after their roles
    "clinician": "finds patients and sees recommendations",
    "administrator": "also sees the data, retrains and reads the audit",
    "auditor": "reads the audit, sees no patient",
}
ENDED = (
    "You were signed out: a session ends after 30 minutes without use, and after 12 hours at "
    "most. Sign in to go on; nothing that was saved is lost."
)


def show() -> None:
    """Draw the page."""
    with st.container(key="sign-in", width=430):
        st.html(
            '<div class="wb-sign-in"><h1>Sign in</h1>'
            '<div class="wb-muted">to the medication workbench</div></div>'
        )
        if identity.ENDED in st.session_state:
            _say(ENDED)
        if single_sign_on.is_configured():
            _draw_issuer()
            if identity.has_local_accounts():
                with st.expander("Sign in with an account of this workbench"):
                    _draw_form()
        else:
            _draw_form()
            _draw_demonstration(identity.accounts().demonstration())
        st.html(f'<div class="wb-muted wb-small wb-foot">{notice.DECISION_SUPPORT}</div>')


def _draw_form() -> None:
    with st.form("sign-in-form", enter_to_submit=True):
        st.text_input("Name", key=NAME, autocomplete="username", max_chars=200)
        st.text_input(
            "Password",
            key=PASSWORD,
            type="password",
            autocomplete="current-password",
            max_chars=1000,
        )
        if FAILURE in st.session_state:
            _say(st.session_state[FAILURE], "error")
        st.form_submit_button("Sign in", type="primary", width="stretch", on_click=_sign_in)


def _sign_in() -> None:
    """Take what was typed; the password is forgotten whatever comes of it."""
    state = st.session_state
    name, password = state[NAME].strip(), state[PASSWORD]
    state[PASSWORD] = ""
    state.pop(FAILURE, None)
    if not name or not password:
        state[FAILURE] = "Type your name and your password."
        return
    try:
        identity.sign_in(name, password)
    except WorkbenchError as error:
        state[FAILURE] = str(error)


def _draw_issuer() -> None:
    if identity.REFUSED in st.session_state:
        said = st.session_state[identity.REFUSED].rstrip(".")
        _say(f"{said}. Ask the person who runs this workbench.", "error")
        st.button("Use another account", width="stretch", on_click=st.logout)
        return
    st.button(
        "Sign in with your hospital account",
        type="primary",
        width="stretch",
        icon=":material/login:",
        on_click=st.login,
    )


def _draw_demonstration(passwords: dict[str, str]) -> None:
    """Offer the demonstration accounts, which exist on one's own machine only."""
    if not passwords:
        return
    with st.container(border=True, key="demonstration"):
        st.html(
            '<div class="title">Demonstration accounts</div>'
            '<div class="wb-muted wb-small">Made because only this machine reaches the app: their '
            "passwords are known to everybody. Before others may reach it, add your own accounts "
            "and disable these (<code>engine users --help</code>).</div>"
        )
        for name, password in passwords.items():
            _draw_account(name, password)


def _draw_account(name: str, password: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.html(
            f"<div><b>{style.text(name)}</b> · <code>{style.text(password)}</code></div>"
            f'<div class="wb-muted wb-small">{MAY[name]}</div>',
            width="stretch",
        )
        st.button("Fill in", key=f"fill-{name}", on_click=_fill_in, args=(name, password))


def _fill_in(name: str, password: str) -> None:
    st.session_state[NAME], st.session_state[PASSWORD] = name, password
    st.session_state.pop(FAILURE, None)


def _say(message: str, kind: str = "") -> None:
    st.html(f'<div class="wb-notice {kind}" role="status">{style.text(message)}</div>')
