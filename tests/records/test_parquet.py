"""A table as Parquet says the same as the table as CSV, or why it cannot be read in one line."""

from datetime import UTC, datetime
from decimal import Decimal

import duckdb
import pyarrow
import pyarrow.parquet
import pytest

from engine.errors import WorkbenchError
from engine.records import tables
from engine.records.cohort import Cohort
from engine.records.ingest import ingest
from engine.records.source import Table
from tests.tables import TABLES, as_csv, rows, write_tables


def as_table(name: str) -> pyarrow.Table:
    """Return a table of the tiny hospital with types, as an export writes it."""
    columns = {}
    for column in TABLES[name][0]:
        values = [row[column] or None for row in rows(name)]
        if column in ("subject_id", "anchor_age", "anchor_year", "seq_num"):
            values = [int(value) for value in values]
        elif column == "hadm_id":  # what pandas makes of integers with gaps
            values = [float(value) for value in values]
        elif column in ("admittime", "dischtime"):
            values = [datetime.fromisoformat(value) for value in values]
        columns[column] = pyarrow.array(values)
    return pyarrow.table(columns)


def write(folder, **overrides):
    """Write the tiny hospital as Parquet; `overrides` replace tables, bytes as they are."""
    folder.mkdir()
    for name in TABLES:
        content = overrides.get(name, as_table(name))
        if isinstance(content, bytes):
            (folder / f"{name}.parquet").write_bytes(content)
        else:
            pyarrow.parquet.write_table(content, folder / f"{name}.parquet", row_group_size=3)
    return folder


def refused(folder, tmp_path):
    with pytest.raises(WorkbenchError) as error:
        ingest(folder, tmp_path / "out" / "cohort")
    assert list((tmp_path / "out").glob("*")) == []
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_parquet_and_csv_give_the_same_cohort(tmp_path):
    ingest(write(tmp_path / "parquet"), tmp_path / "one")
    ingest(write_tables(tmp_path / "csv"), tmp_path / "other")
    one, other = Cohort.open(tmp_path / "one"), Cohort.open(tmp_path / "other")
    assert one.fingerprint == other.fingerprint


def test_columns_may_be_in_capitals_and_in_any_order(tmp_path):
    table = as_table("admissions")
    names = table.column_names[::-1]
    changed = table.select(names).rename_columns([name.upper() for name in names])
    funnel = ingest(write(tmp_path / "in", admissions=changed), tmp_path / "cohort")
    assert funnel.visits == 5


def test_values_become_the_text_that_csv_would_hold(tmp_path):
    path = tmp_path / "table [1].parquet"
    moment = datetime(2150, 3, 1, 10, 30)
    columns = {
        "whole": pyarrow.array([7, None], pyarrow.int32()),
        "with_gaps": pyarrow.array([10000001.0, float("nan")]),
        "exact": pyarrow.array([Decimal("12.000"), Decimal("0.500")]),
        "moment": pyarrow.array([moment, None], pyarrow.timestamp("ms")),
        "zoned": pyarrow.array([moment.replace(tzinfo=UTC), None], pyarrow.timestamp("us", "UTC")),
        "day": pyarrow.array([moment.date(), None], pyarrow.date32()),
        "bare": pyarrow.array([b"0090", None], pyarrow.binary()),
        "empty": pyarrow.array([None, None]),
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    table = Table("readings", tuple(columns), optional=("absent",))
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA raw")
        tables.load(connection, tables.check(table, path, lambda size: None))
        read = connection.execute("FROM raw.readings").fetchall()
    day = "2150-03-01"
    assert read[0] == ("7", "10000001", "12", f"{day} 10:30:00", f"{day} 10:30:00", day, "0090",
                       None, None)  # fmt: skip
    assert read[1] == (None, None, "0.500", None, None, None, None, None, None)


def test_a_file_that_is_not_parquet_is_named(tmp_path):
    folder = write(tmp_path / "in", patients=as_csv(rows("patients")))
    assert "patients.parquet: is not a sound Parquet file" in refused(folder, tmp_path)


@pytest.mark.parametrize("size", [0, 3, 200])
def test_a_cut_off_file_is_named(size, tmp_path):
    whole = (write(tmp_path / "whole") / "prescriptions.parquet").read_bytes()
    folder = write(tmp_path / "in", prescriptions=whole[:-size] if size else b"")
    assert "prescriptions.parquet: is not a sound Parquet file" in refused(folder, tmp_path)


def test_damaged_pages_are_named(tmp_path):
    table = as_table("prescriptions")
    large = pyarrow.concat_tables([table] * 500)
    path = tmp_path / "large.parquet"
    pyarrow.parquet.write_table(large, path, compression="zstd")
    broken = bytearray(path.read_bytes())
    broken[4:60] = bytes(56)
    said = refused(write(tmp_path / "in", prescriptions=bytes(broken)), tmp_path)
    assert "prescriptions.parquet: cannot be read; the file is damaged" in said


def test_a_missing_column_is_named(tmp_path):
    folder = write(tmp_path / "in", admissions=as_table("admissions").drop_columns(["race"]))
    assert "admissions.parquet: column race is missing" in refused(folder, tmp_path)


def test_a_table_without_rows_is_named(tmp_path):
    folder = write(tmp_path / "in", diagnoses_icd=as_table("diagnoses_icd").slice(0, 0))
    assert "diagnoses_icd.parquet: has columns but no rows" in refused(folder, tmp_path)


def test_parquet_and_csv_of_the_same_table_are_not_guessed(tmp_path):
    folder = write(tmp_path / "in")
    (folder / "patients.csv").write_bytes(as_csv(rows("patients")))
    assert "patients.csv and patients.parquet are both there" in refused(folder, tmp_path)
