"""The SQLite file: how it is opened, and that a broken one is named."""

import sqlite3

import pytest

from engine import store
from engine.errors import WorkbenchError


def test_the_file_and_its_folder_are_made_and_write_ahead_logged(tmp_path):
    path = tmp_path / "data" / "workbench.sqlite"
    with store.opened(path) as database:
        database["notes"].insert({"text": "kept"})
        database.commit()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT text FROM notes").fetchone() == ("kept",)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_that_is_no_database_is_named(tmp_path):
    path = tmp_path / "workbench.sqlite"
    path.write_text("not a database " * 100)
    with (
        pytest.raises(WorkbenchError, match="workbench.sqlite.*move the file away"),
        store.opened(path),
    ):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "data").write_text("a file where a folder should be")
    path = tmp_path / "data" / "workbench.sqlite"
    with pytest.raises(WorkbenchError, match="WORKBENCH_DATA"), store.opened(path):
        pass
