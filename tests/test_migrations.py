"""The tables of the store are brought up to date once, whole, and never by an older workbench."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from engine import migrations, store
from engine.errors import WorkbenchError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "workbench.sqlite"


def tables(path) -> set[str]:
    with store.opened(path) as database:
        return set(database.table_names())


def test_a_new_file_has_every_table(path):
    wanted = {"accounts", "sessions", "audit", "versions", "aliases", "decisions"}
    assert wanted <= tables(path)


def test_each_step_is_applied_once(path):
    for _ in range(2):
        with store.opened(path) as database:
            steps = [row["name"] for row in database["_migrations"].rows]
    assert steps == [step.__name__ for step in migrations.STEPS]


def test_steps_are_numbered_in_order():
    numbers = [int(step.__name__.split("_")[1]) for step in migrations.STEPS]
    assert numbers == list(range(1, len(numbers) + 1))


def test_many_may_open_a_new_file_at_once(path):
    with ThreadPoolExecutor(8) as threads:
        seen = list(threads.map(lambda _: tables(path), range(16)))
    assert all(one == seen[0] for one in seen)


def test_a_file_from_before_migrations_keeps_what_it_has(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE patient_indexes (number INTEGER, name TEXT)")
        connection.execute("INSERT INTO patient_indexes VALUES (1, 'kept')")
    with store.opened(path) as database:
        assert [row["name"] for row in database["patient_indexes"].rows] == ["kept"]
        assert database["accounts"].exists()


def test_a_step_that_fails_leaves_the_file_as_it_was(path, monkeypatch):
    before = tables(path)

    def step_99_half(database):
        database.execute("CREATE TABLE half (done INTEGER)")
        raise sqlite3.OperationalError("no more")

    monkeypatch.setattr(migrations, "STEPS", (*migrations.STEPS, step_99_half))
    with pytest.raises(WorkbenchError, match="no more"), store.opened(path):
        pass
    monkeypatch.undo()
    assert tables(path) == before


def test_a_file_of_a_newer_workbench_is_left_alone(path, monkeypatch):
    tables(path)
    newest = migrations.STEPS[-1].__name__
    monkeypatch.setattr(migrations, "STEPS", migrations.STEPS[:-1])
    with pytest.raises(WorkbenchError, match=f"newer workbench.*{newest}"), store.opened(path):
        pass
