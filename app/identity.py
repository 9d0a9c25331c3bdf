"""Who is signed in, asked anew at every run of a page; and what every page asks before it shows.

The token of a session lives in Streamlit's own state of the browser tab and nowhere else: a page
cannot set a cookie that scripts could not read. So a reload signs out of a local account; single
sign-on survives it, by the signed cookie that Streamlit's server sets.
"""

import time
from collections.abc import Callable

import streamlit as st

from app import opening, session, single_sign_on
from engine import permissions
from engine.accounts import Accounts
from engine.audit import Audit
from engine.errors import WorkbenchError
from engine.installation import Installation
from engine.permissions import SYSTEM, Actor
from engine.sessions import IDLE, Session

TOKEN = "session_token"
USED = "session_used"  # when, in seconds since 1970
BY_ISSUER = "signed_in_by_issuer"
ENDED = "session_ended"  # of itself, not by signing out
REFUSED = "refused_by_us"  # what was said to somebody the issuer knows
GO_HOME = "go_home"  # to the first page of whoever signs in next
PURPOSE = "sign-in through the identity provider"
LOOK_EVERY = 30  # seconds between two looks whether an idle session has ended


def audit() -> Audit:
    """Return the audit of this installation."""
    installation = Installation.current()
    return Audit(installation.database, installation.audit_key)


def accounts() -> Accounts:
    """Return the accounts of this installation."""
    return Accounts(Installation.current().database, audit())


def has_local_accounts() -> bool:
    """Tell whether anybody could sign in with a password that is kept here."""
    everyone = accounts().everyone(SYSTEM)
    return any(not account.external and not account.disabled for account in everyone)


def open_up() -> None:
    """Make the demonstration accounts of a first start; raises NotOpened where nobody may enter."""
    own_machine = opening.is_loopback(st.get_option("server.address"))
    own_machine &= not opening.is_forwarded(st.context.headers)
    single = single_sign_on.is_configured()
    if own_machine and not single:
        accounts().make_demonstration()  # where there is no account at all
    opening.check(own_machine, accounts(), single)


def current() -> Actor | None:
    """Return who is signed in; a session that has ended meanwhile is forgotten altogether."""
    token = st.session_state.get(TOKEN)
    if token is None:
        return None
    actor = accounts().session(token)
    if actor is None:
        by_issuer = BY_ISSUER in st.session_state
        _forget()
        st.session_state[ENDED] = True
        if by_issuer:
            st.logout()  # or a reload would let in whoever sits there now
    return actor


def guard(action: str) -> Actor:
    """Return who is signed in; raises NotAllowed unless they may do `action`."""
    actor = current()
    permissions.require(actor, action)
    return actor


def afterwards() -> Callable[[], Actor | None]:
    """Return what says who is signed in when it is called outside a run of the page.

    A download is made when its button is pressed, perhaps long after the page was drawn.
    """
    token, known = st.session_state.get(TOKEN), accounts()
    return lambda: None if token is None else known.session(token)


def sign_in(name: str, password: str) -> None:
    """Begin a session of a local account; raises WorkbenchError when it is refused."""
    _begin(accounts().sign_in(name, password))


def sign_in_by_issuer() -> None:
    """Begin a session of whom the issuer vouches for, if Streamlit's signed cookie says so.

    Somebody without a role is refused, once, and audited; `REFUSED` holds what to tell them.
    """
    state = st.session_state
    if TOKEN in state or ENDED in state or REFUSED in state or not single_sign_on.is_configured():
        return
    claims = st.user.to_dict()
    if not claims.get("is_logged_in") or not single_sign_on.is_fresh(claims):
        return
    try:
        settings = single_sign_on.load(Installation.current().folder)
        name, role = single_sign_on.admitted(claims, settings)
        _begin(accounts().sign_in_external(name, role))
        state[BY_ISSUER] = True
    except single_sign_on.NotAdmitted as error:
        details = {"reason": str(error), "purpose": PURPOSE, "name": error.name}
        audit().write("unknown", "sign-in refused", details)
        state[REFUSED] = str(error)
    except WorkbenchError as error:  # the account is disabled, or the settings cannot be read
        state[REFUSED] = str(error)


def sign_out() -> None:
    """End the session here, and at the issuer where it came from there."""
    token = st.session_state.get(TOKEN)
    by_issuer = BY_ISSUER in st.session_state
    if token is not None:
        accounts().sign_out(token)
    _forget()
    if by_issuer:
        st.logout()


def touch() -> None:
    """Note that the session is in use; drawing a page is."""
    st.session_state[USED] = time.time()


@st.fragment(run_every=LOOK_EVERY)
def watch() -> None:
    """Take the page away when its session has ended by being idle; looking does not prolong it."""
    if time.time() - st.session_state.get(USED, 0) > IDLE:
        st.rerun()


def _begin(begun: Session) -> None:
    for key in (ENDED, REFUSED):
        st.session_state.pop(key, None)
    st.session_state[TOKEN] = begun.token


def _forget() -> None:
    """Leave nothing of this person to whoever sits down next, a patient least of all."""
    session.forget_question()
    st.session_state.clear()
    st.session_state[GO_HOME] = True
