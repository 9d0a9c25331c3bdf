"""`python -m engine ingest`: the funnel on screen, or one line and exit code 2."""

import subprocess
import sys

import pytest

from engine.cli import main
from engine.records.cohort import Cohort
from tests.tables import rows, write_tables


def test_it_prints_the_funnel_and_writes_the_cohort(tmp_path, capsys):
    given = [*rows("prescriptions"), *[rows("prescriptions")[-1]] * 4]
    tables = write_tables(tmp_path / "in", prescriptions=given)
    code = main(["ingest", "mimic-iv", str(tables), str(tmp_path / "cohort"), "--split-seed", "5"])
    printed = capsys.readouterr().out
    assert code == 0
    assert "prescriptions" in printed and "Zzyzxol Unheardof" in printed
    assert Cohort.open(tmp_path / "cohort").manifest["options"]["split_seed"] == 5


def test_bad_input_is_one_line_and_exit_code_two(tmp_path, capsys):
    tables = write_tables(tmp_path / "in", admissions=None)
    assert main(["ingest", "mimic-iv", str(tables), str(tmp_path / "cohort")]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ") and "admissions is missing" in lines[0]
    assert not (tmp_path / "cohort").exists()


def test_force_replaces_a_cohort(tmp_path, capsys):
    tables = write_tables(tmp_path / "in")
    command = ["ingest", "mimic-iv", str(tables), str(tmp_path / "cohort")]
    assert main(command) == 0
    assert main(command) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0


@pytest.mark.parametrize("source", ["mimic-iii", "omop"])
def test_tables_of_another_layout_are_recognised(tmp_path, capsys, source):
    tables = write_tables(tmp_path / "in")
    assert main(["ingest", source, str(tables), str(tmp_path / "cohort")]) == 2
    assert "or use `ingest mimic-iv`" in capsys.readouterr().err
    (tables / "patients.csv").write_text("subject_id\n1\n")
    assert main(["ingest", source, str(tables), str(tmp_path / "cohort")]) == 2
    assert "or use" not in capsys.readouterr().err


def test_a_reader_who_has_seen_enough_is_no_error(tiny_cohort):
    patient = Cohort.open(tiny_cohort).patient_ids()[0]
    command = f"{sys.executable} -m engine prompt {tiny_cohort} --patient {patient} | head -c 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
