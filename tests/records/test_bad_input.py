"""Mutated tables give the cohort a plain reading of them gives, or one line; never a loss unseen.

`BAD_INPUT_EXAMPLES=2000` runs more examples than the few that every build runs.
"""

import csv
import io
import os
import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import WorkbenchError
from engine.records import mimic_iii, mimic_iv
from engine.records.cohort import Cohort
from engine.records.ingest import ingest
from tests.tables import TABLES, as_csv, rows, write_tables

EXAMPLES = int(os.environ.get("BAD_INPUT_EXAMPLES", "20"))
PROFILE = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
COUNTED = ("patients", "admissions", "diagnoses_icd", "procedures_icd", "prescriptions")

# Value as written → what an id, a code or a time is read as.
IDS = {
    "1": "1", " 1 ": "1", "1.0": "1", "1.00": "1", "\u00a01\u200b": "1", "001": "001", "1e5": "1e5",
    "1.23457E+07": None, "": None, "NULL": None, "nan": None, "\\N": None, "１": "１",
    "9" * 40: "9" * 40,
    "'; DROP TABLE raw.patients; --": "'; DROP TABLE raw.patients; --", "=1+1": "=1+1",
    "مريض 😀": "مريض 😀",
    "300": "300", "400.0": "400", "2": "2", "a\nb": "a\nb", 'a"b': 'a"b', "-1": "-1",
}  # fmt: skip
TIMES = {
    "2150-03-01 10:00:00": "2150-03-01 10:00:00", "2150-03-01": "2150-03-01 00:00:00",
    "2150-03-01T10:00:00.5Z": "2150-03-01 10:00:00.500000", "2150-3-1 1:02": "2150-03-01 01:02:00",
    "2150-03-01 10:00:00+02:00": "2150-03-01 10:00:00", "2150-02-30 00:00:00": None,
    "2150-03-01 1:00 PM": None, "infinity": None, "epoch": None, "-2150-01-01": None, "": None,
    "0001-01-01": None, "9999-01-01": None, "01/02/2150": None,
    "2150-01-01 (BC)": None, "55000.5": None,
    "2150-01-01 25:00:00": None, "2499-12-31 23:59:59": "2499-12-31 23:59:59", "NULL": None,
}  # fmt: skip
CODES = {
    "4019": "4019", "401.9": "4019", " i10 ": "I10", "": None, "NULL": None, "0090": "0090",
    "nan": None,
    "=HYPERLINK(1)": "=HYPERLINK(1)", "🫀": "🫀", "a,b": "A,B", '"': '"',
}  # fmt: skip
COLUMNS = {
    "subject_id": IDS, "hadm_id": IDS, "admittime": TIMES, "dischtime": TIMES, "icd_code": CODES,
    "icd_version": {"9": "9", "10.0": "10", "11": "11", "": None, "x": "x"},
    "seq_num": dict.fromkeys(["1", "1e999", "-5", "", "x", "nan"]),
    "gender": dict.fromkeys(["F", "male", "", "?", "X"]),
    "anchor_age": dict.fromkeys(["64", "-3", "1e300", "", "x", "inf"]),
    "drug": dict.fromkeys(["Furosemide", "", "=1+1", "\x1b[2J", "F" * 3000, "שלום", "a\r\nb"]),
    "race": dict.fromkeys(["", "WHITE", "?", "' OR 1=1", "😀" * 50]),
}  # fmt: skip


@st.composite
def mutated(draw):
    """The tiny hospital with some cells, rows and orders changed, and how its files are written."""
    tables = {name: rows(name) for name in TABLES}
    for _ in range(draw(st.integers(0, 6))):
        name = draw(st.sampled_from(COUNTED))
        table = tables[name]
        row = draw(st.sampled_from(table))
        if draw(st.integers(0, 3)) == 0:
            table.append(dict(row))
            continue
        column = draw(st.sampled_from([column for column in row if column in COLUMNS]))
        row[column] = draw(st.sampled_from(sorted(COLUMNS[column])))
    shuffle = random.Random(draw(st.integers(0, 9)))
    for name, table in tables.items():
        shuffle.shuffle(table)
        order = list(table[0])
        shuffle.shuffle(order)
        tables[name] = [{column: row[column] for column in order} for row in table]
    return tables, draw(st.sampled_from(["\n", "\r\n"])), draw(st.booleans())


def as_mimic_iii(tables):
    """The same hospital in the layout of MIMIC-III, where all codes are of ICD-9."""
    names = {"icd_code": "icd9_code", "race": "ethnicity", "anchor_age": "dob"}
    changed = {}
    for name, table in tables.items():
        changed[name] = [
            {names.get(column, column).upper(): value for column, value in row.items()}
            | ({"RELIGION": "CATHOLIC"} if name == "admissions" else {})
            | ({"DOB": "2090-01-01 00:00:00"} if name == "patients" else {})
            for row in table
        ]
    return changed


def written(tables, ends, mark):
    """Table name → the bytes of its file."""
    start = b"\xef\xbb\xbf" if mark else b""
    files = {}
    for name, table in tables.items():
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(table[0]), lineterminator=ends)
        writer.writeheader()
        writer.writerows(table)
        files[name] = start + text.getvalue().encode()
    return files


def read(column, value):
    """What the documented rules make of a value."""
    known = COLUMNS[column]
    return known.get(value, value.strip() or None)


def time(value):
    text = TIMES.get(value, value)
    return text and text.removesuffix(".000000")


def expected(tables, version=None):
    """Visit id → (patient, time, codes): a naive reading of the rows, by the documented rules."""
    patients = {read("subject_id", row["subject_id"]) for row in tables["patients"]} - {None}
    stays = {}
    for row in tables["admissions"]:
        patient, visit = read("subject_id", row["subject_id"]), read("hadm_id", row["hadm_id"])
        start = time(row["admittime"])
        if patient in patients and visit and start:
            stays[visit] = min(stays.get(visit, (start, patient)), (start, patient))
    codes = {visit: set() for visit in stays}
    for row in tables["diagnoses_icd"]:
        visit, patient = read("hadm_id", row["hadm_id"]), read("subject_id", row["subject_id"])
        code = read("icd_code", row["icd_code"])
        kind = version or read("icd_version", row["icd_version"])
        if visit in stays and patient in (None, stays[visit][1]) and code and kind in ("9", "10"):
            codes[visit].add(f"{kind}:{code}")
    return {visit: (stay[1], stay[0], codes[visit]) for visit, stay in stays.items()}


def judge(folder, tables, files, source, version=None):
    """Ingest, hold the outcome against the naive reading, and return "read" or "refused"."""
    write_tables(folder / "in", **files)
    try:
        funnel = ingest(folder / "in", folder / "cohort", source=source)
    except WorkbenchError as error:
        assert len(str(error).splitlines()) == 1
        assert "none of the" in str(error) and str(folder / "in") in str(error)
        assert [path.name for path in folder.iterdir()] == ["in"]
        return "refused"
    for count in funnel.tables:
        assert count.read == count.kept + sum(count.dropped.values())
        assert count.read == len(tables[count.table])
    cohort = Cohort.open(folder / "cohort")
    found = {
        visit.visit_id: (visit.patient_id, str(visit.admit_time), set(visit.diagnoses))
        for visit in cohort.all_visits()
    }
    assert found == expected(tables, version)
    return "read"


@PROFILE
@given(mutated())
def test_mutated_mimic_iv_is_read_as_written(tmp_path_factory, case):
    tables, ends, mark = case
    folder = tmp_path_factory.mktemp("iv")
    files = written(tables, ends, mark)
    assert judge(folder, tables, files, mimic_iv.SOURCE) in ("read", "refused")


@PROFILE
@given(mutated())
def test_mutated_mimic_iii_is_read_as_written(tmp_path_factory, case):
    tables, ends, mark = case
    folder = tmp_path_factory.mktemp("iii")
    files = written(as_mimic_iii(tables), ends, mark)
    assert judge(folder, tables, files, mimic_iii.SOURCE, version="9") in ("read", "refused")


@PROFILE
@given(st.sampled_from(COUNTED), st.data())
def test_damaged_bytes_give_all_rows_or_one_line(tmp_path_factory, name, data):
    """Bytes put in, taken out or swapped anywhere: nothing is lost without being counted."""
    content = as_csv(rows(name))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content)))
        pieces = [b'"', b",", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"\x0b", b";"]
        junk = data.draw(st.sampled_from([*pieces, b"", "\u2028".encode()]))
        content = content[:place] + junk + content[place + data.draw(st.integers(0, 2)) :]
    folder = tmp_path_factory.mktemp("bytes")
    write_tables(folder / "in", **{name: content})
    try:
        funnel = ingest(folder / "in", folder / "cohort")
    except WorkbenchError as error:
        assert len(str(error).splitlines()) == 1
        assert str(folder / "in") in str(error)
        assert [path.name for path in folder.iterdir()] == ["in"]
        return
    count = next(count for count in funnel.tables if count.table == name)
    text = io.StringIO(content.decode("utf-8-sig"), newline="")
    assert count.read == count.kept + sum(count.dropped.values())
    assert count.read == sum(1 for row in csv.reader(text) if row) - 1
