"""The SQLite file of an installation, `workbench.sqlite`: opened, or what is wrong with it said.

    with store.opened(path) as database:        # to read
    with store.transaction(path) as database:   # to write: all of it or nothing

Its tables are brought up to date when it is opened (`engine/migrations.py`).
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlite_utils

from engine import migrations
from engine.errors import WorkbenchError

LOCK_TIMEOUT = 60  # seconds a writer waits for another one

START_ANEW = (
    "put back a whole copy, or move the file away to start anew, "
    "without its accounts, audit and registered versions"
)
MEND = {  # by SQLite's primary result code
    sqlite3.SQLITE_BUSY: "another process has been writing to it for too long; try again, and "
    "stop that process if it does not end",
    sqlite3.SQLITE_FULL: "free some disk space and try again",
    sqlite3.SQLITE_READONLY: "let this user write to the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "let this user read and write the file and its folder",
    sqlite3.SQLITE_IOERR: "check the disk, and that this user may write to the file's folder",
    sqlite3.SQLITE_CORRUPT: START_ANEW,
    sqlite3.SQLITE_NOTADB: START_ANEW,
}


class Transaction(sqlite_utils.Database):
    """A database within `transaction`: what is asked for here happens once it is committed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self._afterwards: list[Callable[[], None]] = []

    def after_commit(self, act: Callable[[], None]) -> None:
        """Have `act` called when everything is written; not called when it is rolled back."""
        self._afterwards.append(act)


@contextmanager
def opened(path: Path) -> Iterator[sqlite_utils.Database]:
    """Give a connection for one operation: the app's threads cannot share one.

    The file and its folder are made when missing. It is write-ahead logged, so that readers and
    the writer do not wait for each other.

    Raises WorkbenchError naming the file when it cannot be opened, read or written.
    """
    with _connected(path, sqlite_utils.Database) as database:
        yield database


@contextmanager
def transaction(path: Path) -> Iterator[Transaction]:
    """Give a connection whose writing happens whole, at the end of the block, or not at all.

    Nobody else writes meanwhile; whoever wants to waits for `LOCK_TIMEOUT` seconds. Any exception
    within the block undoes all of it.

    Raises WorkbenchError naming the file as `opened` does, or when others write for too long.
    """
    with _connected(path, Transaction) as database:
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
            database.commit()
        finally:
            database.rollback()
        for act in database._afterwards:
            act()


def held_open(path: Path) -> sqlite3.Connection:
    """Return a connection that does nothing, for a server to keep while it runs.

    When the last connection closes, SQLite moves the whole log into the file and waits for the
    disk. With one that stays, each of the short ones above ends at once.
    """
    with opened(path):
        connection = sqlite3.connect(path, check_same_thread=False)
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return connection


@contextmanager
def _connected(path: Path, kind: type) -> Iterator:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        connection = sqlite3.connect(path, timeout=LOCK_TIMEOUT)
    except (OSError, sqlite3.Error) as error:
        raise WorkbenchError(
            f"{path}: cannot be opened or made ({error}); "
            "choose a writable folder with WORKBENCH_DATA."
        ) from error
    try:
        database = kind(connection)
        _write_ahead(database)
        if is_new:
            path.chmod(0o600)  # it holds patients and hashes of passwords: nobody else's
        migrations.apply(database, path)
        yield database
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        mend = MEND.get(code, "nothing was changed; restart the workbench and try again")
        raise WorkbenchError(f"{path}: cannot be read or written ({error}); {mend}.") from error
    finally:
        connection.close()


def _write_ahead(database: sqlite_utils.Database) -> None:
    """Have the file write-ahead logged. SQLite does not wait for others here: we try again."""
    until = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            database.enable_wal()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
