"""The SQLite file: opened, written whole or not at all, and a broken one named."""

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


def test_the_file_is_for_its_owner_alone(tmp_path):
    path = tmp_path / "workbench.sqlite"
    with store.opened(path):
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}


def notes(path) -> list[str]:
    with store.opened(path) as database:
        return [row["text"] for row in database["notes"].rows]


def test_a_transaction_is_written_whole_and_then_what_was_asked_for_happens(tmp_path):
    path = tmp_path / "workbench.sqlite"
    seen = []
    with store.transaction(path) as database:
        database.after_commit(lambda: seen.append(notes(path)))
        for text in ("one", "two"):
            database["notes"].insert({"text": text})
        assert not seen
    assert seen == [["one", "two"]]


@pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt, WorkbenchError])
def test_a_transaction_that_is_interrupted_leaves_nothing(tmp_path, interruption):
    path = tmp_path / "workbench.sqlite"
    with store.transaction(path) as database:
        database["notes"].insert({"text": "before"})
    asked = []
    with pytest.raises(interruption), store.transaction(path) as database:
        database.after_commit(lambda: asked.append("happened"))
        database["notes"].insert_all([{"text": str(number)} for number in range(500)])
        database["others"].insert({"text": "new table"})
        raise interruption("in the middle")
    assert (notes(path), asked) == (["before"], [])
    with store.opened(path) as database:
        assert not database["others"].exists()


def test_readers_do_not_wait_for_a_writer(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "LOCK_TIMEOUT", 0)
    path = tmp_path / "workbench.sqlite"
    with store.transaction(path) as database:
        database["notes"].insert({"text": "before"})
    with store.transaction(path) as database:
        database["notes"].insert({"text": "being written"})
        assert notes(path) == ["before"]


def test_a_writer_that_waited_in_vain_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "LOCK_TIMEOUT", 0)
    path = tmp_path / "workbench.sqlite"
    told = "workbench.sqlite: .*another process has been writing to it for too long"
    with (
        store.transaction(path),
        pytest.raises(WorkbenchError, match=told),
        store.transaction(path),
    ):
        pass


def test_a_full_disk_is_said_and_loses_nothing(tmp_path):
    path = tmp_path / "workbench.sqlite"
    with store.transaction(path) as database:
        database["notes"].insert({"text": "before"})
    with (
        pytest.raises(WorkbenchError, match="free some disk space"),
        store.transaction(path) as database,
    ):
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {pages}")
        database["notes"].insert_all([{"text": "x" * 1000} for _ in range(100)])
    assert notes(path) == ["before"]


def test_what_is_wrong_with_a_statement_does_not_send_anybody_to_move_the_file(tmp_path):
    path = tmp_path / "workbench.sqlite"
    with pytest.raises(WorkbenchError) as said, store.opened(path) as database:
        database.execute("SELECT * FROM nothing")
    assert "move the file" not in str(said.value)
    assert "patient index" not in str(said.value)


def test_a_connection_held_open_lets_others_write_and_keeps_the_log(tmp_path):
    path = tmp_path / "workbench.sqlite"
    held = store.held_open(path)
    with store.transaction(path) as database:
        database["notes"].insert({"text": "kept"})
    assert path.with_name("workbench.sqlite-wal").stat().st_size > 0
    with store.opened(path) as database:
        assert [row["text"] for row in database["notes"].rows] == ["kept"]
    held.close()
