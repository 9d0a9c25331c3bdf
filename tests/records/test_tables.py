"""A file that would make a cohort wrong or silently smaller stops the ingest with one line."""

import gzip

import pytest

from engine.errors import WorkbenchError
from engine.records.cohort import Cohort
from engine.records.ingest import ingest
from tests.tables import as_csv, rows, write_tables

LATIN = as_csv(rows("admissions")).replace(b"MARRIED", "DIVORCÉE".encode("latin-1"), 1)
SHORT = b"subject_id,hadm_id,drug_type,drug,route\n" + b"1,300\n" * 20
OPEN_QUOTE = as_csv(rows("prescriptions")).replace(b"Furosemide", b'"Furosemide', 1)
WITHOUT_RACE = [
    {name: value for name, value in row.items() if name != "race"} for row in rows("admissions")
]
TWICE = as_csv(rows("patients")).replace(b"gender", b"gender,gender", 1)

BROKEN = {
    "missing table": ({"prescriptions": None}, "prescriptions is missing"),
    "missing column": ({"admissions": WITHOUT_RACE}, "admissions.csv: column race is missing"),
    "empty file": ({"patients": b""}, "patients.csv: the file is empty"),
    "blank file": ({"patients": b"\xef\xbb\xbf \n\n"}, "patients.csv: the file is empty"),
    "header alone": (
        {"diagnoses_icd": as_csv(rows("diagnoses_icd")).split(b"\n")[0] + b"\n"},
        "diagnoses_icd.csv: has a header but no rows",
    ),
    "semicolons": (
        {"admissions": as_csv(rows("admissions"), ";")},
        "admissions.csv: columns are separated by semicolons",
    ),
    "tabs": (
        {"d_icd_diagnoses": as_csv(rows("d_icd_diagnoses"), "\t")},
        "d_icd_diagnoses.csv: columns are separated by tabs",
    ),
    "latin-1": ({"admissions": LATIN}, "admissions.csv: line 2 is not UTF-8 (byte 0xc9)"),
    "utf-16": (
        {"patients": as_csv(rows("patients")).decode().encode("utf-16")},
        "patients.csv: line 1 holds a NUL byte",
    ),
    "gzip called csv": (
        {"patients": gzip.compress(as_csv(rows("patients")))},
        "patients.csv: is compressed; rename it to patients.csv.gz",
    ),
    "repeated column": ({"patients": TWICE}, "patients.csv: column gender is there twice"),
    "lines too short": ({"prescriptions": SHORT}, "20 lines do not fit the header; the first is"),
    "open quotation": (
        {"prescriptions": OPEN_QUOTE},
        "prescriptions.csv: a quotation mark opened on line 3 is not closed",
    ),
    "other export": (
        {"prescriptions": [row | {"hadm_id": "99"} for row in rows("prescriptions")]},
        "prescriptions.csv: none of the 8 rows can be used",
    ),
    "no admission usable": (
        {"admissions": [row | {"admittime": "yesterday"} for row in rows("admissions")]},
        "admissions.csv: none of the 5 rows can be used (5: admission time is missing",
    ),
}  # fmt: skip


def refused(tables, tmp_path):
    """Ingest, and return the one line that says why not, with nothing left behind."""
    with pytest.raises(WorkbenchError) as error:
        ingest(tables, tmp_path / "out" / "cohort")
    left = list((tmp_path / "out").iterdir()) if (tmp_path / "out").exists() else []
    assert left == []
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.mark.parametrize("case", BROKEN)
def test_broken_table_is_named_in_one_line(case, tmp_path):
    overrides, expected = BROKEN[case]
    tables = write_tables(tmp_path / "in", **overrides)
    assert expected in refused(tables, tmp_path)


@pytest.mark.parametrize("kept", [0.5, 0.98])
def test_cut_off_gzip_is_named(kept, tmp_path):
    whole = gzip.compress(as_csv(rows("prescriptions") * 500))
    tables = write_tables(tmp_path / "in", ".csv.gz", prescriptions=whole[: int(len(whole) * kept)])
    assert "prescriptions.csv.gz: the gzip file is cut off" in refused(tables, tmp_path)


def test_plain_text_called_gzip_is_named(tmp_path):
    tables = write_tables(tmp_path / "in", ".csv.gz", patients=as_csv(rows("patients")))
    assert "patients.csv.gz: is not a sound gzip file" in refused(tables, tmp_path)


def test_damaged_gzip_is_named(tmp_path):
    whole = bytearray(gzip.compress(as_csv(rows("prescriptions") * 500)))
    whole[-6] ^= 0xFF  # the checksum at the end
    tables = write_tables(tmp_path / "in", ".csv.gz", prescriptions=bytes(whole))
    assert "prescriptions.csv.gz: is not a sound gzip file" in refused(tables, tmp_path)


def test_same_table_twice_is_not_guessed(tmp_path):
    tables = write_tables(tmp_path / "in")
    (tables / "patients.csv.gz").write_bytes(gzip.compress(as_csv(rows("patients"))))
    assert "patients.csv and patients.csv.gz are both there" in refused(tables, tmp_path)


def test_folder_that_is_not_there_is_named(tmp_path):
    assert "no-such-place: no such folder" in refused(tmp_path / "no-such-place", tmp_path)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
@pytest.mark.parametrize("below", ["", "hosp"])
def test_plain_and_compressed_tables_in_either_folder(suffix, below, tmp_path):
    write_tables(tmp_path / "in" / below, suffix)
    ingest(tmp_path / "in", tmp_path / "cohort")
    assert Cohort.open(tmp_path / "cohort").manifest["counts"]["visits"] == 5


def test_odd_folder_names_and_spellings_are_read(tmp_path):
    """Brackets and stars in paths, capital column names, a byte-order mark, CRLF line ends."""
    content = as_csv(rows("admissions")).replace(b"subject_id", b"SUBJECT_ID")
    content = b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n")
    tables = write_tables(tmp_path / "in [1] *", admissions=content)
    funnel = ingest(tables, tmp_path / "cohort")
    assert funnel.visits == 5


def test_quoted_commas_line_breaks_and_shuffled_columns_are_read(make_cohort):
    drug = 'Furosemide, "as needed"\nwith food'
    changed = [dict(reversed(row.items())) for row in rows("prescriptions")]
    changed[1]["drug"] = drug
    cohort = make_cohort(prescriptions=changed)
    read = cohort.manifest["funnel"]["tables"][-1]
    assert (read["table"], read["read"]) == ("prescriptions", 8)


def test_one_line_that_does_not_fit_is_counted(make_cohort):
    content = as_csv(rows("prescriptions")) + b"1,300\n"
    count = make_cohort(prescriptions=content).manifest["funnel"]["tables"][-1]
    assert count["read"] == 9
    assert count["dropped"]["line with fewer than 5 fields"] == 1


def test_titles_tables_are_optional(make_cohort):
    cohort = make_cohort(d_icd_diagnoses=None, d_icd_procedures=None)
    assert cohort.titles == {"diagnosis": {}, "procedure": {}}
    assert cohort.manifest["funnel"]["absent"] == ["d_icd_diagnoses", "d_icd_procedures"]
