"""Failed sign-ins of a name, and how long it is locked for after too many of them."""

import math

from sqlite_utils import Database

FREE_FAILURES = 4  # the fifth failure in a row locks the name
FIRST_LOCK, LONGEST_LOCK = 30, 3600  # seconds; doubled with each further failure
FORGOTTEN = 24 * 3600  # seconds after the last failure


def attempt(database: Database, name: str, now: float) -> int:
    """Count an attempt as failed; where the name is locked, return for how many seconds instead.

    Args:
        database: within a transaction.
        name: a keyed hash of what was typed, be there such an account or not.
        now: seconds since 1970. A clock that was set back locks nobody out for longer.
    """
    failed = database["failed_sign_ins"]
    failed.delete_where("last NOT BETWEEN ? AND ?", [now - FORGOTTEN, now + FORGOTTEN])
    row = next(failed.rows_where("name = ?", [name]), {"failures": 0, "last": now})
    wait = lock(row["failures"]) - (now - row["last"])
    if wait > 0 and row["last"] <= now:
        return math.ceil(wait)
    failed.upsert({"name": name, "failures": row["failures"] + 1, "last": now}, pk="name")
    return 0


def forget(database: Database, name: str) -> None:
    """Forget the failures of a name: its owner is here."""
    database["failed_sign_ins"].delete_where("name = ?", [name])


def lock(failures: int) -> int:
    """Return how many seconds a name is locked for after so many failures in a row."""
    beyond = failures - FREE_FAILURES - 1
    return 0 if beyond < 0 else min(FIRST_LOCK * 2 ** min(beyond, 30), LONGEST_LOCK)
