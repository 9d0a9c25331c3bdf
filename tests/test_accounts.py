"""Accounts: who gets in, who is kept out and for how long, and when a session is over."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from argon2 import PasswordHasher

from engine.accounts import REFUSED, Accounts
from engine.credentials import DEMONSTRATION
from engine.errors import WorkbenchError
from engine.lockout import lock
from engine.permissions import SYSTEM, Actor, NotAllowed
from tests.installations import PASSWORD, Clock, accounts_in

NAME = "Dr Alvarez"
ANOTHER = "another horse battery"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def accounts(tmp_path, clock):
    """Accounts of a hospital with one clinician and one administrator."""
    accounts = accounts_in(tmp_path, clock)
    accounts.add(SYSTEM, NAME, "clinician", PASSWORD)
    accounts.add(SYSTEM, "Chief", "administrator", PASSWORD)
    return accounts


@pytest.fixture
def chief(accounts):
    return accounts.sign_in("Chief", PASSWORD).actor


def newest(accounts, count: int = 1) -> list[tuple]:
    """Account, action and details of the newest rows of the audit."""
    rows = accounts.audit.rows(SYSTEM, limit=count)
    return [(row.account, row.action, json.loads(row.details)) for row in rows]


def refused(accounts, name: str = NAME, password: str = "wrong") -> str:
    """Try to sign in, and return why not."""
    with pytest.raises(WorkbenchError) as refusal:
        accounts.sign_in(name, password)
    return str(refusal.value)


# ------------------------------------------------------------------ names, roles, passwords


def test_who_was_added_may_sign_in(accounts):
    session = accounts.sign_in(NAME, PASSWORD)
    assert session.actor == accounts.session(session.token) == Actor(NAME, "clinician")
    assert newest(accounts) == [(NAME, "sign in", {})]
    account = accounts.everyone(SYSTEM)[1]
    assert (account.name, account.last_sign_in) == (NAME, "2026-01-31T12:00:00+00:00")


def test_neither_password_nor_token_is_kept(accounts):
    session = accounts.sign_in(NAME, PASSWORD)
    assert session.token not in repr(session)
    for file in accounts.database.parent.iterdir():
        assert PASSWORD.encode() not in file.read_bytes()
        assert session.token.encode() not in file.read_bytes()


@pytest.mark.parametrize("name", ["", " Dr", "Dr ", "Dr\n", "Dr\x00", "\ud800", "\u202e", "x" * 65])
def test_a_name_that_could_be_mistaken_is_refused(accounts, name):
    with pytest.raises(WorkbenchError, match="1 to 64 printable characters"):
        accounts.add(SYSTEM, name, "clinician", PASSWORD)


@pytest.mark.parametrize("name", ["system", "CLI:root", "Unknown"])
def test_a_name_that_the_audit_gives_to_others_is_refused(accounts, name):
    with pytest.raises(WorkbenchError, match="audit uses this name"):
        accounts.add(SYSTEM, name, "clinician", PASSWORD)


@pytest.mark.parametrize("name", ["DR ALVAREZ", "dr alvarez", "Ｄｒ Alvarez"])
def test_names_that_look_alike_are_one(accounts, name):
    with pytest.raises(WorkbenchError, match="there is an account named Dr Alvarez"):
        accounts.add(SYSTEM, name, "auditor", PASSWORD)
    assert accounts.sign_in(name, PASSWORD).actor.name == NAME


def test_a_role_that_is_none_is_refused(accounts):
    with pytest.raises(WorkbenchError, match="root: no such role; expected one of clinician"):
        accounts.add(SYSTEM, "Dr Sato", "root", PASSWORD)


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("eleven char", "12 to 1,024 characters"),
        ("x" * 1025, "12 to 1,024 characters"),
        ("Doctor Sato the First", "first one anybody would try"),
        (DEMONSTRATION["administrator"], "first one anybody would try"),
    ],
)
def test_a_password_that_is_easily_guessed_is_refused(accounts, password, said):
    with pytest.raises(WorkbenchError, match=said):
        accounts.add(SYSTEM, "doctor sato the first", "clinician", password)
    with pytest.raises(WorkbenchError, match="12 to|anybody would try|no such account"):
        accounts.reset(SYSTEM, "doctor sato the first", password)
    assert len(accounts.everyone(SYSTEM)) == 2


def test_a_password_is_the_same_from_every_keyboard(accounts):
    accounts.reset(SYSTEM, NAME, "Zürich am See 1")
    assert accounts.sign_in(NAME, "Zu\u0308rich am See 1")


def test_hashes_are_renewed_when_hashing_got_harder(accounts):
    harder = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
    later = Accounts(accounts.database, accounts.audit, hasher=harder)
    assert later.sign_in(NAME, PASSWORD)
    assert later.sign_in(NAME, PASSWORD)
    easier = accounts.sign_in(NAME, PASSWORD)
    assert easier.actor.name == NAME


# ------------------------------------------------------------------ refusals and the lock


def test_unknown_names_wrong_passwords_and_disabled_accounts_look_the_same(accounts):
    accounts.add(SYSTEM, "Dr Gone", "clinician", PASSWORD)
    accounts.disable(SYSTEM, "Dr Gone")
    accounts.sign_in_external("someone@hospital.example", "clinician")
    hasher = accounts._hasher
    seen = []
    for name in (NAME, "nobody at all", "Dr Gone", "someone@hospital.example"):
        before, rows = hasher.worked, accounts.audit.count(SYSTEM)
        said = [refused(accounts, name, PASSWORD + "x") for _ in range(7)]
        said = [text.replace("30", "N") for text in said]
        seen.append((said, hasher.worked - before, accounts.audit.count(SYSTEM) - rows))
    assert seen[0] == seen[1] == seen[2] == seen[3]
    assert seen[0][1] == 5


def test_an_unknown_name_is_not_written_down_for_it_may_be_a_password(accounts):
    refused(accounts, "my secret passphrase", "")
    who, action, details = newest(accounts)[0]
    assert (who, action, details["reason"]) == ("unknown", "sign-in refused", "unknown name")
    for file in accounts.database.parent.iterdir():
        assert b"my secret passphrase" not in file.read_bytes()


@pytest.mark.parametrize("name", ["", "\ud800", "\x00", "x" * 100_000, "' OR 1=1 --", "=1+1"])
def test_whatever_is_typed_is_refused_calmly(accounts, name):
    assert refused(accounts, name, "\ud800\x00" * 5000) == REFUSED


def test_five_failures_lock_a_name_even_for_the_right_password(accounts, clock):
    assert [refused(accounts) for _ in range(5)] == [REFUSED] * 5
    assert "try again in 30 seconds" in refused(accounts, password=PASSWORD)
    assert newest(accounts)[0][2]["reason"] == "locked"
    clock.turn(29)
    assert "try again in 1 seconds" in refused(accounts, NAME.upper(), PASSWORD)
    clock.turn(1)
    assert accounts.sign_in(NAME, PASSWORD)


def test_the_lock_doubles_up_to_an_hour(accounts, clock):
    waits = []
    for _ in range(16):
        refused(accounts)
        said = refused(accounts) if len(waits) > 3 else ""
        wait = int("".join(filter(str.isdigit, said)) or 0)
        waits.append(wait)
        clock.turn(wait)
    assert waits[4:12] == [30, 60, 120, 240, 480, 960, 1920, 3600]
    assert set(waits[12:]) == {3600}
    assert lock(10**9) == 3600


def test_success_a_reset_and_a_day_forget_failures(accounts, clock):
    def fail(times):
        for _ in range(times):
            assert refused(accounts) == REFUSED

    fail(4)
    accounts.sign_in(NAME, PASSWORD)
    fail(5)
    accounts.reset(SYSTEM, NAME, ANOTHER)
    fail(4)
    clock.turn(24 * 3600 + 1)
    fail(4)
    assert accounts.sign_in(NAME, ANOTHER)


def test_a_locked_name_locks_no_other(accounts):
    for _ in range(6):
        refused(accounts)
    assert accounts.sign_in("Chief", PASSWORD)


def test_many_attempts_at_once_are_no_way_around_the_lock(accounts):
    before = accounts._hasher.worked
    with ThreadPoolExecutor(8) as threads:
        said = list(threads.map(lambda _: refused(accounts), range(12)))
    assert said.count(REFUSED) == accounts._hasher.worked - before == 5


def test_a_clock_set_back_locks_nobody_out_for_longer(accounts, clock):
    for _ in range(5):
        refused(accounts)
    clock.turn(-365 * 24 * 3600)
    assert accounts.sign_in(NAME, PASSWORD)


# ------------------------------------------------------------------ sessions


def test_a_session_lasts_while_it_is_used_and_twelve_hours_at_most(accounts, clock):
    token = accounts.sign_in(NAME, PASSWORD).token
    for _ in range(12 * 3 - 1):
        clock.turn(20 * 60)
        assert accounts.session(token)
    clock.turn(20 * 60)
    assert accounts.session(token) is None


def test_an_idle_session_ends_after_half_an_hour(accounts, clock):
    token = accounts.sign_in(NAME, PASSWORD).token
    clock.turn(30 * 60 - 1)
    assert accounts.session(token)
    clock.turn(30 * 60)
    assert accounts.session(token) is None


def test_a_session_expires_when_it_says(accounts, clock):
    session = accounts.sign_in(NAME, PASSWORD)
    assert (session.expires_at - clock()).total_seconds() == 12 * 3600


def test_a_session_ends_at_sign_out_and_only_that_one(accounts):
    one, other = (accounts.sign_in(NAME, PASSWORD).token for _ in range(2))
    accounts.sign_out(one)
    assert newest(accounts) == [(NAME, "sign out", {})]
    rows = accounts.audit.count(SYSTEM)
    accounts.sign_out(one)
    assert accounts.audit.count(SYSTEM) == rows
    assert accounts.session(one) is None
    assert accounts.session(other)


@pytest.mark.parametrize(
    "change",
    [
        lambda accounts: accounts.disable(SYSTEM, NAME),
        lambda accounts: accounts.change_role(SYSTEM, NAME, "auditor"),
        lambda accounts: accounts.reset(SYSTEM, NAME, ANOTHER),
    ],
    ids=["disabled", "another role", "another password"],
)
def test_a_session_ends_when_its_account_changes(accounts, change):
    token = accounts.sign_in(NAME, PASSWORD).token
    change(accounts)
    assert accounts.session(token) is None


def test_a_clock_set_back_far_ends_sessions_and_a_little_does_not(accounts, clock):
    token = accounts.sign_in(NAME, PASSWORD).token
    clock.turn(-120)
    assert accounts.session(token)
    clock.turn(-7 * 24 * 3600)
    assert accounts.session(token) is None


@pytest.mark.parametrize("token", ["", "x", "\ud800", "' OR 1=1 --"])
def test_a_token_that_is_none_is_nobodys(accounts, token):
    accounts.sign_in(NAME, PASSWORD)
    assert accounts.session(token) is None


# ------------------------------------------------------------------ managing


def test_a_disabled_account_is_enabled_by_a_reset(accounts):
    accounts.disable(SYSTEM, NAME)
    assert refused(accounts, password=PASSWORD) == REFUSED
    with pytest.raises(WorkbenchError, match="disabled already"):
        accounts.disable(SYSTEM, NAME)
    accounts.reset(SYSTEM, NAME, ANOTHER)
    assert accounts.sign_in(NAME, ANOTHER)


def test_the_last_administrator_stays(accounts, chief):
    for attempt in (
        lambda: accounts.disable(chief, "Chief"),
        lambda: accounts.change_role(chief, "Chief", "clinician"),
    ):
        with pytest.raises(WorkbenchError, match="last administrator.*add another one first"):
            attempt()
    accounts.add(chief, "Second", "administrator", PASSWORD)
    accounts.disable(chief, "Chief")
    with pytest.raises(WorkbenchError, match="last administrator"):
        accounts.disable(chief, "Second")


def test_every_change_is_in_the_audit_under_the_name_of_who_made_it(accounts, chief):
    accounts.add(chief, "Dr Sato", "clinician", PASSWORD)
    accounts.change_role(chief, "Dr Sato", "auditor")
    accounts.reset(chief, "Dr Sato", ANOTHER)
    accounts.disable(chief, "Dr Sato")
    disabled, reset, role, added = newest(accounts, 4)
    assert disabled == ("Chief", "account disabled", {"name": "Dr Sato"})
    assert reset[1:] == ("password reset", {"enabled": False, "name": "Dr Sato"})
    assert role[2] == {"from": "clinician", "name": "Dr Sato", "to": "auditor"}
    assert added[1:] == (
        "account added",
        {"demonstration": False, "name": "Dr Sato", "role": "clinician"},
    )
    assert accounts.audit.verify()


@pytest.mark.parametrize(
    "act",
    [
        lambda accounts: accounts.sign_in(NAME, PASSWORD),
        lambda accounts: accounts.add(SYSTEM, "Dr Sato", "clinician", PASSWORD),
        lambda accounts: accounts.disable(SYSTEM, NAME),
        lambda accounts: accounts.change_role(SYSTEM, NAME, "auditor"),
        lambda accounts: accounts.reset(SYSTEM, NAME, ANOTHER),
        lambda accounts: accounts.sign_in_external("s@hospital.example", "administrator"),
    ],
    ids=["sign in", "add", "disable", "change role", "reset", "sign in through a provider"],
)
def test_what_cannot_be_audited_does_not_happen(accounts, act):
    token = accounts.sign_in(NAME, PASSWORD).token
    before = accounts.everyone(SYSTEM)
    key = accounts.audit.files.key_file
    key.rename(key.with_name("elsewhere"))
    with pytest.raises(WorkbenchError, match="audit.key: not found"):
        act(accounts)
    key.with_name("elsewhere").rename(key)
    assert accounts.everyone(SYSTEM) == before
    assert accounts.session(token)


@pytest.mark.parametrize("change", ["disable", "reset", "change_role"])
def test_an_account_that_is_none_is_said(accounts, change):
    arguments = {"disable": (), "reset": (PASSWORD,), "change_role": ("auditor",)}[change]
    with pytest.raises(WorkbenchError, match="Dr Nobody: there is no such account"):
        getattr(accounts, change)(SYSTEM, "Dr Nobody", *arguments)


# ------------------------------------------------------------------ once more, please


def test_the_password_is_asked_for_again(accounts, chief):
    accounts.check_password(chief, PASSWORD)
    with pytest.raises(WorkbenchError, match="The password is wrong"):
        accounts.check_password(chief, ANOTHER)
    reason = {"purpose": "confirmation", "reason": "wrong password"}
    assert newest(accounts) == [("Chief", "sign-in refused", reason)]
    accounts.check_password(SYSTEM, "")
    with pytest.raises(NotAllowed):
        accounts.check_password(None, PASSWORD)


def test_guessing_it_there_locks_the_name_too(accounts, chief):
    for _ in range(5):
        with pytest.raises(WorkbenchError, match="wrong"):
            accounts.check_password(chief, ANOTHER)
    with pytest.raises(WorkbenchError, match="try again in 30 seconds"):
        accounts.check_password(chief, PASSWORD)
    assert "try again in 30 seconds" in refused(accounts, "Chief", PASSWORD)


# ------------------------------------------------------------------ through an identity provider


EXTERNAL = "sato@hospital.example"


def test_the_identity_provider_gives_the_role(accounts):
    first = accounts.sign_in_external(EXTERNAL, "clinician")
    assert accounts.session(first.token) == Actor(EXTERNAL, "clinician")
    second = accounts.sign_in_external(EXTERNAL.upper(), "administrator")
    assert accounts.session(first.token) is None
    assert accounts.session(second.token) == Actor(EXTERNAL, "administrator")
    assert newest(accounts)[0][1:] == ("sign in", {"through": "identity provider"})


def test_it_cannot_take_over_a_local_account_or_a_disabled_one(accounts):
    with pytest.raises(WorkbenchError, match="name of a local account"):
        accounts.sign_in_external("chief", "administrator")
    accounts.sign_in_external(EXTERNAL, "clinician")
    accounts.disable(SYSTEM, EXTERNAL)
    with pytest.raises(WorkbenchError, match="disabled"):
        accounts.sign_in_external(EXTERNAL, "clinician")
    assert newest(accounts)[0][1] == "sign-in refused"


def test_no_password_opens_such_an_account(accounts):
    accounts.sign_in_external(EXTERNAL, "administrator")
    assert refused(accounts, EXTERNAL, "") == REFUSED
    with pytest.raises(WorkbenchError, match="through the identity provider"):
        accounts.reset(SYSTEM, EXTERNAL, PASSWORD)


def test_a_fresh_sign_in_stands_for_its_password(accounts, clock):
    actor = accounts.sign_in_external(EXTERNAL, "administrator").actor
    clock.turn(9 * 60)
    accounts.check_password(actor, "")
    clock.turn(2 * 60)
    with pytest.raises(WorkbenchError, match="sign out and in again"):
        accounts.check_password(actor, "")


# ------------------------------------------------------------------ for demonstration


def test_demonstration_accounts_are_made_once_and_only_where_there_is_none(tmp_path):
    accounts = accounts_in(tmp_path)
    made = accounts.make_demonstration()
    assert set(made) == {"clinician", "administrator", "auditor"}
    assert accounts.make_demonstration() == made
    assert not accounts.configured()
    for name, password in made.items():
        assert accounts.sign_in(name, password).actor == Actor(name, name)


def test_several_starts_at_once_make_them_once(tmp_path):
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: accounts_in(tmp_path).make_demonstration(), range(4)))
    assert all(one == made[0] for one in made)
    assert accounts_in(tmp_path).audit.count(SYSTEM, action="account added") == 3


def test_they_are_not_made_beside_others(accounts):
    assert accounts.make_demonstration() == {}
    assert accounts.configured()


def test_they_go_one_by_one_and_do_not_stand_for_an_administrator(tmp_path):
    accounts = accounts_in(tmp_path)
    accounts.make_demonstration()
    with pytest.raises(WorkbenchError, match="last administrator"):
        accounts.disable(SYSTEM, "administrator")
    accounts.add(SYSTEM, "Chief", "administrator", PASSWORD)
    with pytest.raises(WorkbenchError, match="last administrator"):
        accounts.disable(SYSTEM, "Chief")
    accounts.disable(SYSTEM, "administrator")
    accounts.reset(SYSTEM, "clinician", PASSWORD)
    assert set(accounts.demonstration()) == {"auditor"}
    assert accounts.configured()
