"""Parquet files read as tables of text, so that values obey one set of rules in every file."""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow
import pyarrow.parquet

from engine.errors import WorkbenchError


def header(path: Path) -> tuple[tuple[str, ...], int]:
    """Return the names of the columns in small letters, and the number of rows.

    Raises WorkbenchError when the file is not Parquet or is cut off.
    """
    try:
        metadata = pyarrow.parquet.read_metadata(path)
        names = metadata.schema.to_arrow_schema().names
    except (pyarrow.ArrowException, OSError) as error:
        raise WorkbenchError(
            f"{path}: is not a sound Parquet file; copy or export it again"
        ) from error
    return tuple(name.strip().lower() for name in names), metadata.num_rows


def columns_as_text(
    connection: duckdb.DuckDBPyConnection,
    file: str,
    header: Sequence[str],
    wanted: Sequence[str],
) -> str:
    """Return SQL expressions over `read_parquet(file, binary_as_string = true)`.

    One for each wanted column, separated by commas: times as ISO, whole numbers without decimals
    (an integer column with gaps is often stored as floating point), a column that is not there as
    NULL.
    """
    described = connection.execute(
        "DESCRIBE FROM read_parquet(?, binary_as_string = true)", [file]
    ).fetchall()
    expressions = []
    for name in wanted:
        if name in header:
            written, kind = described[header.index(name)][:2]
            expressions.append(f"{_as_text(written, kind)} AS {name}")
        else:
            expressions.append(f"NULL::VARCHAR AS {name}")
    return ", ".join(expressions)


def _as_text(name: str, kind: str) -> str:
    column = '"{}"'.format(name.replace('"', '""'))
    if kind in ("FLOAT", "DOUBLE") or kind.startswith("DECIMAL"):
        return f"nullif(regexp_replace({column}::VARCHAR, '\\.0+$', ''), 'nan')"
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"timezone('UTC', {column})::VARCHAR"
    return f"{column}::VARCHAR"
