"""The audit: written with its action or not at all, and nothing changes in it unseen."""

import csv
import io
import json
import multiprocessing
import os
import signal
import sqlite3
import threading
from datetime import date

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine import store
from engine.audit import Audit
from engine.errors import WorkbenchError
from engine.migrations import AUDIT_TRIGGERS
from engine.permissions import SYSTEM, Actor
from tests.installations import Clock, audit_in

CLINICIAN = Actor("Dr Alvarez", "clinician")
AUDITOR = Actor("Auditor", "auditor")
ROWS = 8


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def audit(tmp_path, clock):
    return audit_in(tmp_path, clock)


@pytest.fixture
def written(audit, clock):
    """The audit with eight rows, one a minute."""
    for number in range(ROWS):
        audit.write(CLINICIAN, "patient opened", {"patient": audit.pseudonym("c", str(number))})
        clock.turn(60)
    return audit


def tamper(audit, *statements: str) -> None:
    """Do what somebody with the SQLite file and no scruples can: drop the triggers, then more."""
    connection = sqlite3.connect(audit.database, isolation_level=None)
    kept = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for trigger in AUDIT_TRIGGERS:
        connection.execute(f"DROP TRIGGER {trigger}")
    for statement in statements:
        connection.execute(statement)
    for (sql,) in kept:
        connection.execute(sql)
    connection.close()


# ------------------------------------------------------------------ with its action, or neither


def test_a_row_says_who_did_what_and_when(audit):
    number = audit.write(CLINICIAN, "decision saved", {"items": ["A02B"], "cohort": "Ω"})
    (row,) = audit.rows(SYSTEM)
    assert (row.number, row.account, row.role) == (number, "Dr Alvarez", "clinician")
    assert (row.action, row.at) == ("decision saved", "2026-01-31T12:00:00.000000+00:00")
    assert json.loads(row.details) == {"cohort": "Ω", "items": ["A02B"]}
    assert audit.verify() == (number, row.hmac)


def act(audit, fail: bool = False) -> None:
    """An action as the workbench has them: a change and its row, in one transaction."""
    with store.transaction(audit.database) as database:
        database["done"].insert({"what": "promoted"})
        audit.record(database, SYSTEM, "version promoted", {})
        if fail:
            raise RuntimeError("power")


def is_done(audit) -> bool:
    with store.opened(audit.database) as database:
        return database["done"].exists() and database["done"].count > 0


def test_an_action_that_fails_leaves_no_row(audit):
    with pytest.raises(RuntimeError, match="power"):
        act(audit, fail=True)
    assert (is_done(audit), audit.count(SYSTEM), audit.files.head()[0]) == (False, 0, 0)


@pytest.mark.parametrize("loss", ["key lost", "key damaged", "head damaged", "table lost"])
def test_where_the_audit_cannot_be_written_the_action_does_not_happen(written, loss):
    if loss == "key lost":
        written.files.key_file.unlink()
    elif loss == "key damaged":
        written.files.key_file.write_text("0" * 63)
    elif loss == "head damaged":
        written.files.head_file.write_text("")
    else:
        with sqlite3.connect(written.database) as connection:
            connection.execute("ALTER TABLE audit RENAME TO elsewhere")
    with pytest.raises(WorkbenchError, match="audit"):
        act(written)
    assert not is_done(written)


def test_a_row_is_written_only_in_a_transaction_that_can_be_undone(audit):
    with store.opened(audit.database) as database, pytest.raises(RuntimeError, match="transaction"):
        audit.record(database, SYSTEM, "sign in", {})
    with store.transaction(audit.database) as database:
        database.commit()
        with pytest.raises(RuntimeError, match="transaction"):
            audit.record(database, SYSTEM, "sign in", {})
    assert audit.count(SYSTEM) == 0


def test_a_key_that_cannot_be_made_is_said(tmp_path):
    audit = Audit(tmp_path / "workbench.sqlite", tmp_path / "nowhere" / "audit.key")
    (tmp_path / "nowhere").write_text("a file where a folder should be")
    with pytest.raises(WorkbenchError, match="audit.key: cannot be"):
        act(audit)
    assert not is_done(audit)


@pytest.mark.parametrize("patience", ["enough", "not enough"])
def test_another_process_holding_the_database_is_waited_for(written, patience, monkeypatch):
    holder = sqlite3.connect(written.database, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    holder.execute("CREATE TABLE theirs (number INTEGER)")
    monkeypatch.setattr(store, "LOCK_TIMEOUT", 60 if patience == "enough" else 0.05)
    began, refused = threading.Event(), []

    def wait_and_act():
        began.set()
        try:
            act(written)
        except WorkbenchError as error:
            refused.append(str(error))

    waiting = threading.Thread(target=wait_and_act)
    waiting.start()
    assert began.wait(60)
    if patience == "not enough":
        waiting.join(60)
    holder.execute("COMMIT")
    holder.close()
    waiting.join(60)
    assert not waiting.is_alive()
    if patience == "enough":
        assert (refused, is_done(written)) == ([], True)
    else:
        assert "another process has been writing" in refused[0]
        assert not is_done(written)
    assert written.verify()[0] == ROWS + is_done(written)


def append(folder, name: str, rows: int, together) -> None:
    audit = audit_in(folder)
    together.wait()
    for number in range(rows):
        audit.write(Actor(name, "clinician"), "patient opened", {"turn": number})


def test_two_processes_writing_at_once_keep_one_chain(tmp_path):
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(2)
    both = [
        context.Process(target=append, args=(tmp_path, name, 15, together)) for name in ("a", "b")
    ]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    audit = audit_in(tmp_path)
    assert audit.verify()[0] == audit.files.head()[0] == 30
    assert audit.count(SYSTEM, account="a") == 15


def die(folder, moment: str) -> None:
    """Be killed while writing, or right after it and before audit.head is moved."""

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    audit = audit_in(folder)
    with store.transaction(audit.database) as database:
        if moment == "after":
            database.after_commit(kill)
        audit.record(database, CLINICIAN, "decision saved", {})
        database["done"].insert({"what": "decision"})
        if moment == "while":
            kill()


@pytest.mark.parametrize(("moment", "rows"), [("while", ROWS), ("after", ROWS + 1)])
def test_a_process_that_is_killed_leaves_action_and_row_or_neither(written, moment, rows):
    folder = written.database.parent
    process = multiprocessing.get_context("spawn").Process(target=die, args=(folder, moment))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert is_done(written) == (rows > ROWS)
    assert written.files.head()[0] == ROWS
    assert written.verify()[0] == written.files.head()[0] == rows
    assert written.write(SYSTEM, "sign in", {}) == rows + 1
    assert written.verify()[0] == rows + 1


def test_a_head_damaged_after_the_action_does_not_call_it_failed(written, caplog):
    with store.transaction(written.database) as database:
        written.record(database, SYSTEM, "sign in", {})
        written.files.head_file.write_text("")
    assert "audit.head" in caplog.text
    assert written.count(SYSTEM) == ROWS + 1


# ------------------------------------------------------------------ the clock


def test_a_clock_set_back_never_makes_a_row_older_than_the_one_before(audit, clock):
    audit.write(SYSTEM, "sign in", {})
    clock.turn(-3600)
    audit.write(SYSTEM, "sign out", {})
    clock.turn(7200)
    audit.write(SYSTEM, "sign in", {})
    later, clamped, first = audit.rows(SYSTEM)
    assert clamped.at == first.at < later.at
    assert json.loads(clamped.details) == {"clock": "2026-01-31T11:00:00.000000+00:00"}
    assert json.loads(later.details) == {}
    assert audit.verify()[0] == 3


# ------------------------------------------------------------------ nothing changes unseen


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET account = 'nobody' WHERE number = 3",
        "DELETE FROM audit WHERE number = 8",
        "INSERT OR REPLACE INTO audit SELECT 3, at, 'nobody', role, action, details, previous, "
        "hmac FROM audit WHERE number = 3",
        "INSERT INTO audit SELECT -1, at, account, role, action, details, previous, hmac "
        "FROM audit WHERE number = 3",
    ],
)
def test_triggers_refuse_to_change_rows(written, statement):
    with (
        pytest.raises(WorkbenchError, match="rows of the audit"),
        store.transaction(written.database) as database,
    ):
        database.execute(statement)
    assert written.verify()[0] == ROWS


EDITS = {
    "account = 'Dr Okafor'": "row 3",
    "role = 'auditor'": "row 3",
    "at = '2026-01-31T12:02:00.000001+00:00'": "row 3",
    "action = 'sign in'": "row 3",
    "details = '{}'": "row 3",
    "details = x'ff00'": "row 3",
    "previous = hmac": "row 3",
    "hmac = previous": "row 3",
    "number = 300": "row 3 is missing",
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_row_is_named(written, edit):
    tamper(written, f"UPDATE audit SET {edit} WHERE number = 3")
    with pytest.raises(WorkbenchError, match=EDITS[edit]):
        written.verify()


def test_a_row_taken_from_the_middle_is_named_even_when_the_rest_moves_up(written):
    tamper(written, "DELETE FROM audit WHERE number = 4")
    with pytest.raises(WorkbenchError, match="row 4 is missing before row 5"):
        written.verify()
    tamper(written, "UPDATE audit SET number = number - 1 WHERE number > 4")
    with pytest.raises(WorkbenchError, match="row 4 does not follow.*findings"):
        written.verify()


def test_rows_that_changed_places_are_named(written):
    tamper(
        written,
        "UPDATE audit SET number = 100 WHERE number = 5",
        "UPDATE audit SET number = 5 WHERE number = 6",
        "UPDATE audit SET number = 6 WHERE number = 100",
    )
    with pytest.raises(WorkbenchError, match="row 5 does not follow"):
        written.verify()


def test_a_row_that_was_put_in_is_named(written):
    tamper(
        written,
        "INSERT INTO audit SELECT 9, at, account, role, action, details, hmac, hmac FROM audit "
        "WHERE number = 8",
    )
    with pytest.raises(WorkbenchError, match="row 9 was edited"):
        written.verify()


@pytest.mark.parametrize("kept", [7, 5, 0])
def test_an_end_that_was_cut_off_is_named(written, kept):
    tamper(written, f"DELETE FROM audit WHERE number > {kept}")
    missing = "row 8 is missing" if kept == 7 else f"rows {kept + 1} to 8 are missing"
    with pytest.raises(WorkbenchError, match=missing):
        written.verify()


def test_rows_written_after_a_cut_leave_its_gap(written):
    tamper(written, "DELETE FROM audit WHERE number > 5")
    assert written.write(SYSTEM, "sign in", {}) == 9
    with pytest.raises(WorkbenchError, match="rows 6 to 8 are missing before row 9"):
        written.verify()


def test_triggers_that_were_dropped_are_named(written):
    with sqlite3.connect(written.database) as connection:
        connection.execute("DROP TRIGGER audit_no_delete")
    with pytest.raises(WorkbenchError, match="audit_no_delete"):
        written.verify()


def test_another_key_seals_nothing(written):
    written.files.key_file.write_text("ab" * 32)
    with pytest.raises(WorkbenchError, match=f"row 1 was edited.*another key.*{ROWS} such"):
        written.verify()


@settings(max_examples=25, deadline=None)
@given(
    row=st.integers(1, ROWS),
    column=st.sampled_from(["at", "account", "role", "action", "details", "previous", "hmac"]),
    value=st.one_of(st.text(max_size=70), st.integers(-9, 9), st.floats(-1, 1), st.binary()),
)
def test_whatever_is_put_into_a_cell_is_seen(tmp_path_factory, row, column, value):
    audit = audit_in(tmp_path_factory.mktemp("audit"), Clock())
    with store.transaction(audit.database) as database:
        for number in range(ROWS):
            audit.record(database, CLINICIAN, "patient opened", {"visit": number})
    assert audit.verify()[0] == ROWS
    with sqlite3.connect(audit.database) as connection:
        before = connection.execute(f"SELECT {column} FROM audit WHERE number = {row}").fetchone()
        connection.execute("DROP TRIGGER audit_no_update")
        connection.create_function("put", 0, lambda: value)
        connection.execute(f"UPDATE audit SET {column} = put() WHERE number = {row}")
        after = connection.execute(f"SELECT {column} FROM audit WHERE number = {row}").fetchone()
    assume(before != after)
    with pytest.raises(WorkbenchError, match=f"row {row} "):
        audit.verify()


# ------------------------------------------------------------------ key and head


def test_key_and_head_are_for_their_owner_alone(written):
    for file in (written.files.key_file, written.files.head_file, written.database):
        assert file.stat().st_mode & 0o077 == 0
    assert not written.files.readable_by_others()
    written.files.key_file.chmod(0o644)
    assert written.files.readable_by_others()


def test_a_process_that_dies_before_it_moved_the_head_does_no_harm(written, monkeypatch):
    monkeypatch.setattr(type(written.files), "move_head", lambda *_: None)
    written.write(SYSTEM, "sign in", {})
    monkeypatch.undo()
    assert written.files.head()[0] == ROWS
    assert written.verify()[0] == ROWS + 1
    assert written.files.head()[0] == ROWS + 1


def test_the_head_never_goes_back(written):
    head = written.files.head()
    written.files.move_head(3, "0" * 64)
    assert written.files.head() == head


def test_a_lost_head_is_said_until_the_end_is_accepted(written):
    written.files.head_file.unlink()
    with pytest.raises(WorkbenchError, match="audit.head is missing.*accept-end"):
        written.verify()
    written.write(SYSTEM, "sign in", {})
    with pytest.raises(WorkbenchError, match="audit.head is missing"):
        written.verify()
    written.accept_end(SYSTEM)
    assert written.verify()[0] == ROWS + 2
    assert written.rows(SYSTEM)[0].action == "audit end accepted"


def test_a_head_that_tells_of_another_row_is_said(written):
    written.files.make_head(ROWS, "a" * 64)
    with pytest.raises(WorkbenchError, match="row 8 is not the one that audit.head tells of"):
        written.verify()


def test_a_row_noted_down_still_stands_or_is_missed(written):
    number, seal = written.verify()
    written.write(SYSTEM, "sign in", {})
    written.expect(number, seal)
    tamper(written, "DELETE FROM audit WHERE number > 5")
    last = written.rows(SYSTEM)[0]
    written.files.make_head(last.number, last.hmac)
    assert written.verify()[0] == 5
    with pytest.raises(WorkbenchError, match="row 8 is missing"):
        written.expect(number, seal)


# ------------------------------------------------------------------ reading


def test_an_empty_audit_is_whole(audit):
    assert audit.verify()[0] == 0
    assert (audit.rows(SYSTEM), audit.count(SYSTEM)) == ([], 0)


def test_a_patient_is_found_by_id_and_stands_nowhere(written):
    again = audit_in(written.database.parent)
    pseudonym = again.pseudonym("c", "5")
    (row,) = again.rows(SYSTEM, patient=pseudonym)
    assert row.number == 6
    assert len(pseudonym) == 16
    assert pseudonym != again.pseudonym("another cohort", "5")
    again.write(SYSTEM, "patient opened", {"patient": again.pseudonym("c", "CANARY-17")})
    for file in written.database.parent.iterdir():
        assert b"CANARY-17" not in file.read_bytes()


def test_rows_are_filtered_and_paged_newest_first(written, clock):
    clock.turn(24 * 3600)
    written.write(Actor("Auditor", "auditor"), "sign in", {})
    assert [row.number for row in written.rows(SYSTEM, limit=3, offset=1)] == [8, 7, 6]
    assert written.count(SYSTEM, account="Dr Alvarez") == ROWS
    assert written.count(SYSTEM, action="sign in") == 1
    assert written.count(SYSTEM, since=date(2026, 1, 31), until=date(2026, 1, 31)) == ROWS
    assert written.count(SYSTEM, since="2026-02-01") == 1
    assert written.count(SYSTEM, until="2026-01-31T12:02:00+00:00") == 3
    assert written.count(SYSTEM, since="2026-01-31T14:02+02:00", until="2026-01-31") == 6
    assert written.choices(SYSTEM)["action"] == ["patient opened", "sign in"]


@pytest.mark.parametrize("day", ["yesterday", "31.01.2026", "2026-02-31"])
def test_a_day_that_is_none_is_said(written, day):
    with pytest.raises(WorkbenchError, match="since: expected a day such as 2026-01-31"):
        written.count(SYSTEM, since=day)


def test_an_export_has_the_rows_and_is_itself_recorded(written, tmp_path):
    file = tmp_path / "audit.csv"
    assert written.export(AUDITOR, file, since="2026-01-31") == ROWS
    rows = list(csv.DictReader(file.open(encoding="utf-8", newline="")))
    assert [int(row["number"]) for row in rows] == list(range(1, ROWS + 1))
    newest = written.rows(SYSTEM, limit=1)[0]
    assert (newest.account, newest.action) == ("Auditor", "audit exported")
    assert json.loads(newest.details) == {"rows": ROWS, "since": "2026-01-31"}


def test_an_export_that_cannot_be_recorded_leaves_no_file(written, tmp_path):
    written.files.key_file.unlink()
    file, text = tmp_path / "audit.csv", io.StringIO()
    with pytest.raises(WorkbenchError, match="audit.key"):
        written.export(AUDITOR, file)
    assert not [path for path in tmp_path.iterdir() if "csv" in path.name]
    with pytest.raises(WorkbenchError, match="audit.key"):
        written.export(AUDITOR, text)


def test_no_cell_of_an_export_is_a_formula(audit):
    audit.write(Actor("=cmd()", "clinician"), "sign in", {})
    text = io.StringIO()
    audit.export(AUDITOR, text)
    assert next(csv.DictReader(io.StringIO(text.getvalue())))["account"] == "'=cmd()"
