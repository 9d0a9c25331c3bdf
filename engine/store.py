"""The SQLite file of an installation, `workbench.sqlite`: opened, or what is wrong with it said."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlite_utils

from engine.errors import WorkbenchError

LOCK_TIMEOUT = 60  # seconds a writer waits for another one


@contextmanager
def opened(path: Path) -> Iterator[sqlite_utils.Database]:
    """Give a connection for one operation: the app's threads cannot share one.

    The file and its folder are made when missing. It is write-ahead logged, so that readers and
    the writer do not wait for each other.

    Raises WorkbenchError naming the file when it cannot be opened, read or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=LOCK_TIMEOUT)
    except (OSError, sqlite3.Error) as error:
        raise WorkbenchError(
            f"{path}: cannot be opened or made ({error}); "
            "choose a writable folder with WORKBENCH_DATA."
        ) from error
    try:
        database = sqlite_utils.Database(connection)
        database.enable_wal()
        yield database
    except sqlite3.DatabaseError as error:
        raise WorkbenchError(
            f"{path}: the patient index cannot be read or written ({error}); "
            "move the file away and reload, it is built anew."
        ) from error
    finally:
        connection.close()
