"""`engine audit`: the chain verified, its rows exported."""

import csv
import sqlite3

import pytest

from engine.cli import main
from engine.permissions import SYSTEM, Actor
from engine.records.cohort import Cohort
from tests.installations import audit_in


@pytest.fixture(autouse=True)
def audit(tmp_path, monkeypatch):
    """The audit of an installation, with three rows."""
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "data"))
    audit = audit_in(tmp_path / "data")
    for name in ("Dr Alvarez", "Dr Sato", "Dr Alvarez"):
        audit.write(Actor(name, "clinician"), "sign in", {})
    return audit


@pytest.fixture
def command(capsys):
    """Run a command; return its exit code, and what it printed."""

    def run(*words) -> tuple[int, str]:
        code = main(["audit", *map(str, words)])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def test_a_whole_audit_is_verified_and_its_last_row_can_be_noted_down(command, audit):
    code, printed = command("verify")
    assert code == 0
    said, noted = printed.splitlines()
    assert said.startswith("3 rows")
    audit.write(SYSTEM, "sign in", {})
    assert command("verify", "--expect", noted)[0] == 0


def test_a_row_noted_down_from_another_audit_is_missed(command):
    code, printed = command("verify", "--expect", f"3:{'a' * 64}")
    assert (code, "row 3 is another one" in printed) == (2, True)
    code, printed = command("verify", "--expect", f"9:{'a' * 64}")
    assert (code, "row 9 is missing" in printed) == (2, True)


@pytest.mark.parametrize("noted", ["", "3", "x:y", "٣:a", ":a", "3:", "9" * 30 + ":a"])
def test_what_was_not_noted_so_is_said(command, noted):
    code, printed = command("verify", "--expect", noted)
    assert (code, "expected NUMBER:SEAL" in printed) == (2, True)


def test_a_changed_row_is_named_in_one_line_with_exit_code_2(command, audit):
    with sqlite3.connect(audit.database) as connection:
        connection.execute("DROP TRIGGER audit_no_update")
        connection.execute("UPDATE audit SET account = 'Dr Okafor' WHERE number = 2")
    code, printed = command("verify")
    assert code == 2
    assert printed.startswith("error: ")
    assert "row 2 was edited" in printed
    assert len(printed.splitlines()) == 1


def test_a_key_that_others_can_read_is_warned_of(command, audit):
    audit.files.key_file.chmod(0o644)
    code, printed = command("verify")
    assert (code, "warning: " in printed, "chmod 600" in printed) == (0, True, True)


def test_a_lost_head_can_be_accepted(command, audit):
    audit.files.head_file.unlink()
    assert command("verify")[0] == 2
    assert command("verify", "--accept-end")[0] == 0
    assert command("verify")[0] == 0


def test_an_audit_without_rows_is_whole(command, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "new"))
    assert command("verify") == (0, "the audit has no row yet\n")


def test_rows_are_exported_by_filter(command, tmp_path):
    file = tmp_path / "audit.csv"
    code, printed = command("export", file, "--account", "Dr Sato", "--action", "sign in")
    assert (code, printed) == (0, f"1 row written: {file}\n")
    (row,) = csv.DictReader(file.open(encoding="utf-8", newline=""))
    assert (row["number"], row["account"]) == ("2", "Dr Sato")


def test_the_rows_of_a_patient_are_found_by_id(command, audit, tmp_path, tiny_cohort):
    pseudonym = audit.pseudonym(Cohort.open(tiny_cohort).fingerprint, "17")
    audit.write(Actor("Dr Sato", "clinician"), "patient opened", {"patient": pseudonym})
    file = tmp_path / "audit.csv"
    assert command("export", file, "--patient", "17", "--cohort", tiny_cohort)[0] == 0
    (row,) = csv.DictReader(file.open(encoding="utf-8", newline=""))
    assert row["action"] == "patient opened"
    newest = audit.rows(SYSTEM, limit=1)[0]
    assert "17" not in newest.details.replace(pseudonym, "")
    code, printed = command("export", file, "--patient", "17")
    assert (code, "--cohort" in printed) == (2, True)


def test_an_export_into_a_folder_that_is_not_there_is_said(command, tmp_path, audit):
    code, printed = command("export", tmp_path / "nowhere" / "audit.csv")
    assert (code, printed.startswith("error: ")) == (2, True)
    assert audit.count(SYSTEM) == 3


def test_a_day_that_is_none_is_said(command, tmp_path):
    code, printed = command("export", tmp_path / "audit.csv", "--since", "soon")
    assert (code, "since: expected a day" in printed) == (2, True)
    assert not (tmp_path / "audit.csv").exists()
