"""The tables of an export: found, checked byte by byte, and read into DuckDB as text.

Whatever would make a cohort silently smaller stops here with one line: a missing table or column,
an empty or cut-off file, another delimiter, another character set. A single bad line does not; it
is left out and counted.
"""

import codecs
import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import duckdb

from engine.errors import WorkbenchError
from engine.records import parquet, row_length
from engine.records.source import Table

SUFFIXES = (".csv", ".csv.gz", ".parquet")
CHUNK = 1 << 20  # bytes
LONGEST_HEADER = 1 << 16  # bytes
GZIP_MAGIC = b"\x1f\x8b"
OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
# Below these, a line that does not fit its header is one bad row; above, the file is wrong.
BAD_LINES = 10
BAD_SHARE = 0.01
# Line number, what is wrong with it, and whether it took following lines into an open quotation.
BAD_LINES_FOUND = """
SELECT line, min(error_type::VARCHAR),
       bool_or(error_type::VARCHAR IN ('UNQUOTED VALUE', 'LINE SIZE OVER MAXIMUM')
               AND contains(trim(csv_line, E'\\r\\n'), E'\\n'))
FROM reject_errors GROUP BY line ORDER BY line
"""


@dataclass(frozen=True, slots=True)
class InputFile:
    """A checked table: the names of its columns in small letters, and the SHA-256 of the file."""

    table: Table
    path: Path
    header: tuple[str, ...]
    sha256: str
    delimiter: str = ","
    lines: int = 0  # of a CSV file

    @property
    def is_parquet(self) -> bool:
        """Whether it is a Parquet file, and not CSV."""
        return _is_parquet(self.path)


def find(input_dir: Path, folders: Sequence[str], tables: Sequence[Table]) -> dict[str, Path]:
    """Return table name → file, for the tables of an export that are there.

    `folders` are the places below `input_dir` to look in. Raises WorkbenchError when the folder
    or a required table is missing, or when a table is there twice.
    """
    if not input_dir.is_dir():
        raise WorkbenchError(f"{input_dir}: no such folder; give the folder that holds the tables")
    names = [table.name for table in tables]
    candidates = [input_dir / folder for folder in folders]
    found = max((_tables_in(folder, names) for folder in candidates), key=len)
    missing = [table.name for table in tables if table.required and table.name not in found]
    if missing:
        places = " and ".join(str(folder) for folder in candidates)
        raise WorkbenchError(
            f"{input_dir}: table {', '.join(missing)} is missing; "
            f"looked for {missing[0]}.csv, .csv.gz or .parquet in {places}; put it there"
        )
    return found


def fits(input_dir: Path, folders: Sequence[str], tables: Sequence[Table]) -> bool:
    """Whether every table is there with the columns asked for; only headers are read."""
    try:
        found = find(input_dir, folders, tables)
        for table in (table for table in tables if table.name in found):
            path = found[table.name]
            if _is_parquet(path):
                _check_columns(table, path, parquet.header(path)[0])
                continue
            with path.open("rb") as raw:
                start = next(_chunks(path, raw), b"")[:LONGEST_HEADER]
            _header(table, path, start.removeprefix(codecs.BOM_UTF8))
    except (WorkbenchError, OSError):
        return False
    return True


def check(table: Table, path: Path, progress: Callable[[int], None]) -> InputFile:
    """Read a file from end to end once, in bounded memory, and return it with its header.

    `progress` is told the bytes of the file read since the last call. Raises WorkbenchError for
    an empty file, a cut-off or damaged gzip, bytes that are not UTF-8, NUL bytes, lines that end
    with CR alone, a row of more than 12 MB, another delimiter, a missing or repeated column, and
    a header without rows unless the table may be empty. Of a Parquet file the layout is checked
    here; what its pages hold shows when it is loaded.
    """
    if _is_parquet(path):
        return _check_parquet(table, path, progress)
    decoder = codecs.getincrementaldecoder("utf-8")()
    start, line, row = b"", 1, row_length.Guess()
    with path.open("rb") as raw:
        told, suspected = 0, False
        for chunk in _chunks(path, raw):
            start += chunk[: max(0, LONGEST_HEADER - len(start))]
            _decode(decoder, chunk, path, line)
            row.feed(chunk)
            if row.length > row_length.LONGEST_ROW and not suspected:
                suspected = True
                _check_line_ends(path, start)
                _check_row_length(table, path, start)
            line += chunk.count(b"\n")
            told, last = raw.tell(), told
            progress(told - last)
        _decode(decoder, b"", path, line, final=True)
        raw.seek(0)
        digest = hashlib.file_digest(raw, "sha256").hexdigest()
    start = start.removeprefix(codecs.BOM_UTF8)
    if not start.strip():
        raise WorkbenchError(f"{path}: the file is empty; export the table again")
    _check_line_ends(path, start)
    header, delimiter = _header(table, path, start)
    if not start.partition(b"\n")[2].strip() and not table.may_be_empty:
        raise WorkbenchError(f"{path}: has a header but no rows; export the table again")
    return InputFile(table, path, header, digest, delimiter, line)


def load(connection: duckdb.DuckDBPyConnection, file: InputFile) -> dict[str, int]:
    """Copy the columns a source asks for into the DuckDB table `raw.NAME`, all as text.

    Returns reason → lines left out because they do not fit the header. Raises WorkbenchError when
    those are too many, or when a quotation mark that is never closed swallowed other rows.
    """
    if file.is_parquet:
        _load_parquet(connection, file)
        return {}
    # Columns are told apart by their place: a header may repeat names that nobody asks for.
    places = {name: f"c{file.header.index(name)}" for name in file.header}
    wanted = (*file.table.columns, *file.table.optional)
    columns = ", ".join(f"{places.get(name, 'NULL::VARCHAR')} AS {name}" for name in wanted)
    try:
        connection.execute(
            f"CREATE TABLE raw.{file.table.name} AS FROM (SELECT {columns} FROM read_csv(?, "
            "columns = ?, header = true, auto_detect = false, delim = ?, quote = ?, escape = ?, "
            f"ignore_errors = true, store_rejects = true, compression = ?)){_where(file.table)}",
            [
                _literal(file.path),
                {f"c{place}": "VARCHAR" for place in range(len(file.header))},
                file.delimiter,
                *['"' if file.delimiter == "," else ""] * 2,
                "gzip" if file.path.name.lower().endswith(".gz") else "none",
            ],
        )
    except duckdb.IOException as error:
        if "GZIP" not in str(error):
            raise
        raise WorkbenchError(
            f"{file.path}: is not a sound gzip file (something follows its end); compress it again"
        ) from error
    except duckdb.InvalidInputException as error:
        raise WorkbenchError(
            f"{file.path}: is not one regular CSV table (lines end in different ways, or a "
            "quotation mark is out of place); export it again"
        ) from error
    bad_lines = connection.execute(BAD_LINES_FOUND).fetchall()
    connection.execute("DROP TABLE reject_errors; DROP TABLE reject_scans")
    rows = _rows(connection, file, len(bad_lines))
    if not rows and not bad_lines and not file.table.may_be_empty:
        raise WorkbenchError(f"{file.path}: has a header but no rows; export the table again")
    _judge(file, bad_lines, rows)
    reasons: dict[str, int] = {}
    for _, error_type, _ in bad_lines:
        reason = _reason(error_type, len(file.header))
        reasons[reason] = reasons.get(reason, 0) + 1
    return reasons


def load_absent(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Create `raw.NAME` without rows for an optional table that the export does not have."""
    wanted = (*table.columns, *table.optional)
    columns = ", ".join(f"{name} VARCHAR" for name in wanted)
    connection.execute(f"CREATE TABLE raw.{table.name} ({columns})")


def _is_parquet(path: Path) -> bool:
    return path.name.lower().endswith(".parquet")


def _check_parquet(table: Table, path: Path, progress: Callable[[int], None]) -> InputFile:
    digest = hashlib.sha256()
    with path.open("rb") as raw:
        while chunk := raw.read(CHUNK):
            digest.update(chunk)
            progress(len(chunk))
    header, rows = parquet.header(path)
    _check_columns(table, path, header)
    if not rows and not table.may_be_empty:
        raise WorkbenchError(f"{path}: has columns but no rows; export the table again")
    return InputFile(table, path, header, digest.hexdigest())


def _load_parquet(connection: duckdb.DuckDBPyConnection, file: InputFile) -> None:
    place = _literal(file.path)
    wanted = (*file.table.columns, *file.table.optional)
    # DuckDB believes the smallest and largest value that a file notes for a column, which leave out
    # NaN: it would see none where all other values are equal.
    connection.execute("SET disabled_optimizers = 'statistics_propagation'")
    try:
        columns = parquet.columns_as_text(connection, place, file.header, wanted)
        connection.execute(
            f"CREATE TABLE raw.{file.table.name} AS FROM (SELECT {columns} "
            f"FROM read_parquet(?, binary_as_string = true)){_where(file.table)}",
            [place],
        )
    except (duckdb.OutOfMemoryException, duckdb.IOException):
        raise  # this machine's trouble, not the file's
    except duckdb.Error as error:
        raise WorkbenchError(
            f"{file.path}: cannot be read; the file is damaged: copy or export it again"
        ) from error
    finally:
        connection.execute("RESET disabled_optimizers")


def _where(table: Table) -> str:
    return f" WHERE {table.keep}" if table.keep else ""


def _tables_in(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        for name in names:
            if path.name.lower() in {name + suffix for suffix in SUFFIXES}:
                if not path.is_file():  # opening a pipe would wait for ever
                    raise WorkbenchError(
                        f"{path}: is a folder, a pipe, a device or a link that leads nowhere, "
                        "not a file; put the table there"
                    )
                if name in found:
                    raise WorkbenchError(
                        f"{folder}: {found[name].name} and {path.name} are both there; keep one"
                    )
                found[name] = path
    return found


def _chunks(path: Path, raw: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes of a plain or gzip file in pieces of `CHUNK`."""
    if not path.name.lower().endswith(".gz"):
        if raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC:
            raise WorkbenchError(f"{path}: is compressed; rename it to {path.name}.gz")
        raw.seek(0)
        yield from iter(lambda: raw.read(CHUNK), b"")
        return
    try:
        with gzip.GzipFile(fileobj=raw) as unzipped:
            yield from iter(lambda: unzipped.read(CHUNK), b"")
    except EOFError as error:
        raise WorkbenchError(
            f"{path}: the gzip file is cut off; copy or download it again"
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise WorkbenchError(
            f"{path}: is not a sound gzip file; copy it again, or name it .csv if it is plain text"
        ) from error


def _check_line_ends(path: Path, start: bytes) -> None:
    if b"\n" in start:
        return
    if b"\r" in start.strip():
        raise WorkbenchError(
            f"{path}: lines end with CR alone, as on old Macs; export the table with LF or CRLF"
        )
    if len(start) >= LONGEST_HEADER:
        raise WorkbenchError(
            f"{path}: the first line is longer than {LONGEST_HEADER >> 10} KB; it should be the "
            "header: export the table again"
        )


def _check_row_length(table: Table, path: Path, start: bytes) -> None:
    if table.tabs and b"\t" in start.partition(b"\n")[0]:
        return  # no quotation marks there
    with path.open("rb") as raw:
        line = row_length.first_overlong(_chunks(path, raw))
    if line:
        raise WorkbenchError(
            f"{path}: the row on line {line} is longer than {row_length.LONGEST_ROW >> 20} MB; "
            "shorten it, or close a quotation mark that it leaves open"
        )


def _decode(decoder, chunk: bytes, path: Path, line: int, final: bool = False) -> None:
    if b"\0" in chunk:
        line += chunk[: chunk.index(b"\0")].count(b"\n")
        raise WorkbenchError(
            f"{path}: line {line} holds a NUL byte, as damaged and UTF-16 files do; "
            "export the table as UTF-8"
        )
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError as error:
        row = line + error.object[: error.start].count(b"\n")
        value = error.object[error.start]
        raise WorkbenchError(
            f"{path}: line {row} is not UTF-8 (byte 0x{value:02x}); export the table as UTF-8"
        ) from error


def _header(table: Table, path: Path, start: bytes) -> tuple[tuple[str, ...], str]:
    """Return the names of the columns and what separates them."""
    text = start.decode("utf-8", errors="ignore")
    names = next(csv.reader(io.StringIO(text, newline="")), ())
    header = tuple(name.strip().lower() for name in names)
    text = text.partition("\n")[0].rstrip("\r")
    if not text.strip():
        raise WorkbenchError(f"{path}: the first line is blank; it should be the header: remove it")
    for delimiter, spoken in OTHER_DELIMITERS.items():
        if len(header) <= text.count(delimiter) and not set(table.columns) <= set(header):
            if delimiter == "\t" and table.tabs:
                header = tuple(name.strip().lower() for name in text.split("\t"))
                _check_columns(table, path, header)
                return header, "\t"
            raise WorkbenchError(
                f"{path}: columns are separated by {spoken}; export the table with commas"
            )
    _check_columns(table, path, header)
    return header, ","


def _check_columns(table: Table, path: Path, header: tuple[str, ...]) -> None:
    missing = [column for column in table.columns if column not in header]
    if missing:
        raise WorkbenchError(
            f"{path}: column {', '.join(missing)} is missing; the header should name it "
            "(its values may be empty)"
        )
    asked_for = (*table.columns, *table.optional)
    repeated = [column for column in asked_for if header.count(column) > 1]
    if repeated:
        raise WorkbenchError(f"{path}: column {repeated[0]} is there twice; remove one")


def _judge(file: InputFile, bad_lines: list[tuple[int, str, bool]], rows: int) -> None:
    if not bad_lines:
        return
    for line, _, swallowed in bad_lines:
        if swallowed:
            raise WorkbenchError(
                f"{file.path}: a quotation mark opened on line {line} is not closed; "
                "close it, or double the marks inside texts"
            )
    # A quotation that is left open in a large file can take lines with it that DuckDB never names.
    unread = file.lines - 2 - rows - len(bad_lines)  # without the header and the end of the file
    broken = [line for line, error_type, _ in bad_lines if error_type == "UNQUOTED VALUE"]
    if broken and unread > 0:
        raise WorkbenchError(
            f"{file.path}: a quotation mark on line {broken[0]} is out of place, and lines after "
            "it cannot be told apart; close it, or double the marks inside texts"
        )
    share = len(bad_lines) / (len(bad_lines) + rows)
    if not rows or (len(bad_lines) >= BAD_LINES and share > BAD_SHARE):
        line, error_type, _ = bad_lines[0]
        raise WorkbenchError(
            f"{file.path}: {len(bad_lines)} lines do not fit the header; the first is line {line}: "
            f"{_reason(error_type, len(file.header))}; export the table again"
        )


def _reason(error_type: str, fields: int) -> str:
    return {
        "MISSING COLUMNS": f"line with fewer than {fields} fields",
        "TOO MANY COLUMNS": f"line with more than {fields} fields",
        "UNQUOTED VALUE": "line with a quotation mark out of place",
        "LINE SIZE OVER MAXIMUM": "line longer than 2 MB",
    }.get(error_type, f"line that cannot be read ({error_type.lower()})")


def _rows(connection: duckdb.DuckDBPyConnection, file: InputFile, bad_lines: int) -> int:
    """Return the sound rows of a file; where only some of them are kept, by its lines."""
    if file.table.keep:
        return file.lines - 1 - bad_lines
    return connection.execute(f"SELECT count(*) FROM raw.{file.table.name}").fetchone()[0]


def _literal(path: Path) -> str:
    """Spell a path so that DuckDB does not take its `*`, `?` or `[` for a pattern."""
    spelled = str(path.resolve()).replace("[", "[[]")
    return spelled.replace("*", "[*]").replace("?", "[?]")
