"""What tests of accounts and audit share: an installation, a clock to turn, quick passwords."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from argon2 import PasswordHasher

from engine.accounts import Accounts
from engine.audit import Audit
from engine.installation import Installation

PASSWORD = "correct horse battery"


class Clock:
    """Gives the time that a test has set."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 31, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def turn(self, seconds: float) -> None:
        """Move the hands, back where negative."""
        self.time += timedelta(seconds=seconds)


class CountingHasher(PasswordHasher):
    """The cheapest Argon2, counting how often it is asked to work."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.worked = 0

    def hash(self, password, **options) -> str:
        self.worked += 1
        return super().hash(password, **options)

    def verify(self, hash, password) -> bool:
        self.worked += 1
        return super().verify(hash, password)


def audit_in(folder: Path, clock: Clock | None = None) -> Audit:
    """The audit of an installation in a folder."""
    installation = Installation(folder)
    clocks = {"now": clock} if clock else {}
    return Audit(installation.database, installation.audit_key, **clocks)


def accounts_in(folder: Path, clock: Clock | None = None) -> Accounts:
    """The accounts of an installation in a folder, with a quick hasher."""
    clocks = {"now": clock} if clock else {}
    audit = audit_in(folder, clock)
    return Accounts(audit.database, audit, hasher=CountingHasher(), **clocks)
