"""The app as somebody signed in sees it, for tests of pages."""

from pathlib import Path

from streamlit.testing.v1 import AppTest

from app.identity import TOKEN
from engine.accounts import Accounts
from engine.audit import Audit
from engine.installation import Installation

MAIN = str(Path(__file__).resolve().parents[2] / "app" / "main.py")


def accounts() -> Accounts:
    """The accounts of the installation that WORKBENCH_DATA names."""
    installation = Installation.current()
    return Accounts(installation.database, Audit(installation.database, installation.audit_key))


def sign_in(app: AppTest, role: str = "clinician") -> AppTest:
    """Give an app a session of this role, without the second that a password's hash takes."""
    app.session_state[TOKEN] = accounts().sign_in_external(f"test-{role}", role).token
    return app


def signed_in(role: str = "clinician") -> AppTest:
    """Return the app, signed in and not run yet."""
    return sign_in(AppTest.from_file(MAIN, default_timeout=120), role)
