"""The audit: who did what and when, in rows that cannot be changed without it being seen.

    with store.transaction(path) as database:
        ...                                                    # the action
        audit.record(database, actor, "version promoted", {...})   # or neither happens

Each row carries an HMAC-SHA256 over its content and the HMAC of the row before (a hash chain, as
in B. Schneier and J. Kelsey, "Secure Audit Logs to Support Computer Forensics", 1999). The key lies
in a file beside the database, and `audit.head` beside the key knows the last row, so that rows cut
off at the end are missed too. What this cannot prove is in `docs/accounts.md`.
"""

import csv
import hmac
import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO

from engine import permissions, store
from engine.audit_key import BEFORE_THE_FIRST, AuditKey
from engine.errors import WorkbenchError
from engine.migrations import AUDIT_TRIGGERS
from engine.permissions import Actor

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run
CANONICAL = json.JSONEncoder(separators=(",", ":"), default=repr)  # one text for the same cells


@dataclass(frozen=True)
class Entry:
    """A row of the audit: `at` is UTC (ISO 8601, microseconds), `details` is JSON."""

    number: int
    at: str
    account: str
    role: str
    action: str
    details: str
    previous: str
    hmac: str


COLUMNS = tuple(field.name for field in fields(Entry))


class Audit:
    """The audit of an installation.

    Args:
        database: the SQLite file of the installation.
        key_file: its key, 32 random bytes as hex; made with the first row.
        now: gives the time in UTC; for tests.
    """

    def __init__(
        self,
        database: Path,
        key_file: Path,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.database = Path(database)
        self.files = AuditKey(Path(key_file))
        self._now = now

    # ------------------------------------------------------------------ writing

    def record(
        self, database: store.Transaction, actor: Actor | str, action: str, details: dict
    ) -> int:
        """Add a row within the transaction of the action it tells of; return its number.

        Args:
            database: what `store.transaction` gave: both are written, or neither.
            actor: who acted; a name alone where nobody is signed in, as in a refused sign-in.
            action: what was done, in the words that the page Audit filters by.
            details: JSON values. A patient stands in it only as `patient`: `pseudonym(…)`.

        Raises WorkbenchError when the key or `audit.head` cannot be read or written.
        """
        if not isinstance(database, store.Transaction) or not database.conn.in_transaction:
            raise RuntimeError("the audit is written within store.transaction of the action")
        actor = Actor(actor, "") if isinstance(actor, str) else actor
        last = database.execute(
            "SELECT number, at, hmac FROM audit ORDER BY number DESC LIMIT 1"
        ).fetchone() or (0, "", BEFORE_THE_FIRST)
        key = self.files.key(make=last[0] == 0)
        number, previous = last[0], last[2]
        head = self.files.head()
        if head and head[0] > number:  # rows are missing: the gap in the numbers keeps saying so
            number, previous = head
        clock = self._now().astimezone(UTC).isoformat(timespec="microseconds")
        if clock < last[1]:  # it was set back
            details = {**details, "clock": clock}
        content = (
            number + 1,
            max(clock, last[1]),
            actor.name,
            actor.role,
            action,
            json.dumps(details, sort_keys=True, separators=(",", ":"), allow_nan=False),
            previous,
        )
        sealed = _sealed(key, content)
        database.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [*content, sealed])
        database.after_commit(lambda: self.files.move_head(number + 1, sealed))
        return number + 1

    def write(self, actor: Actor | str, action: str, details: dict) -> int:
        """Add a row about something that changes nothing else; return its number."""
        with store.transaction(self.database) as database:
            return self.record(database, actor, action, details)

    def pseudonym(self, cohort: str, patient_id: str) -> str:
        """Return what stands for a patient of a cohort (its fingerprint): 16 hex digits.

        Without the key nobody can tell which patient it is; with it, an id typed by an auditor
        finds its rows.
        """
        return self.keyed(f"{cohort} {patient_id}")[:16]

    def keyed(self, text: str) -> str:
        """Return the HMAC-SHA256 of a text under the key of the audit, as hex."""
        with store.opened(self.database) as database:
            empty = database.execute("SELECT 1 FROM audit LIMIT 1").fetchone() is None
        key = self.files.key(make=empty)
        return hmac.digest(key, text.encode("utf-8", "replace"), "sha256").hex()

    # ------------------------------------------------------------------ reading

    def rows(
        self,
        actor: Actor | None,
        *,
        account: str | None = None,
        action: str | None = None,
        since: date | datetime | str | None = None,
        until: date | datetime | str | None = None,
        patient: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Entry]:
        """Return rows that fulfil every condition, the newest first.

        Args:
            actor: who asks; needs "read audit".
            account: the name as it stands in the row, in any case.
            since, until: UTC; a day is meant as a whole, both ends included.
            patient: a `pseudonym`.
        """
        permissions.require(actor, "read audit")
        with store.opened(self.database) as database:
            where, values = _conditions(account, action, since, until, patient)
            query = f"SELECT * FROM audit{where} ORDER BY number DESC LIMIT ? OFFSET ?"
            return [Entry(*row) for row in database.execute(query, [*values, limit, offset])]

    def count(self, actor: Actor | None, **filters) -> int:
        """Return how many rows `rows` would give with the same filters and no limit."""
        permissions.require(actor, "read audit")
        with store.opened(self.database) as database:
            where, values = _conditions(**filters)
            return database.execute(f"SELECT count(*) FROM audit{where}", values).fetchone()[0]

    def choices(self, actor: Actor | None) -> dict[str, list[str]]:
        """Return what there is to filter by: every `account` and every `action`, in order."""
        permissions.require(actor, "read audit")
        with store.opened(self.database) as database:
            return {
                column: [
                    value
                    for (value,) in database.execute(
                        f"SELECT DISTINCT {column} FROM audit ORDER BY {column}"
                    )
                ]
                for column in ("account", "action")
            }

    def export(self, actor: Actor | None, target: Path | IO[str], **filters) -> int:
        """Write rows as CSV, the oldest first, and record that; return how many.

        The rows are those before this export. A file appears whole or not at all.

        Args:
            actor: who asks; needs "export audit".
            target: a path, or an open text file.
            filters: those of `rows`.
        """
        permissions.require(actor, "export audit")
        said = {name: str(value) for name, value in filters.items() if value is not None}
        if not isinstance(target, str | Path):
            count = self._copy(target, filters)
            self.write(actor, "audit exported", {"rows": count, **said})
            return count
        target = Path(target)
        building = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        try:
            with building.open("w", encoding="utf-8", newline="") as file:
                count = self._copy(file, filters)
            self.write(actor, "audit exported", {"rows": count, **said})
            building.replace(target)
        finally:
            building.unlink(missing_ok=True)
        return count

    def verify(self) -> tuple[int, str]:
        """Check every row; return the number and HMAC of the last one (0 where there is none).

        Whoever writes these two down elsewhere can later tell whether that row still stands.

        Raises WorkbenchError naming the first row that is missing, was edited or does not follow
        the one before, and how many do so in all.
        """
        head = self.files.head()  # before the rows: it is never ahead of them
        with store.opened(self.database) as database:
            database.conn.text_factory = partial(str, encoding="utf-8", errors="replace")
            rows = database.execute("SELECT * FROM audit ORDER BY number")
            first = rows.fetchone()
            if not first and not head:
                return 0, BEFORE_THE_FIRST
            key = self.files.key(make=False)
            last, problems = _check(key, first, rows, head)
            found = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            missing = sorted(set(AUDIT_TRIGGERS) - {name for (name,) in found})
        if missing:
            problems.append(f"the table has lost what keeps its rows from changing ({missing[0]})")
        if problems:
            more = f" ({len(problems)} such findings in all)" if problems[1:] else ""
            raise WorkbenchError(
                f"{self.database}: audit: {problems[0]}{more}; compare with a copy of the file, "
                "and find out who could write to it."
            )
        self.files.move_head(*last)
        return last

    def expect(self, number: int, seal: str) -> None:
        """Check that a row noted down earlier still stands: with `verify`, all before it does too.

        Raises WorkbenchError when it is missing or another one.
        """
        with store.opened(self.database) as database:
            row = database.execute("SELECT hmac FROM audit WHERE number = ?", [number]).fetchone()
        if row != (seal,):
            found = "is another one" if row else "is missing"
            raise WorkbenchError(
                f"{self.database}: audit: row {number} {found}, not the one noted down; "
                "the audit was replaced or cut. Compare with a copy of the file."
            )

    def accept_end(self, actor: Actor) -> None:
        """Take the end of the table as it stands, where `audit.head` was lost; recorded."""
        permissions.require(actor, "manage accounts")
        with store.transaction(self.database) as database:
            last = database.execute(
                "SELECT number, hmac FROM audit ORDER BY number DESC LIMIT 1"
            ).fetchone() or (0, BEFORE_THE_FIRST)
            self.files.make_head(*last)
            self.record(database, actor, "audit end accepted", {"row": last[0]})

    def _copy(self, file: IO[str], filters: dict) -> int:
        """Write the rows that fulfil the filters as CSV; return how many."""
        where, values = _conditions(**filters)
        with store.opened(self.database) as database:
            rows = database.execute(f"SELECT * FROM audit{where} ORDER BY number", values)
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            count = 0
            for row in rows:
                writer.writerow([_harmless(cell) for cell in row])
                count += 1
            return count


def _sealed(key: bytes, content: Iterable) -> str:
    """Return the HMAC of a row's cells, all but the last."""
    return hmac.digest(key, CANONICAL.encode(list(content)).encode(), "sha256").hex()


def _check(
    key: bytes, first: tuple | None, rows: Iterable[tuple], head: tuple[int, str] | None
) -> tuple[tuple[int, str], list[str]]:
    """Return number and HMAC of the last row, and what is wrong, in the order of the rows."""
    number, previous = 0, BEFORE_THE_FIRST
    problems = []
    for row in chain([first] if first else [], rows):
        if row[0] > number + 1:
            problems.append(f"{_rows(number + 1, row[0] - 1)} missing before row {row[0]}")
        elif row[6] != previous:
            problems.append(f"row {row[0]} does not follow the row before it")
        if _sealed(key, row[:-1]) != row[7]:
            problems.append(f"row {row[0]} was edited, or moved, or sealed with another key")
        number, previous = row[0], row[7]
        if head and head[0] == number and head[1] != previous:
            problems.append(f"row {number} is not the one that audit.head tells of")
    if head is None:
        problems.append(
            "audit.head is missing, so that rows cut off at the end would not be noticed; put it "
            "back, or take the end as it stands (engine audit verify --accept-end)"
        )
    elif head[0] > number:
        problems.append(f"{_rows(number + 1, head[0])} missing at the end")
    return (number, previous), problems


def _rows(first: int, last: int) -> str:
    return f"row {first} is" if first == last else f"rows {first} to {last} are"


def _conditions(
    account: str | None = None,
    action: str | None = None,
    since: date | datetime | str | None = None,
    until: date | datetime | str | None = None,
    patient: str | None = None,
) -> tuple[str, list[str]]:
    """Return a WHERE clause and its values."""
    asked = {
        "account = ?": account,
        "action = ?": action,
        "at >= ?": _moment(since, "since") if since else None,
        "at <= ?": _moment(until, "until", end=True) if until else None,
        "instr(details, ?)": f'"patient":{json.dumps(patient)}' if patient else None,
    }
    given = {condition: value for condition, value in asked.items() if value is not None}
    return (" WHERE " + " AND ".join(given) if given else ""), list(given.values())


def _moment(given: date | datetime | str, field: str, end: bool = False) -> str:
    """Return a time as rows have it; a day is its beginning, or its `end`."""
    if isinstance(given, str):
        try:
            given = (date if len(given) == 10 else datetime).fromisoformat(given)
        except ValueError:
            raise WorkbenchError(
                f"{field}: expected a day such as 2026-01-31 or a time such as "
                f"2026-01-31T12:00, not {given[:40]!r}."
            ) from None
    if not isinstance(given, datetime):
        given = datetime.combine(given, time.max if end else time.min)
    if given.tzinfo is None:
        given = given.replace(tzinfo=UTC)
    return given.astimezone(UTC).isoformat(timespec="microseconds")


def _harmless(cell: object) -> object:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell
