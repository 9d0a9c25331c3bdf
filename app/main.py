"""The app: `streamlit run app/main.py`, opening the cohort named by WORKBENCH_COHORT."""

import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # Streamlit puts this file's folder on the path, not the project's
    sys.path.insert(0, str(ROOT))

import streamlit as st  # noqa: E402

from app import identity, opening, session, style  # noqa: E402
from app.views import sign_in  # noqa: E402
from app.widgets import account, notice, theme  # noqa: E402
from engine import permissions  # noqa: E402
from engine.installation import Installation  # noqa: E402
from engine.permissions import Actor, NotAllowed  # noqa: E402

ABOUT = "Medication recommendations by two models, side by side."


class Entry(NamedTuple):
    """A page, and what one must be allowed to do to open it."""

    file: str
    title: str
    icon: str
    action: str
    home_of: str = ""  # the role that arrives here; others arrive at the first page they may open


PAGES = (
    Entry("patients.py", "Patients", "groups", "find patients"),
    Entry("recommend.py", "Recommend", "prescriptions", "recommend"),
    Entry("what_if.py", "What if", "alt_route", "recommend"),
    Entry("performance.py", "Performance", "monitoring", "see performance"),
    Entry("quality.py", "Data", "fact_check", "see data quality"),
    Entry("retrain.py", "Retrain", "model_training", "retrain"),
    Entry("audit.py", "Audit", "receipt_long", "read audit", home_of="auditor"),
)


def main() -> None:
    """Draw the frame that all pages share, then the page that was asked for, or the sign-in."""
    st.set_page_config(
        page_title="Medication workbench",
        page_icon=str(ROOT / "app" / "icon.svg"),
        layout="wide",
        initial_sidebar_state="collapsed",
        menu_items={"About": ABOUT},  # with an entry of the app the menu of the theme is shown
    )
    st.logo(str(ROOT / "app" / "logo.svg"), size="large")
    style.apply()
    with session.faults_shown():
        _draw()
    session.warm_up()  # after the first page, which does not wait for PyTorch


def _draw() -> None:
    try:
        if identity.TOKEN not in st.session_state:  # who has signed in found it open
            identity.open_up()
            session.hold_database_open(Installation.current().database)
    except opening.NotOpened as error:
        notice.not_opened(str(error), error.commands)
        return
    identity.sign_in_by_issuer()
    actor = identity.current()
    page, home = _navigation(actor)
    if actor is None:
        sign_in.show()
        return
    if st.session_state.pop(identity.GO_HOME, False) and page is not home:
        st.switch_page(home)
    identity.touch()
    identity.watch()
    account.draw(actor)
    theme.follow()
    try:
        page.run()
    except NotAllowed as error:
        notice.not_allowed(str(error))
        with st.container(horizontal_alignment="center"):
            if st.button(f"Go to {home.title}", type="primary"):
                st.switch_page(home)


def _navigation(actor: Actor | None):
    """Return the page that was asked for, and the one that `actor` arrives at.

    Pages that they may not open are not in the menu; who types their address is told so.
    """
    may_open = [entry for entry in PAGES if permissions.allowed(actor, entry.action)]
    own = [entry for entry in may_open if actor.role == entry.home_of]
    home = (own or may_open or PAGES)[0]
    pages = [
        st.Page(
            f"views/{entry.file}",
            title=entry.title,
            icon=f":material/{entry.icon}:",
            default=entry is home,
            visibility="visible" if entry in may_open else "hidden",
        )
        for entry in PAGES
    ]
    page = st.navigation(pages, position="top" if actor else "hidden")
    if actor is None and page.url_path == "":
        st.session_state[identity.GO_HOME] = True
    return page, pages[PAGES.index(home)]


if __name__ == "__main__":
    main()
