"""Coming in and going out: the sign-in page, roles, the end of a session, the start-up rule."""

import time
from datetime import UTC, datetime, timedelta

import pytest
import streamlit as st
from argon2 import PasswordHasher
from streamlit.testing.v1 import AppTest

from app import __main__ as start_up
from app import identity, opening
from engine import accounts as engine_accounts
from engine.audit import Audit
from engine.permissions import SYSTEM
from tests.app import signing_in
from tests.app.signing_in import MAIN, signed_in
from tests.browser.serving import free_port

PAGES = {
    "clinician": {"patients.py", "recommend.py"},
    "administrator": {"patients.py", "recommend.py", "quality.py", "retrain.py", "audit.py"},
    "auditor": {"audit.py"},
}
NAME, PASSWORD = "sign_in_name", "sign_in_password"


@pytest.fixture(autouse=True)
def installation(tiny_cohort, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_COHORT", str(tiny_cohort))
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "none"))
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "data"))
    quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(engine_accounts, "PasswordHasher", lambda: quick)
    st.cache_data.clear()
    st.cache_resource.clear()
    return tmp_path / "data"


def start():
    return AppTest.from_file(MAIN, default_timeout=120).run()


def type_in(app, name, password):
    app.text_input(key=NAME).set_value(name)
    app.text_input(key=PASSWORD).set_value(password)
    return next(b for b in app.button if b.label == "Sign in").click().run()


def text(app):
    kinds = (app.title, app.markdown, app.caption, app.html, app.error, app.code)
    return "\n".join(
        str(getattr(e, "value", None) or getattr(e, "body", "")) for k in kinds for e in k
    )


def trail():
    return [(entry.account, entry.action) for entry in reversed(audit().rows(SYSTEM))]


def audit() -> Audit:
    return signing_in.accounts().audit


def is_signing_in(app):
    return "Sign in" in [button.label for button in app.button] and not app.title


# ---------------------------------------------------------------- in and out


def test_a_first_start_offers_the_demonstration_accounts_and_lets_them_in():
    app = start()
    assert is_signing_in(app)
    assert "Demonstration accounts" in text(app)
    assert not app.dataframe
    offered = text(app)
    for name, password in signing_in.accounts().demonstration().items():
        assert name in offered and password in offered
        app = type_in(start(), name, password)
        assert not app.exception and not app.error
        assert app.title[0].value == ("Audit" if name == "auditor" else "Patients")
        assert f'<div class="role">{name.capitalize()}</div>' in text(app)
        assert password not in str(app.session_state.to_dict())
    assert trail()[-1] == ("auditor", "sign in")


def test_filling_in_saves_the_typing():
    app = start()
    app.button(key="fill-auditor").click().run()
    assert app.text_input(key=NAME).value == "auditor"
    next(b for b in app.button if b.label == "Sign in").click().run()
    assert app.title[0].value == "Audit"


def test_without_demonstration_accounts_none_are_offered():
    signing_in.accounts().add(SYSTEM, "a.lee", "clinician", "a long enough password")
    app = start()
    assert is_signing_in(app)
    assert "Demonstration" not in text(app)
    assert "auditor-demo" not in text(app)
    assert type_in(app, "a.lee", "a long enough password").title[0].value == "Patients"


@pytest.mark.parametrize(("name", "password"), [("clinician", "wrong"), ("nobody", "wrong")])
def test_a_wrong_name_or_password_is_refused_in_the_same_words(name, password):
    app = type_in(start(), name, password)
    assert is_signing_in(app)
    assert "the name or the password is wrong" in text(app)
    assert app.text_input(key=PASSWORD).value == ""
    assert app.text_input(key=NAME).value == name
    assert trail()[-1][1] == "sign-in refused"


def test_an_empty_field_is_no_attempt():
    app = type_in(start(), "clinician", "")
    assert "Type your name and your password" in text(app)
    assert "sign-in refused" not in [action for _, action in trail()]


def test_after_five_failures_the_right_password_waits_too():
    app = start()
    for _ in range(5):
        app = type_in(app, "clinician", "wrong")
    app = type_in(app, "clinician", "clinician-demo")
    assert is_signing_in(app)
    assert "try again in" in text(app)


def test_signing_out_leaves_nothing_of_the_patient():
    app = signed_in("clinician").run()
    app.text_input(key="search").set_value("insulin").run()
    app.session_state["patient_id"] = "10000032"
    app.button(key="sign-out").click().run()
    assert is_signing_in(app)
    assert "patient_id" not in app.session_state
    assert "insulin" not in str(app.session_state.to_dict())
    assert trail()[-1] == ("test-clinician", "sign out")

    app = type_in_as(app, "auditor")
    assert app.title[0].value == "Audit"  # and not a refusal of the page left behind


def type_in_as(app, role):
    password = "a long enough password"
    signing_in.accounts().add(SYSTEM, f"new-{role}", role, password)
    return type_in(app, f"new-{role}", password)


def test_a_session_that_has_ended_takes_the_page_away_and_says_why(monkeypatch):
    app = signed_in("clinician").run()
    app.session_state["patient_id"] = "10000032"
    later = datetime.now(UTC) + timedelta(minutes=31)
    accounts = identity.accounts()
    monkeypatch.setattr(
        identity,
        "accounts",
        lambda: engine_accounts.Accounts(accounts.database, accounts.audit, now=lambda: later),
    )
    app.run()
    assert is_signing_in(app)
    assert "You were signed out" in text(app)
    assert "patient_id" not in app.session_state
    assert not app.dataframe


def test_a_page_left_open_looks_for_its_end_by_itself(monkeypatch):
    """What the fragment does twice a minute, whether anybody presses a key or not."""
    runs = []
    monkeypatch.setattr(identity.st, "rerun", lambda: runs.append("rerun"))
    look = identity.watch.__wrapped__
    monkeypatch.setattr(identity.st, "session_state", {identity.USED: time.time() - 29 * 60})
    look()
    assert not runs
    identity.st.session_state[identity.USED] = time.time() - 31 * 60
    look()
    assert runs == ["rerun"]


def test_a_disabled_account_is_out_at_the_next_click():
    app = signed_in("auditor").run()
    assert app.title[0].value == "Audit"
    signing_in.accounts().disable(SYSTEM, "test-auditor")
    assert is_signing_in(app.run())


@pytest.mark.parametrize("token", ["", "made-up", "x" * 10_000, "' OR 1=1 --"])
def test_a_made_up_token_is_nobody(token):
    app = AppTest.from_file(MAIN, default_timeout=120)
    app.session_state[identity.TOKEN] = token
    assert is_signing_in(app.run())


# ---------------------------------------------------------------- roles


@pytest.mark.parametrize("role", PAGES)
def test_every_role_opens_its_pages_and_no_other(role):
    every = set().union(*PAGES.values())
    for page in sorted(every):
        app = signed_in(role).run().switch_page(f"views/{page}").run()
        assert not app.exception
        refused = "This page is not for your role" in text(app)
        assert refused == (page not in PAGES[role]), page
        if refused:
            assert not app.dataframe and not app.title
            assert "for the role administrator" in text(app)


@pytest.mark.parametrize("page", sorted(set().union(*PAGES.values())))
def test_nobody_opens_any_page(page):
    app = start().switch_page(f"views/{page}").run()
    assert is_signing_in(app)
    assert not app.dataframe


# ---------------------------------------------------------------- the start-up rule


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1", "127.0.1.1", "::1", "[::1]"])
def test_addresses_of_this_machine(address):
    assert opening.is_loopback(address)


@pytest.mark.parametrize("address", [None, "", "0.0.0.0", "::", "10.1.2.3", "wards.example"])
def test_addresses_that_others_reach(address):
    assert not opening.is_loopback(address)


@pytest.fixture
def reachable(monkeypatch):
    option = st.get_option
    monkeypatch.setattr(
        identity.st,
        "get_option",
        lambda name: "0.0.0.0" if name == "server.address" else option(name),
    )


def test_reachable_by_others_without_an_account_the_app_stays_closed(reachable, capsys):
    app = start()
    assert "engine users add NAME --role administrator" in text(app)
    assert not app.button and not app.text_input
    assert not signing_in.accounts().everyone(SYSTEM)  # no demonstration accounts either
    assert opening.main(["0.0.0.0"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "engine users add" in said
    assert said.count("\n") == 1


def test_started_where_others_reach_it_without_an_account_nothing_is_started(capsys, monkeypatch):
    monkeypatch.setattr(start_up.subprocess, "Popen", None)
    monkeypatch.setattr(start_up.os, "execv", None)
    assert start_up.main(["--port", str(free_port()), "--address", "0.0.0.0"]) == 2
    assert "engine users add" in capsys.readouterr().err


def test_reachable_by_others_demonstration_accounts_close_it(installation, reachable, capsys):
    accounts = signing_in.accounts()
    accounts.make_demonstration()
    accounts.add(SYSTEM, "chief", "administrator", "a long enough password")
    app = start()
    assert not app.text_input
    for name in ("clinician", "administrator", "auditor"):
        assert f"engine users disable {name}" in text(app)
        assert "users add" not in app.code[0].value
        accounts.disable(SYSTEM, name)
    assert is_signing_in(start())
    assert opening.main(["0.0.0.0"]) == 0


def test_a_proxy_in_front_counts_as_reachable(monkeypatch):
    start()
    monkeypatch.setattr(opening, "is_forwarded", lambda headers: True)
    assert "Demonstration accounts" in text(start())
    assert not start().text_input
    assert opening.is_forwarded({"X-Forwarded-For": "10.1.2.3"})


# ---------------------------------------------------------------- single sign-on


@pytest.fixture
def issuer(installation):
    """An app with single sign-on configured; call it with the claims of somebody."""
    installation.mkdir()
    (installation / "accounts.yaml").write_text(
        "issuer: https://login.example\nroles: {wards: clinician, revision: auditor}\n"
    )

    def app(**claims):
        app = AppTest.from_file(MAIN, default_timeout=120)
        app.secrets["auth"] = {"client_id": "workbench"}
        if claims:
            app.user = {
                "is_logged_in": True,
                "iss": "https://login.example",
                "iat": time.time(),
                "preferred_username": "a.lee",
                **claims,
            }
        return app.run()

    return app


def test_with_an_issuer_its_button_stands_instead_of_passwords(issuer):
    app = issuer()
    assert [button.label for button in app.button] == ["Sign in with your hospital account"]
    assert not app.text_input
    assert not signing_in.accounts().everyone(SYSTEM)


def test_a_local_account_remains_a_way_in_beside_the_issuer(issuer):
    signing_in.accounts().add(SYSTEM, "chief", "administrator", "a long enough password")
    assert type_in(issuer(), "chief", "a long enough password").title[0].value == "Patients"


def test_a_mapped_group_gets_its_pages(issuer):
    app = issuer(groups=["revision"])
    assert app.title[0].value == "Audit"
    assert ("a.lee", "sign in") in trail()
    app.run()
    assert trail().count(("a.lee", "sign in")) == 1


def test_nobody_without_a_mapped_group_gets_in_and_it_is_audited_once(issuer):
    app = issuer(groups=["kitchen"])
    app.run()
    assert "None of your groups has a role" in text(app)
    assert not app.title and not app.text_input
    assert trail() == [("unknown", "sign-in refused")]
    assert not signing_in.accounts().everyone(SYSTEM)


@pytest.mark.parametrize("claims", [{"iat": time.time() - 13 * 3600}, {"is_logged_in": False}])
def test_an_old_word_of_the_issuer_has_to_be_given_again(issuer, claims):
    app = issuer(groups=["wards"], **claims)
    assert [button.label for button in app.button] == ["Sign in with your hospital account"]


def test_broken_settings_let_nobody_in(issuer, installation):
    (installation / "accounts.yaml").write_text("roles: {wards: clinician}")
    app = issuer(groups=["wards"])
    assert not app.title
    assert "field" in text(app) and "issuer" in text(app)
