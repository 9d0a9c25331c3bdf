"""What becomes of a candidate: promote it, reject it, or go back to the version before.

Each asks for the password again, and is done by the registry, which checks the role, that nobody
was quicker, and that a reason is given where one is owed.
"""

from collections.abc import Callable

import streamlit as st

from app import identity, style
from app.widgets import notice
from engine.errors import WorkbenchError
from engine.permissions import Actor
from engine.registry.versions import SHORTEST_REASON, Conflict, Registry, Version

PASSWORD, REASON, SAID = "decision-password", "decision-reason", "decision-said"
ROLLING_BACK = "decision-roll-back"
DECIDED = {
    "champion": "This version is in use: it answers what clinicians ask.",
    "previous": "This version was in use before the present one.",
    "rejected": "This version was rejected.",
    "retired": "This version was in use once.",
}
CHOICES = {"promote": "Promote", "reject": "Reject"}
WHY_HELP = "It is kept with the version and in the audit, under your name."


def draw(registry: Registry, version: Version) -> None:
    """Draw what was decided about a version, and the form to decide it."""
    st.subheader("Decision", anchor=False)
    _draw_said()
    if version.status == "damaged":
        notice.error(version.reason or "", title="This version is damaged and cannot be promoted")
        return
    if version.status in DECIDED:
        because = f" {version.reason}" if version.reason else ""
        st.info(style.literal(f"{DECIDED[version.status]}{because}"))
    if version.status == "champion":
        return
    if version.status == "candidate":
        choice = st.segmented_control(
            "What becomes of this candidate",
            list(CHOICES),
            format_func=CHOICES.get,
            default="promote",
            required=True,
            key="decision-choice",
            label_visibility="collapsed",
        )
    else:
        choice = "promote"
    with st.form("decision-form", enter_to_submit=False, width=760):
        if choice == "promote":
            _draw_promote(registry, version)
        else:
            _draw_reject(registry, version)


def draw_roll_back(registry: Registry, champion: str, previous: str) -> None:
    """Draw the button that goes back to the version before, and then its form."""
    _draw_said()
    if not st.session_state.get(ROLLING_BACK):
        st.button(
            f"Roll back to {previous}",
            key="roll-back",
            icon=":material/undo:",
            help="Put the version in use again that was before this one.",
            on_click=_ask_roll_back,
            args=(True,),
        )
        return
    with st.form("roll-back-form", enter_to_submit=False, border=False):
        st.markdown(f"Put **{style.literal(previous)}** in use again")
        _ask_reason("Why (may stay empty)")
        _ask_password()
        with st.container(horizontal=True):
            st.form_submit_button(
                "Roll back", type="primary", on_click=_roll_back, args=(registry, champion)
            )
            st.form_submit_button("Leave it", on_click=_ask_roll_back, args=(False,))


def _draw_promote(registry: Registry, version: Version) -> None:
    champion = registry.champion().version
    st.markdown(
        f"From the next question on, **{style.literal(version.version)}** answers in place of "
        f"**{style.literal(champion)}**, for everybody. You can roll back."
    )
    if version.doubts:
        lines = "\n".join(f"- {style.literal(_capital(doubt))}" for doubt in version.doubts)
        st.warning(f"**Not without a written reason:**\n{lines}", icon=":material/trending_down:")
    owed = f"Why it is promoted all the same, in {SHORTEST_REASON} characters or more"
    _ask_reason(owed if version.doubts else "Reason (may stay empty)")
    _ask_password()
    st.form_submit_button(
        f"Put {version.version} in use",
        type="primary",
        on_click=_promote,
        args=(registry, version, champion),
    )


def _draw_reject(registry: Registry, version: Version) -> None:
    st.markdown(
        "A rejected candidate stays in the list of versions and is not used. Its files are kept."
    )
    _ask_reason("Why it is rejected")
    st.form_submit_button(
        "Reject this candidate", type="primary", on_click=_reject, args=(registry, version)
    )


def _ask_reason(label: str) -> None:
    st.text_area(label, key=REASON, max_chars=1000, height=90, help=WHY_HELP)


def _ask_password() -> None:
    st.text_input(
        "Your password, again",
        key=PASSWORD,
        type="password",
        autocomplete="current-password",
        max_chars=1000,
        width=320,
        help="So that nobody does this at a screen you have left. With single sign-on it stays "
        "empty: you must have signed in within the last ten minutes.",
    )


# ---------------------------------------------------------------- what the buttons do


def _promote(registry: Registry, version: Version, champion: str) -> None:
    def act(actor: Actor, reason: str) -> str:
        registry.promote(actor, version.version, champion, reason or None)
        return f"{version.version} is in use now. Running apps take it up within seconds."

    _try("promote", act)


def _reject(registry: Registry, version: Version) -> None:
    def act(actor: Actor, reason: str) -> str:
        registry.reject(actor, version.version, reason or None)
        return f"{version.version} was rejected."

    _try("reject", act, with_password=False)


def _roll_back(registry: Registry, champion: str) -> None:
    def act(actor: Actor, reason: str) -> str:
        version = registry.roll_back(actor, champion, reason or None)
        st.session_state.pop(ROLLING_BACK, None)
        return f"{version} is in use again."

    _try("roll back", act)


def _try(action: str, act: Callable[[Actor, str], str], with_password: bool = True) -> None:
    """Do what was asked for if it is still who signed in; keep what to say about it.

    The password is forgotten whatever comes of it.
    """
    state = st.session_state
    reason, password = state.get(REASON, "").strip(), state.get(PASSWORD, "")
    if with_password:
        state[PASSWORD] = ""
    try:
        actor = identity.guard(action)
        if with_password:
            identity.accounts().check_password(actor, password)
        state[SAID] = "done", act(actor, reason)
    except Conflict as error:
        state[SAID] = "conflict", str(error)
    except WorkbenchError as error:
        state[SAID] = "refused", str(error)
    else:
        state.pop(REASON, None)


def _ask_roll_back(asked: bool) -> None:
    st.session_state[ROLLING_BACK] = asked


def _draw_said() -> None:
    """Draw what came of the last button, once."""
    kind, words = st.session_state.pop(SAID, (None, ""))
    if kind == "done":
        st.success(style.literal(words), icon=":material/check_circle:")
    elif kind == "conflict":
        st.info(
            f"{style.literal(words)} Nothing of yours was lost: look at the comparison again and "
            "decide anew.",
            icon=":material/group:",
            title="Another administrator was first",
        )
    elif kind == "refused":
        notice.error(words, title="Nothing was changed")


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
