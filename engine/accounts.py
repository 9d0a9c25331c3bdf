"""Accounts, sign-in and sessions of an installation, kept in its SQLite file.

    session = accounts.sign_in(name, password)     # WorkbenchError when refused
    actor = accounts.session(session.token)        # None when it is over

Passwords are kept as Argon2id hashes (RFC 9106), session tokens as SHA-256. Every change and every
sign-in, refused ones too, is audited in the same transaction.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from argon2 import PasswordHasher
from sqlite_utils import Database

from engine import lockout, permissions, sessions, store
from engine.audit import Audit
from engine.credentials import (
    DEMONSTRATION,
    LONGEST_EXTERNAL_NAME,
    LONGEST_NAME,
    checked_name,
    checked_password,
    checked_role,
    name_key,
    password_hash,
    password_matches,
)
from engine.errors import WorkbenchError
from engine.permissions import SYSTEM, Actor, Role
from engine.sessions import Session

FRESH_SIGN_IN = 10 * 60  # seconds; stands for re-entering a password that is not kept here
REFUSED = "Sign-in refused: the name or the password is wrong, or the account is disabled."


@dataclass(frozen=True)
class Account:
    """An account as it is listed; times are UTC (ISO 8601)."""

    name: str
    role: Role
    created_at: str
    last_sign_in: str | None
    disabled: bool
    demonstration: bool
    external: bool  # its password is kept by an identity provider


class Accounts:
    """The accounts of an installation.

    Args:
        database: the SQLite file of the installation.
        audit: where everything is recorded.
        now: gives the time in UTC; for tests.
        hasher: for tests, a quick one.
    """

    def __init__(
        self,
        database: Path,
        audit: Audit,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        hasher: PasswordHasher | None = None,
    ) -> None:
        self.database = Path(database)
        self.audit = audit
        self._now = now
        self._hasher = hasher or PasswordHasher()

    # ------------------------------------------------------------------ managing

    def everyone(self, actor: Actor | None) -> list[Account]:
        """Return every account in the order of names; needs "manage accounts"."""
        permissions.require(actor, "manage accounts")
        with store.opened(self.database) as database:
            return [_account(row) for row in database["accounts"].rows_where(order_by="key")]

    def add(self, actor: Actor | None, name: str, role: Role, password: str) -> Account:
        """Add a local account.

        Raises WorkbenchError when the name is taken or unfit, the role unknown, the password too
        short, or the actor may not manage accounts.
        """
        permissions.require(actor, "manage accounts")
        name = checked_name(name)
        checked_role(role)
        hashed = password_hash(self._hasher, checked_password(password, name))
        with store.transaction(self.database) as database:
            self._insert(database, actor, name, role, hashed)
            return _account(database["accounts"].get(name_key(name)))

    def disable(self, actor: Actor | None, name: str) -> None:
        """Disable an account and end its sessions; `reset` enables it again.

        Raises WorkbenchError when there is none such, or it is the last administrator's.
        """
        permissions.require(actor, "manage accounts")
        with store.transaction(self.database) as database:
            account = _found(database, name)
            if account["disabled"]:
                raise WorkbenchError(f"{account['name']}: the account is disabled already.")
            _keep_an_administrator(database, account, "disabled")
            database["accounts"].update(account["key"], {"disabled": 1})
            sessions.end_all(database, account["key"])
            self.audit.record(database, actor, "account disabled", {"name": account["name"]})

    def reset(self, actor: Actor | None, name: str, password: str) -> None:
        """Give an account a new password; it is enabled, unlocked, and its sessions end.

        A demonstration account becomes an account like any other by this.
        """
        permissions.require(actor, "manage accounts")
        hashed = password_hash(self._hasher, checked_password(password, name))
        with store.transaction(self.database) as database:
            account = _found(database, name)
            if account["password"] is None:
                raise WorkbenchError(
                    f"{account['name']}: signs in through the identity provider, which keeps its "
                    "password; change it there."
                )
            changed = {"password": hashed, "disabled": 0, "demonstration": 0}
            database["accounts"].update(account["key"], changed)
            sessions.end_all(database, account["key"])
            lockout.forget(database, self._failures_of(account["name"]))
            details = {"name": account["name"], "enabled": bool(account["disabled"])}
            self.audit.record(database, actor, "password reset", details)

    def change_role(self, actor: Actor | None, name: str, role: Role) -> None:
        """Give an account another role and end its sessions."""
        permissions.require(actor, "manage accounts")
        checked_role(role)
        with store.transaction(self.database) as database:
            account = _found(database, name)
            if role != "administrator":
                _keep_an_administrator(database, account, f"made {role}")
            self._set_role(database, actor, account, role)

    # ------------------------------------------------------------------ what the app must know

    def configured(self) -> bool:
        """Whether there is an enabled account other than those for demonstration."""
        with store.opened(self.database) as database:
            return database["accounts"].count_where("NOT disabled AND NOT demonstration") > 0

    def make_demonstration(self) -> dict[str, str]:
        """Make one account a role where there is no account at all; return `demonstration()`.

        Only for an app that nobody but the machine's own users can reach.
        """
        with store.opened(self.database) as database:
            needed = database["accounts"].count == 0
        if needed:
            hashes = {
                name: password_hash(self._hasher, word) for name, word in DEMONSTRATION.items()
            }
            with store.transaction(self.database) as database:
                if database["accounts"].count == 0:
                    for name, hashed in hashes.items():
                        self._insert(database, SYSTEM, name, name, hashed, demonstration=True)
        return self.demonstration()

    def demonstration(self) -> dict[str, str]:
        """Return names and passwords of the demonstration accounts that are enabled."""
        with store.opened(self.database) as database:
            rows = database["accounts"].rows_where("demonstration AND NOT disabled")
            names = {row["name"] for row in rows}
        return {name: password for name, password in DEMONSTRATION.items() if name in names}

    # ------------------------------------------------------------------ signing in

    def sign_in(self, name: str, password: str) -> Session:
        """Begin a session of a local account.

        An unknown name costs the same time and gives the same answer as a wrong password, and is
        locked the same way: after five failures in a row for 30 seconds, twice as long after each
        further one, an hour at most.

        Raises WorkbenchError when refused.
        """
        proven = self._proven(name, password, "sign-in")
        with store.transaction(self.database) as database:
            account = _found(database, name)
            if account["disabled"] or account["password"] != proven["password"]:  # by now
                raise WorkbenchError(REFUSED)
            if self._hasher.check_needs_rehash(account["password"]):
                database["accounts"].update(
                    account["key"], {"password": password_hash(self._hasher, password)}
                )
            return self._begin(database, account)

    def sign_in_external(self, name: str, role: Role) -> Session:
        """Begin a session of somebody whom the identity provider vouches for.

        The account is made when missing, and takes the role that the provider gives now.

        Raises WorkbenchError when the name is unfit or a local account's, or it is disabled.
        """
        name = checked_name(name, longest=LONGEST_EXTERNAL_NAME)
        checked_role(role)
        with store.transaction(self.database) as database:
            account = _row(database, name)
            if account is None:
                self._insert(database, SYSTEM, name, role, None)
                return self._begin(database, _found(database, name))
            if not account["disabled"] and account["password"] is None:
                if account["role"] != role:
                    self._set_role(database, SYSTEM, account, role)
                return self._begin(database, {**account, "role": role})
            reason = "disabled" if account["disabled"] else "name of a local account"
            self._refuse(database, account, "", reason, "sign-in through the identity provider")
        raise WorkbenchError(
            f"{name}: sign-in refused ({reason}); ask an administrator of the workbench."
        )

    def check_password(self, actor: Actor | None, password: str) -> None:
        """Let somebody who is signed in prove it is still them, before a promotion for example.

        Counts towards the lock as a sign-in does. Who signs in through an identity provider proves
        it by having done so in the last ten minutes. The command line has no password.

        Raises WorkbenchError when refused.
        """
        if actor is None:
            raise permissions.NotAllowed("Nobody is signed in; sign in first.")
        if actor.role == "system":
            return
        with store.opened(self.database) as database:
            account = _found(database, actor.name)
            now = self._seconds()
            fresh = sessions.begun_since(database, account["key"], now - FRESH_SIGN_IN, now)
        if account["password"] is None:
            if not fresh:
                raise WorkbenchError(
                    f"{account['name']}: sign out and in again, then repeat this within "
                    f"{FRESH_SIGN_IN // 60} minutes; the workbench does not know your password."
                )
            return
        self._proven(actor.name, password, "confirmation")
        with store.transaction(self.database) as database:
            lockout.forget(database, self._failures_of(actor.name))

    def session(self, token: str) -> Actor | None:
        """Return whose session it is; None when it is over, or there is none such.

        It is over after 30 minutes without a call, 12 hours after sign-in, at sign-out, and when
        the account is disabled, or its role or password changed.
        """
        now = self._seconds()
        with store.opened(self.database) as database:
            actor = sessions.owner(database, token, now)
            noted = actor is None or sessions.is_seen(database, token, now)
        if not noted:
            with store.transaction(self.database) as database:
                sessions.note_seen(database, token, now)
        return actor

    def sign_out(self, token: str) -> None:
        """End a session; nothing happens when it is over already."""
        with store.transaction(self.database) as database:
            actor = sessions.end(database, token)
            if actor:
                self.audit.record(database, actor, "sign out", {})

    # ------------------------------------------------------------------ below

    def _seconds(self) -> float:
        return self._now().timestamp()

    def _proven(self, name: str, password: str, purpose: str) -> dict:
        """Return the account (its row) whose password this is.

        The attempt counts as failed before it is made, so that many at once are no way around the
        lock; success forgets it.
        """
        typed = self._failures_of(name)
        with store.transaction(self.database) as database:
            account = _row(database, name)
            wait = lockout.attempt(database, typed, self._seconds())
            if wait:
                self._refuse(database, account, typed, "locked", purpose)
        if wait:
            raise WorkbenchError(
                f"Too many failed attempts with this name; try again in {wait:,} seconds."
            )
        known = account is not None and account["password"] is not None
        right = password_matches(self._hasher, account["password"] if known else None, password)
        if right and not account["disabled"]:
            return account
        reason = ("disabled" if right else "wrong password") if known else "unknown name"
        with store.transaction(self.database) as database:
            self._refuse(database, account if known else None, typed, reason, purpose)
        raise WorkbenchError(REFUSED if purpose == "sign-in" else "The password is wrong.")

    def _failures_of(self, name: str) -> str:
        """Return the keyed hash under which failed sign-ins with a name are counted."""
        return self.audit.keyed(f"sign-in {name_key(name)}")

    def _refuse(
        self, database: Database, account: dict | None, typed: str, reason: str, purpose: str
    ) -> None:
        """Record a refusal. A name that is nobody's stands there as a hash: it may be a password
        typed into the wrong field."""
        details = {"reason": reason, "purpose": purpose}
        if account:
            actor = Actor(account["name"], account["role"])
            self.audit.record(database, actor, "sign-in refused", details)
        else:
            details["name"] = typed[:16]
            self.audit.record(database, "unknown", "sign-in refused", details)

    def _begin(self, database: Database, account: dict) -> Session:
        session = sessions.begin(database, account, self._seconds())
        database["accounts"].update(account["key"], {"last_sign_in": self._timestamp()})
        lockout.forget(database, self._failures_of(account["name"]))
        provider = {"through": "identity provider"} if account["password"] is None else {}
        self.audit.record(database, session.actor, "sign in", provider)
        return session

    def _insert(
        self,
        database: Database,
        actor: Actor,
        name: str,
        role: Role,
        hashed: str | None,
        demonstration: bool = False,
    ) -> None:
        if (taken := _row(database, name)) is not None:
            raise WorkbenchError(
                f"{name}: there is an account named {taken['name']}; choose another name, or reset "
                "that one (upper and lower case are one)."
            )
        database["accounts"].insert(
            {
                "key": name_key(name),
                "name": name,
                "role": role,
                "password": hashed,
                "created_at": self._timestamp(),
                "demonstration": int(demonstration),
            }
        )
        details = {"name": name, "role": role, "demonstration": demonstration}
        self.audit.record(database, actor, "account added", details)

    def _set_role(self, database: Database, actor: Actor, account: dict, role: Role) -> None:
        database["accounts"].update(account["key"], {"role": role})
        sessions.end_all(database, account["key"])
        details = {"name": account["name"], "from": account["role"], "to": role}
        self.audit.record(database, actor, "role changed", details)

    def _timestamp(self) -> str:
        return self._now().astimezone(UTC).isoformat(timespec="seconds")


def _row(database: Database, name: str) -> dict | None:
    if not name.isprintable():  # lone surrogates among them, which SQLite cannot take
        return None
    return next(database["accounts"].rows_where("key = ?", [name_key(name)]), None)


def _found(database: Database, name: str) -> dict:
    account = _row(database, name)
    if account is None:
        raise WorkbenchError(f"{name[:LONGEST_NAME]}: there is no such account; see users list.")
    return account


def _account(row: dict) -> Account:
    return Account(
        name=row["name"],
        role=row["role"],
        created_at=row["created_at"],
        last_sign_in=row["last_sign_in"],
        disabled=bool(row["disabled"]),
        demonstration=bool(row["demonstration"]),
        external=row["password"] is None,
    )


def _keep_an_administrator(database: Database, account: dict, change: str) -> None:
    """Raise unless an administrator remains; a demonstration account does not stand for one."""
    if account["role"] != "administrator" or account["disabled"]:
        return
    others = database["accounts"].count_where(
        "role = 'administrator' AND NOT disabled AND key != ? AND demonstration <= ?",
        [account["key"], account["demonstration"]],
    )
    if not others:
        raise WorkbenchError(
            f"{account['name']}: the last administrator cannot be {change}; add another one first."
        )
