"""Nobody does what their role does not allow, whatever the menu shows."""

import getpass

import pytest

from engine.permissions import (
    ACTIONS,
    ROLES,
    SYSTEM,
    Actor,
    NotAllowed,
    allowed,
    command_line,
    require,
)
from tests.installations import PASSWORD, accounts_in, audit_in

MANAGING = {
    "add": lambda accounts, actor: accounts.add(actor, "New", "clinician", PASSWORD),
    "disable": lambda accounts, actor: accounts.disable(actor, "Somebody"),
    "reset": lambda accounts, actor: accounts.reset(actor, "Somebody", "another long one"),
    "change role": lambda accounts, actor: accounts.change_role(actor, "Somebody", "administrator"),
    "list": lambda accounts, actor: accounts.everyone(actor),
}
READING = {
    "rows": lambda audit, actor, _: audit.rows(actor),
    "count": lambda audit, actor, _: audit.count(actor),
    "choices": lambda audit, actor, _: audit.choices(actor),
    "export": lambda audit, actor, folder: audit.export(actor, folder / "audit.csv"),
}


def somebody(role: str | None) -> Actor | None:
    return Actor("Somebody", role) if role else None


@pytest.mark.parametrize("action", ACTIONS)
def test_nobody_may_do_anything(action):
    assert not allowed(None, action)
    with pytest.raises(NotAllowed, match=f"{action}: nobody is signed in"):
        require(None, action)


@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_is_for_its_roles_only(action):
    assert {role for role in ROLES if allowed(somebody(role), action)} == ACTIONS[action]
    assert allowed(SYSTEM, action)
    for role in set(ROLES) - ACTIONS[action]:
        with pytest.raises(NotAllowed, match=f"not allowed for .*{role}"):
            require(somebody(role), action)


def test_what_changes_the_model_or_the_accounts_is_for_administrators_alone():
    for action in (
        "retrain",
        "promote",
        "reject",
        "roll back",
        "import version",
        "manage accounts",
    ):
        assert ACTIONS[action] == {"administrator"}
    assert "auditor" not in ACTIONS["find patients"] | ACTIONS["recommend"]


def test_a_role_that_is_none_may_do_nothing():
    assert not any(allowed(Actor("Somebody", "root"), action) for action in ACTIONS)


def test_an_action_that_is_none_is_a_mistake_of_ours():
    with pytest.raises(KeyError):
        require(SYSTEM, "make coffee")


def test_the_command_line_acts_under_the_name_of_its_user():
    actor = command_line()
    assert actor.name == f"cli:{getpass.getuser()}"
    require(actor, "promote")


@pytest.mark.parametrize("role", ["clinician", "auditor", None])
@pytest.mark.parametrize("action", MANAGING)
def test_accounts_are_managed_by_administrators_alone(action, role, tmp_path):
    accounts = accounts_in(tmp_path)
    accounts.add(SYSTEM, "Somebody", role or "clinician", PASSWORD)
    before = accounts.everyone(SYSTEM), accounts.audit.count(SYSTEM)
    with pytest.raises(NotAllowed):
        MANAGING[action](accounts, somebody(role))
    assert (accounts.everyone(SYSTEM), accounts.audit.count(SYSTEM)) == before
    assert accounts.sign_in("Somebody", PASSWORD)


@pytest.mark.parametrize("action", MANAGING)
def test_an_administrator_manages_accounts(action, tmp_path):
    accounts = accounts_in(tmp_path)
    accounts.add(SYSTEM, "Chief", "administrator", PASSWORD)
    accounts.add(SYSTEM, "Somebody", "clinician", PASSWORD)
    chief = accounts.sign_in("Chief", PASSWORD).actor
    MANAGING[action](accounts, chief)
    newest = accounts.audit.rows(SYSTEM, limit=1)[0]
    assert newest.account == "Chief"


@pytest.mark.parametrize("role", ["clinician", None])
@pytest.mark.parametrize("action", READING)
def test_the_audit_is_for_auditors_and_administrators(action, role, tmp_path):
    audit = audit_in(tmp_path)
    audit.write(SYSTEM, "sign in", {})
    with pytest.raises(NotAllowed):
        READING[action](audit, somebody(role), tmp_path)
    assert not (tmp_path / "audit.csv").exists()
    assert audit.count(SYSTEM) == 1
    for allowed_role in ("auditor", "administrator"):
        assert READING[action](audit, somebody(allowed_role), tmp_path)


@pytest.mark.parametrize("role", ["clinician", "auditor", None])
def test_the_end_of_the_audit_is_accepted_by_administrators_alone(role, tmp_path):
    audit = audit_in(tmp_path)
    audit.write(SYSTEM, "sign in", {})
    with pytest.raises(NotAllowed):
        audit.accept_end(somebody(role))
    assert audit.count(SYSTEM) == 1
