"""Columns moved, added, renamed, repeated or lost: the same cohort, or one line that names one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import WorkbenchError
from engine.records import mimic_iv
from engine.records.cohort import Cohort
from engine.records.ingest import ingest
from tests.records.test_bad_input import COUNTED, PROFILE
from tests.tables import rows, write_tables

NEEDED = {table.name: set(table.columns) for table in mimic_iv.SOURCE.tables}
STRANGE = ("", "x", "SELECT", 'a"b', "c0; DROP TABLE raw.patients", "Ünïcode 😀", "c1")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The fingerprint of the hospital as it is."""
    folder = tmp_path_factory.mktemp("plain")
    ingest(write_tables(folder / "in"), folder / "cohort")
    return Cohort.open(folder / "cohort").fingerprint


def as_bytes(header, table, order):
    lines = [[header[column] for column in order]]
    lines += [[row[column] for column in order] for row in table]
    return "".join(
        ",".join('"' + value.replace('"', '""') + '"' for value in line) + "\n" for line in lines
    ).encode()


@PROFILE
@given(st.sampled_from(COUNTED), st.data())
def test_a_column_is_found_by_its_name_or_missed_by_it(tmp_path_factory, plain, name, data):
    table = rows(name)
    columns = list(table[0])
    header = {column: data.draw(st.sampled_from([column, column.upper()])) for column in columns}
    for place, extra in enumerate(data.draw(st.lists(st.sampled_from(STRANGE), max_size=3))):
        header[f"extra {place}"] = extra
        for row in table:
            row[f"extra {place}"] = f"{place}, and more"
    order = data.draw(st.permutations(list(header)))
    gone = data.draw(st.sampled_from([None, *columns]))
    if gone and data.draw(st.booleans()):
        order.remove(gone)
    elif gone:
        header[gone] = f"{gone}_renamed"
    folder = tmp_path_factory.mktemp("columns")
    write_tables(folder / "in", **{name: as_bytes(header, table, order)})
    if gone in NEEDED[name]:
        with pytest.raises(WorkbenchError, match=rf"{name}\.csv: column {gone} is missing") as said:
            ingest(folder / "in", folder / "cohort")
        assert len(str(said.value).splitlines()) == 1
        assert [path.name for path in folder.iterdir()] == ["in"]
    else:
        ingest(folder / "in", folder / "cohort")
        assert Cohort.open(folder / "cohort").fingerprint == plain


@pytest.mark.parametrize(("table", "column"), [("admissions", "race"), ("prescriptions", "ndc")])
def test_a_column_that_is_there_twice_is_not_chosen_from(tmp_path, table, column):
    changed = [{**row, column: row.get(column, ""), "twin": "?"} for row in rows(table)]
    content = as_bytes({name: name for name in changed[0]}, changed, list(changed[0]))
    content = re.sub(rb'"twin"', b'"' + column.encode() + b'"', content, count=1)
    tables = write_tables(tmp_path / "in", **{table: content})
    with pytest.raises(WorkbenchError, match=rf"{table}\.csv: column {column} is there twice"):
        ingest(tables, tmp_path / "cohort")
