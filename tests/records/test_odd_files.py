"""What is no table at all: pipes, folders, links, huge rows; and places that cannot be written."""

import gzip
import os

import pytest

from engine.cli import main
from engine.errors import WorkbenchError
from engine.records import row_length
from engine.records.ingest import ingest
from engine.records.row_length import LONGEST_ROW, Guess, first_overlong
from tests.tables import as_csv, rows, write_tables

PLAIN = as_csv(rows("prescriptions"))
MEGABYTE = 1 << 20


def refused(tmp_path, capsys, out="out/cohort"):
    """Ingest on the command line: exit code 2, one line, nothing written; return the line."""
    code = main(["ingest", "mimic-iv", str(tmp_path / "in"), str(tmp_path / out)])
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert len(lines) == 1
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    return lines[0]


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "loop", "broken link"])
def test_what_is_not_a_file_is_never_opened(kind, tmp_path, capsys):
    place = write_tables(tmp_path / "in", patients=None) / "patients.csv"
    {
        "folder": place.mkdir,
        "pipe": lambda: os.mkfifo(place),
        "device": lambda: place.symlink_to("/dev/zero"),
        "loop": lambda: place.symlink_to(place),
        "broken link": lambda: place.symlink_to(tmp_path / "nowhere"),
    }[kind]()
    assert "patients.csv: is a folder, a pipe, a device or a link" in refused(tmp_path, capsys)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path, capsys):
    (write_tables(tmp_path / "in") / "patients.csv").chmod(0)
    assert "patients.csv: Permission denied" in refused(tmp_path, capsys)


BYTES = {
    "old Mac": (PLAIN.replace(b"\n", b"\r"), "lines end with CR alone"),
    "mixed ends": (PLAIN.replace(b"\n", b"\r\n", 3), "lines end in different ways"),
    "first line blank": (b"\n" + PLAIN, "the first line is blank"),
    "NUL": (PLAIN + b"\0" * 4096, "line 10 holds a NUL byte"),
    "UTF-16 without a mark": (PLAIN.decode().encode("utf-16-le"), "line 1 holds a NUL byte"),
    "no line end": (b"x" * 70_000, "the first line is longer than 64 KB"),
    "header over two lines, no rows": (
        PLAIN.split(b"\n")[0] + b',"two\nlines"\n',
        "has a header but no rows",
    ),
    "3 MB in quotes": (
        PLAIN.replace(b"Furosemide", b'"' + b"F\n" * (3 * MEGABYTE // 2) + b'"', 1),
        "a quotation mark opened on line 3 is not closed",
    ),
    "20 MB": (
        PLAIN.replace(b"Furosemide", b"F" * 20 * MEGABYTE, 1),
        "the row on line 3 is longer than 12 MB",
    ),
    "20 MB in quotes": (
        PLAIN.replace(b"Furosemide", b'"' + b"F\n" * 10 * MEGABYTE + b'"', 1),
        "the row on line 3 is longer than 12 MB",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BYTES)
def test_bytes_that_are_no_table_are_named(case, tmp_path, capsys):
    content, line = BYTES[case]
    write_tables(tmp_path / "in", prescriptions=content)
    said = refused(tmp_path, capsys)
    assert f"prescriptions.csv: {line}" in said or line in said


def test_a_field_of_ten_megabytes_is_one_row_dropped_and_counted(tmp_path):
    content = PLAIN.replace(b"Furosemide", b"F" * 10 * MEGABYTE, 1)
    write_tables(tmp_path / "in", prescriptions=content)
    count = ingest(tmp_path / "in", tmp_path / "cohort").tables[-1]
    assert count.read == 8
    assert count.dropped["line longer than 2 MB"] == 1


@pytest.mark.parametrize("size", [10, 20])
def test_a_quotation_left_open_in_a_large_file_loses_nothing_unseen(size, tmp_path, capsys):
    """DuckDB gives up on the quotation after 8 MB or so, and goes on far below it."""
    sound = PLAIN.split(b"\n", 1)[1]
    content = PLAIN + b'1,300,MAIN,"Furosemide,PO\n' + sound * (size * MEGABYTE // len(sound))
    write_tables(tmp_path / "in", prescriptions=content)
    assert "a quotation mark" in refused(tmp_path, capsys)


def test_rows_that_are_long_are_told_from_marks_that_mean_nothing():
    plain, stray = b"1,2,3\n" * 100_000, b'5" needle,2,3\n'
    chunks = [stray, *[plain] * (2 * LONGEST_ROW // len(plain))]
    guess = Guess()
    for chunk in chunks:
        guess.feed(chunk)
    assert guess.length > LONGEST_ROW  # the cheap guess is wrong about the inch
    assert first_overlong(chunks) is None
    split = [b'a,b\n1,"x"', b'"\n', b'"\n2,3\n', b'4,"', *[b"F\n" * 500_000] * 16]
    assert first_overlong(split) == 5


def test_an_ordinary_file_is_read_once(tmp_path, monkeypatch):
    monkeypatch.setattr(row_length, "first_overlong", None)
    quoted = b'"1","300","MAIN","Furosemide","PO"\r\n' * 600_000
    write_tables(tmp_path / "in", prescriptions=PLAIN.split(b"\n")[0] + b"\r\n" + quoted)
    assert ingest(tmp_path / "in", tmp_path / "cohort").tables[-1].read == 600_000


@pytest.mark.parametrize("kind", ["two members", "zeros after", "garbage after"])
def test_gzip_with_more_behind_it(kind, tmp_path, capsys):
    whole = gzip.compress(PLAIN)
    head, rest = PLAIN[:100], PLAIN[100:]
    content = {
        "two members": gzip.compress(head) + gzip.compress(rest),
        "zeros after": whole + b"\0" * 600,
        "garbage after": whole + b"garbage",
    }[kind]
    write_tables(tmp_path / "in", prescriptions=None)
    (tmp_path / "in" / "prescriptions.csv.gz").write_bytes(content)
    if kind != "two members":
        assert "is not a sound gzip file" in refused(tmp_path, capsys)
    else:
        assert ingest(tmp_path / "in", tmp_path / "cohort").tables[-1].read == 8


def test_a_cohort_below_a_file_or_behind_a_loop_is_refused(tmp_path, capsys):
    write_tables(tmp_path / "in")
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "file" in refused(tmp_path, capsys, "file/cohort")
    assert "leads to itself" in refused(tmp_path, capsys, "loop")


def test_same_instant_and_same_admission_of_two_patients_do_not_depend_on_order(tmp_path):
    admissions = rows("admissions")
    for row in admissions[:3]:
        row["admittime"] = "2150-03-01 10:00:00"
    twins = [
        admissions[3] | {"subject_id": "3", "dischtime": "later"},
        admissions[3] | {"dischtime": ""},
    ]
    twins += [twins[1] | {"dischtime": "later"}]
    manifests = []
    for number, table in enumerate(([*admissions, *twins], [*twins, *admissions][::-1])):
        write_tables(tmp_path / f"in{number}", admissions=table)
        funnel = ingest(tmp_path / f"in{number}", tmp_path / f"out{number}")
        manifests.append(
            (funnel.to_dict(), (tmp_path / f"out{number}/visits.parquet").read_bytes())
        )
    assert manifests[0] == manifests[1]


def test_an_open_quotation_is_a_workbench_error(tmp_path):
    write_tables(tmp_path / "in", patients=as_csv(rows("patients")).replace(b"M", b'"M', 1))
    with pytest.raises(WorkbenchError, match="quotation mark"):
        ingest(tmp_path / "in", tmp_path / "cohort")
