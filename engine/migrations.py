"""The tables of `workbench.sqlite`, as numbered steps, each applied once when it is first opened.

A step that was released is never edited: a change of the tables is a new step at the end.
"""

from pathlib import Path

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from engine.errors import WorkbenchError

AUDIT_TRIGGERS = ("audit_no_update", "audit_no_delete", "audit_append_only")


def step_1_accounts(database: Database) -> None:
    database.execute(
        "CREATE TABLE accounts ("
        "key TEXT PRIMARY KEY, "  # the name as it is compared: no upper case
        "name TEXT NOT NULL, role TEXT NOT NULL, "
        "password TEXT, "  # its Argon2 hash; none for accounts of an identity provider
        "created_at TEXT NOT NULL, last_sign_in TEXT, "
        "disabled INTEGER NOT NULL DEFAULT 0, demonstration INTEGER NOT NULL DEFAULT 0)"
    )
    database.execute(
        "CREATE TABLE sessions ("
        "token TEXT PRIMARY KEY, "  # the SHA-256 of what the browser holds
        "account TEXT NOT NULL REFERENCES accounts(key), role TEXT NOT NULL, "
        "started REAL NOT NULL, seen REAL NOT NULL)"  # seconds since 1970
    )
    database.execute(
        "CREATE TABLE failed_sign_ins ("
        "name TEXT PRIMARY KEY, "  # keyed hash of what was typed, be there such an account or not
        "failures INTEGER NOT NULL, last REAL NOT NULL)"
    )


def step_2_audit(database: Database) -> None:
    database.execute(
        "CREATE TABLE audit ("
        "number INTEGER PRIMARY KEY, at TEXT NOT NULL, account TEXT NOT NULL, role TEXT NOT NULL, "
        "action TEXT NOT NULL, details TEXT NOT NULL, previous TEXT NOT NULL, hmac TEXT NOT NULL)"
    )
    for column in ("account", "action", "at"):
        database.execute(f"CREATE INDEX audit_{column} ON audit({column}, number)")
    for change in ("UPDATE", "DELETE"):
        database.execute(
            f"CREATE TRIGGER audit_no_{change.lower()} BEFORE {change} ON audit BEGIN "
            "SELECT RAISE(ABORT, 'rows of the audit cannot be changed'); END"
        )
    # INSERT OR REPLACE deletes without the trigger above
    database.execute(
        "CREATE TRIGGER audit_append_only BEFORE INSERT ON audit "
        "WHEN NEW.number <= (SELECT max(number) FROM audit) BEGIN "
        "SELECT RAISE(ABORT, 'rows of the audit are added at its end'); END"
    )


def step_3_versions(database: Database) -> None:
    database.execute(
        "CREATE TABLE versions ("
        "version TEXT PRIMARY KEY, status TEXT NOT NULL, created TEXT, "
        "registered_at TEXT NOT NULL, registered_by TEXT NOT NULL, reason TEXT, "
        "metrics TEXT, comparison TEXT, run TEXT)"  # JSON
    )
    database.execute("CREATE TABLE aliases (alias TEXT PRIMARY KEY, version TEXT NOT NULL)")


def step_4_decisions(database: Database) -> None:
    database.execute(
        "CREATE TABLE decisions ("
        "id INTEGER PRIMARY KEY, patient_id TEXT NOT NULL, visit_id TEXT NOT NULL, "
        "cohort TEXT NOT NULL, decided_at TEXT NOT NULL, account TEXT NOT NULL, "
        "versions TEXT NOT NULL, input_hash TEXT NOT NULL, items TEXT NOT NULL)"  # JSON
    )
    database.execute("CREATE INDEX decisions_patient ON decisions(cohort, patient_id)")


def step_5_runs(database: Database) -> None:
    database.execute(
        "CREATE TABLE runs ("
        "number INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL UNIQUE, "
        "submitted_at TEXT NOT NULL, requested_by TEXT NOT NULL, request TEXT NOT NULL, "  # JSON
        "attempt INTEGER NOT NULL, "  # raised when it is resumed
        "wanted TEXT NOT NULL CHECK (wanted IN ('run', 'cancel')))"
    )


def step_6_sealed_versions(database: Database) -> None:
    # The SHA-256 of a version's manifest when it was registered: it must never become another.
    database.execute("ALTER TABLE versions ADD COLUMN manifest TEXT")


def step_7_visits_of_decisions(database: Database) -> None:
    # When the visit began, so that it is found again in a cohort that was ingested anew.
    database.execute("ALTER TABLE decisions ADD COLUMN admitted TEXT")
    database.execute("CREATE INDEX decisions_of_patient ON decisions(patient_id)")


STEPS = (
    step_1_accounts,
    step_2_audit,
    step_3_versions,
    step_4_decisions,
    step_5_runs,
    step_6_sealed_versions,
    step_7_visits_of_decisions,
)


def apply(database: Database, path: Path) -> None:
    """Apply the steps that a database has not seen, all of them or none.

    Raises WorkbenchError naming `path` when a newer workbench has changed its tables.
    """
    migrations = _migrations()
    if not migrations.pending(database):
        _refuse_newer(migrations, database, path)
        return
    database.execute("BEGIN IMMEDIATE")  # whoever waits here finds nothing left to do
    try:
        _refuse_newer(migrations, database, path)
        migrations.apply(database)
        database.commit()
    finally:
        database.rollback()


def _migrations() -> Migrations:
    migrations = Migrations("workbench")
    migrations.migrations_table = "_migrations"
    for step in STEPS:
        migrations()(step)
    return migrations


def _refuse_newer(migrations: Migrations, database: Database, path: Path) -> None:
    known = {step.__name__ for step in STEPS}
    unknown = [step.name for step in migrations.applied(database) if step.name not in known]
    if unknown:
        raise WorkbenchError(
            f"{path}: was changed by a newer workbench ({unknown[0]}); "
            "install that version, or name another folder with WORKBENCH_DATA."
        )
