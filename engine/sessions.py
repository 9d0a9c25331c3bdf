"""Sessions of those signed in: begun, asked for on every page, over."""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlite_utils import Database

from engine.credentials import token_hash
from engine.permissions import Actor

IDLE = 30 * 60  # seconds without a page, after which a session is over
LONGEST = 12 * 3600  # seconds
SEEN_EVERY = 60  # seconds between two notes that a session is alive
CLOCK_TOLERANCE = 300  # seconds that a clock may be set back without ending sessions


@dataclass(frozen=True)
class Session:
    """A session just begun; the token is known to its browser only."""

    token: str = field(repr=False)
    actor: Actor
    expires_at: datetime  # at the latest; sooner when idle


def begin(database: Database, account: dict, now: float) -> Session:
    """Begin a session of an account (its row), within a transaction; remove those long over.

    Times are seconds since 1970.
    """
    sessions = database["sessions"]
    sessions.delete_where("started <= ? OR seen <= ?", [now - LONGEST, now - IDLE])
    token = secrets.token_urlsafe(32)
    sessions.insert(
        {
            "token": token_hash(token),
            "account": account["key"],
            "role": account["role"],
            "started": now,
            "seen": now,
        }
    )
    actor = Actor(account["name"], account["role"])
    return Session(token, actor, datetime.fromtimestamp(now + LONGEST, UTC))


def owner(database: Database, token: str, now: float) -> Actor | None:
    """Return whose session it is; None when it is over, or there is none such."""
    row = _row(database, token)
    if row is None or row["disabled"] or row["role"] != row["role_then"]:
        return None
    if now - row["started"] >= LONGEST or not -CLOCK_TOLERANCE <= now - row["seen"] < IDLE:
        return None
    return Actor(row["name"], row["role"])


def is_seen(database: Database, token: str, now: float) -> bool:
    """Whether a session was noted to be alive within the last minute."""
    row = _row(database, token)
    return row is not None and 0 <= now - row["seen"] < SEEN_EVERY


def note_seen(database: Database, token: str, now: float) -> None:
    """Note that a session is alive."""
    database.execute("UPDATE sessions SET seen = ? WHERE token = ?", [now, token_hash(token)])


def end(database: Database, token: str) -> Actor | None:
    """End a session; return whose it was."""
    row = _row(database, token)
    database["sessions"].delete_where("token = ?", [token_hash(token)])
    return Actor(row["name"], row["role"]) if row else None


def end_all(database: Database, key: str) -> None:
    """End every session of an account."""
    database["sessions"].delete_where("account = ?", [key])


def begun_since(database: Database, key: str, earliest: float, now: float) -> bool:
    """Whether an account began a session between two times."""
    condition = "account = ? AND started BETWEEN ? AND ?"
    return database["sessions"].count_where(condition, [key, earliest, now]) > 0


def _row(database: Database, token: str) -> dict | None:
    found = database.query(
        "SELECT name, accounts.role, sessions.role AS role_then, disabled, started, seen "
        "FROM sessions JOIN accounts ON accounts.key = sessions.account WHERE token = ?",
        [token_hash(token)],
    )
    return next(found, None)
