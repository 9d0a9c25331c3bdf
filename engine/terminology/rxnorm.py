"""RxNorm's release files → one SQLite file: NDC → RxCUI → ingredients → ATC codes.

    python -m engine terminology rxnorm RRF_DIR --output data/rxnorm.sqlite

Reads RXNCONSO.RRF (names, ATC codes), RXNREL.RRF (relations) and RXNSAT.RRF (NDCs) of a full
RxNorm release, as documented in the RxNorm Technical Documentation of the US National Library of
Medicine. A product's ATC codes are those of its combination (MIN) where RxNorm gives it one,
and of each ingredient left over its precise form (PIN), else the ingredient itself (IN).
"""

import re
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tqdm import tqdm

from engine import files
from engine.errors import WorkbenchError
from engine.terminology import ndc

# Fields of a line, without the empty one after the last bar.
_FIELDS = {"RXNCONSO.RRF": 18, "RXNREL.RRF": 16, "RXNSAT.RRF": 13}
_ATC_DRUG = re.compile(r"[A-Z]\d{2}[A-Z]{2}\d{2}")
# A line of RXNREL reads "RXCUI2 RELA RXCUI1". These lead from a product towards its
# ingredients; each stands there in both directions, so that the inverse says the same.
_TOWARDS = {
    "consists_of": "constitutes",  # clinical drug → its components
    "contains": "contained_in",  # pack → drugs
    "tradename_of": "has_tradename",  # brand → what it is
    "has_ingredient": "ingredient_of",
    "has_ingredients": "ingredients_of",  # clinical drug → combination
    "has_part": "part_of",  # combination → ingredients
    "has_precise_ingredient": "precise_ingredient_of",
    "form_of": "has_form",  # precise ingredient (a salt) → ingredient
    "isa": "inverse_isa",  # clinical drug → drug and form
}
_INVERSE = {inverse: relation for relation, inverse in _TOWARDS.items()}

_APPLICATION = 0x6E646361  # "ndca", in the header of every drug map
_VERSION = 1
_CHUNK = 1 << 22  # bytes
_WHICH_FILES = (
    "give the folder rrf of the full RxNorm release (not the Prescribable Content, which has no "
    "ATC codes) from https://www.nlm.nih.gov/research/umls/rxnorm, free with a UMLS licence"
)
HOW_TO_BUILD = "build it with: python -m engine terminology rxnorm RRF_DIR --output FILE"

_STAGING = """
CREATE TEMP TABLE atom (rxcui INTEGER, tty TEXT, name TEXT, active INTEGER);
CREATE TEMP TABLE atc_atom (rxcui INTEGER, code TEXT, UNIQUE (rxcui, code));
CREATE TEMP TABLE step (product INTEGER, towards INTEGER, PRIMARY KEY (product, towards))
  WITHOUT ROWID;
CREATE TEMP TABLE ndc_line (ndc TEXT, rxcui INTEGER, active INTEGER, rxnorm INTEGER);
"""
# One name and one type for each concept: an active atom before an obsolete one, a type that
# carries a meaning here before synonyms.
_CONCEPTS = """
CREATE TEMP TABLE concept AS
SELECT rxcui, tty, name, active FROM (
  SELECT *, row_number() OVER (
    PARTITION BY rxcui
    ORDER BY active DESC, tty NOT IN ('IN', 'PIN', 'MIN', 'BN', 'SCD', 'SBD', 'GPCK', 'BPCK'),
             tty IN ('SY', 'TMSY', 'PSN', 'ET'), tty, name
  ) AS place FROM atom
) WHERE place = 1;
CREATE UNIQUE INDEX temp.concept_rxcui ON concept (rxcui);
"""
_REACHED = """
CREATE TEMP TABLE reached AS
WITH RECURSIVE walk (product, node) AS (
  SELECT DISTINCT rxcui, rxcui FROM ndc_line
  UNION
  SELECT walk.product, step.towards FROM walk JOIN step ON step.product = walk.node
  WHERE coalesce((SELECT tty FROM concept WHERE rxcui = walk.node), '') <> 'IN'
)
SELECT walk.product, walk.node, concept.tty FROM walk JOIN concept ON concept.rxcui = walk.node
WHERE concept.tty IN ('IN', 'PIN', 'MIN');
CREATE INDEX temp.reached_product ON reached (product, tty);
CREATE INDEX temp.reached_node ON reached (node);
"""
# Which concept speaks for each ingredient of a product: 0 a combination with an ATC code,
# 1 a precise ingredient with one, 2 the ingredient itself. The lowest wins.
_CODES = """
CREATE TEMP TABLE covers AS
WITH RECURSIVE walk (speaker, node) AS (
  SELECT DISTINCT node, node FROM reached
  WHERE tty = 'IN' OR node IN (SELECT rxcui FROM atc_atom)
  UNION
  SELECT walk.speaker, step.towards FROM walk JOIN step ON step.product = walk.node
  WHERE (SELECT tty FROM concept WHERE rxcui = walk.node) <> 'IN'
)
SELECT walk.speaker, walk.node AS ingredient
FROM walk JOIN concept ON concept.rxcui = walk.node WHERE concept.tty = 'IN';
CREATE INDEX temp.covers_speaker ON covers (speaker);
CREATE TEMP TABLE product_code AS
SELECT DISTINCT product, code FROM (
  SELECT product, node, rank() OVER (
    PARTITION BY product, ingredient
    ORDER BY CASE tty WHEN 'MIN' THEN 0 WHEN 'PIN' THEN 1 ELSE 2 END
  ) AS place
  FROM reached JOIN covers ON covers.speaker = reached.node
) AS best JOIN atc_atom ON atc_atom.rxcui = best.node
WHERE place = 1;
CREATE INDEX temp.product_code_product ON product_code (product);
"""
_RESULT = """
CREATE TABLE product (
  rxcui INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  ingredients TEXT NOT NULL,  -- names, one to a line
  atc_codes TEXT NOT NULL     -- separated by one space
);
CREATE TABLE ndc (ndc TEXT PRIMARY KEY, rxcui INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO product
SELECT line.rxcui, coalesce(concept.name, ''),
  coalesce((SELECT group_concat(name, char(10)) FROM (
    SELECT DISTINCT part.name FROM reached JOIN concept part ON part.rxcui = reached.node
    WHERE reached.product = line.rxcui AND reached.tty = 'IN' ORDER BY part.name)), ''),
  coalesce((SELECT group_concat(code, ' ') FROM (
    SELECT code FROM product_code WHERE product = line.rxcui ORDER BY code)), '')
FROM (SELECT DISTINCT rxcui FROM ndc_line) AS line LEFT JOIN concept USING (rxcui)
ORDER BY line.rxcui;
INSERT INTO ndc
SELECT ndc, rxcui FROM (
  SELECT ndc, ndc_line.rxcui, row_number() OVER (
    PARTITION BY ndc
    ORDER BY ndc_line.active AND coalesce(concept.active, 0) DESC, rxnorm DESC,
             atc_codes = '', ndc_line.rxcui
  ) AS place
  FROM ndc_line JOIN product USING (rxcui) LEFT JOIN concept USING (rxcui)
) WHERE place = 1 ORDER BY ndc;
DELETE FROM product WHERE rxcui NOT IN (SELECT rxcui FROM ndc);
"""
_COUNTS = """
SELECT count(*), count(*) FILTER (WHERE atc_codes <> ''), count(DISTINCT ndc.rxcui),
       (SELECT count(DISTINCT code) FROM atc_atom)
FROM ndc JOIN product USING (rxcui)
"""


@dataclass(frozen=True, slots=True)
class NdcEntry:
    """What a drug map knows about one NDC."""

    ndc: str  # 11 digits; empty where it was found by its RxCUI
    rxcui: str
    name: str  # RxNorm's name of the product
    ingredients: tuple[str, ...]
    codes: tuple[str, ...]  # ATC, seven characters, sorted


def build(rrf_dir: Path, path: Path) -> dict[str, int]:
    """Write the map of a full RxNorm release to `path` and return what was counted.

    The same files give the same bytes (with one version of SQLite). An existing map at `path` is
    replaced once the new one is whole. Raises WorkbenchError for a missing or damaged file, for
    files without NDCs or ATC codes, and for a `path` that holds something else.
    """
    sources = _sources(rrf_dir)
    _may_replace(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        connection = sqlite3.connect(building, isolation_level=None)
        try:
            counts = _write(connection, sources)
        finally:
            connection.close()
        building.replace(path)
    except sqlite3.OperationalError as error:  # a full disk, most likely
        raise WorkbenchError(
            f"{path}: cannot be written ({error}); make room there and in the "
            "system's temporary folder"
        ) from error
    finally:
        building.unlink(missing_ok=True)
    return counts


class DrugMap:
    """A map that `build` wrote, open for reading from any thread."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._one_at_a_time = threading.Lock()

    @classmethod
    def open(cls, path: Path) -> "DrugMap":
        """Open a map; WorkbenchError when the file is none."""
        if not path.is_file():
            raise WorkbenchError(f"{path}: not found; {HOW_TO_BUILD}")
        if not _is_map(path):
            raise WorkbenchError(f"{path}: is no whole drug map of this version; {HOW_TO_BUILD}")
        address = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        return cls(path, sqlite3.connect(address, uri=True, check_same_thread=False))

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file."""
        return files.sha256(self.path)

    def codes(self, written: str) -> tuple[str, ...]:
        """ATC codes of an NDC, sorted; () when the map does not know it."""
        entry = self.find(written)
        return entry.codes if entry else ()

    def find(self, written: str) -> NdcEntry | None:
        """The entry of an NDC as `ndc.spellings` reads it.

        None when no reading is known, and when several are that lead to different codes.
        """
        known = [entry for code in ndc.spellings(written) if (entry := self._entry(code))]
        return known[0] if len({entry.codes for entry in known}) == 1 else None

    def product(self, rxcui: str) -> NdcEntry | None:
        """The entry of a product by RxNorm's number; None for one that no NDC stands for."""
        if not (rxcui.isascii() and rxcui.isdigit() and len(rxcui) <= 18):  # SQLite's integers
            return None
        return self._read("FROM product WHERE rxcui = ?", int(rxcui), "")

    def _entry(self, code: str) -> NdcEntry | None:
        return self._read("FROM ndc JOIN product USING (rxcui) WHERE ndc = ?", code, code)

    def _read(self, source: str, asked: str | int, code: str) -> NdcEntry | None:
        try:
            with self._one_at_a_time:
                row = self._connection.execute(
                    f"SELECT rxcui, name, ingredients, atc_codes {source}", [asked]
                ).fetchone()
        except sqlite3.DatabaseError as error:
            raise WorkbenchError(f"{self.path}: is damaged; {HOW_TO_BUILD}") from error
        if row is None:
            return None
        rxcui, name, ingredients, codes = row
        return NdcEntry(
            code, str(rxcui), name, tuple(ingredients.splitlines()), tuple(codes.split())
        )


def _sources(rrf_dir: Path) -> dict[str, Path]:
    """The three files, in the folder itself or in its `rrf`, as a release is unpacked."""
    if not rrf_dir.is_dir():
        raise WorkbenchError(f"{rrf_dir}: no such folder; {_WHICH_FILES}")
    folder = rrf_dir if not (rrf_dir / "rrf").is_dir() else rrf_dir / "rrf"
    there = {file.name.upper(): file for file in sorted(folder.iterdir())}
    for name in _FIELDS:
        if name not in there:
            raise WorkbenchError(f"{folder}: {name} is missing; {_WHICH_FILES}")
    return {name: there[name] for name in _FIELDS}


def _may_replace(path: Path) -> None:
    if path.exists() and not _is_map(path):
        raise WorkbenchError(f"{path}: is there and is no drug map; name another --output")


def _is_map(path: Path) -> bool:
    """Whether the header is that of a whole map (https://www.sqlite.org/fileformat.html)."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(100)
    marks = (int.from_bytes(head[60:64]), int.from_bytes(head[68:72]))
    size = int.from_bytes(head[16:18]) * int.from_bytes(head[28:32])  # bytes a page, pages
    whole = size == path.stat().st_size
    return head.startswith(b"SQLite format 3\0") and marks == (_VERSION, _APPLICATION) and whole


def _write(connection: sqlite3.Connection, sources: dict[str, Path]) -> dict[str, int]:
    connection.executescript(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536;"
        f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {_VERSION};" + _STAGING
    )
    connection.execute("BEGIN")
    size = sum(path.stat().st_size for path in sources.values())
    with tqdm(total=size, desc="reading RxNorm", unit="B", unit_scale=True, disable=None) as bar:
        _read_names(connection, sources["RXNCONSO.RRF"], bar.update)
        _read_relations(connection, sources["RXNREL.RRF"], bar.update)
        unreadable = _read_ndcs(connection, sources["RXNSAT.RRF"], bar.update)
    _must_have_rows(connection, sources)
    steps = (_CONCEPTS, _REACHED, _CODES, _RESULT)
    for step in tqdm(steps, desc="linking NDCs to ATC", unit="step", disable=None):
        for statement in filter(str.strip, step.split(";\n")):
            connection.execute(statement)
    counts = connection.execute(_COUNTS).fetchone()
    connection.execute("COMMIT")
    names = ("ndcs", "ndcs_with_atc", "products", "atc_codes")
    return dict(zip(names, counts, strict=True)) | {"unreadable_ndcs": unreadable}


def _read_names(
    connection: sqlite3.Connection, path: Path, progress: Callable[[int], object]
) -> None:
    """Concept names of RxNorm itself, and the ATC codes that stand on them."""
    for line, field in _lines(path, (b"|RXNORM|", b"|ATC|"), progress):
        rxcui, source, kind, code, name, suppress = (field[i] for i in (0, 11, 12, 13, 14, 16))
        if source == "RXNORM":
            active = suppress in ("N", "E")  # E: prescribed only with a quantity, as such in use
            connection.execute(
                "INSERT INTO atom VALUES (?, ?, ?, ?)",
                [_number(path, line, rxcui), kind, name, active],
            )
        elif source == "ATC" and suppress != "O" and _ATC_DRUG.fullmatch(code):
            connection.execute(
                "INSERT OR IGNORE INTO atc_atom VALUES (?, ?)", [_number(path, line, rxcui), code]
            )


def _read_relations(
    connection: sqlite3.Connection, path: Path, progress: Callable[[int], object]
) -> None:
    for line, field in _lines(path, (b"|RXNORM|",), progress):
        rxcui1, rxcui2, relation, source = (field[i] for i in (0, 4, 7, 10))
        if source != "RXNORM" or not rxcui1 or not rxcui2:
            continue
        if relation in _INVERSE:
            rxcui1, rxcui2 = rxcui2, rxcui1
        elif relation not in _TOWARDS:
            continue
        connection.execute(
            "INSERT OR IGNORE INTO step VALUES (?, ?)",
            [_number(path, line, rxcui2), _number(path, line, rxcui1)],
        )


def _read_ndcs(
    connection: sqlite3.Connection, path: Path, progress: Callable[[int], object]
) -> int:
    """NDCs of every source; returns how many lines hold none that can be read one way."""
    unreadable = 0
    for line, field in _lines(path, (b"|NDC|",), progress):
        rxcui, attribute, source, written, suppress = (field[i] for i in (0, 8, 9, 10, 11))
        if attribute != "NDC" or not rxcui:
            continue
        codes = ndc.spellings(written)
        if len(codes) != 1:
            unreadable += 1
            continue
        connection.execute(
            "INSERT INTO ndc_line VALUES (?, ?, ?, ?)",
            [codes[0], _number(path, line, rxcui), suppress == "N", source == "RXNORM"],
        )
    return unreadable


def _lines(
    path: Path, marks: tuple[bytes, ...], progress: Callable[[int], object]
) -> Iterator[tuple[int, list[str]]]:
    """Yield number and fields of the lines that hold a mark; every line is checked.

    RRF has no header and no quoting: a quotation mark is a character like any other.
    """
    fields = _FIELDS[path.name.upper()]
    first, second = marks[0], marks[-1]
    number = 0
    with path.open("rb") as file:
        while lines := file.readlines(_CHUNK):
            _check_utf8(path, number, lines)
            for line in lines:
                number += 1
                if line.count(b"|") != fields:
                    raise WorkbenchError(
                        f"{path}: line {number} has {line.count(b'|')} fields that end in |, "
                        f"expected {fields}; copy the file again from the RxNorm release"
                    )
                if first in line or second in line:
                    yield number, line.decode().split("|")
            progress(sum(map(len, lines)))


def _check_utf8(path: Path, before: int, lines: list[bytes]) -> None:
    try:
        b"".join(lines).decode()
    except UnicodeDecodeError as error:
        number = before + 1 + error.object[: error.start].count(b"\n")
        raise WorkbenchError(
            f"{path}: line {number} is not UTF-8; copy the file again from the RxNorm release"
        ) from None


def _number(path: Path, line: int, text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise WorkbenchError(
            f"{path}: line {line} has an RXCUI that is no number; "
            "copy the file again from the RxNorm release"
        )
    return int(text)


def _must_have_rows(connection: sqlite3.Connection, sources: dict[str, Path]) -> None:
    expected = (
        ("atom", "RXNCONSO.RRF", "no names of RxNorm itself (SAB RXNORM)"),
        ("atc_atom", "RXNCONSO.RRF", "no ATC codes (SAB ATC, seven characters)"),
        ("step", "RXNREL.RRF", "no relations of products to ingredients (SAB RXNORM)"),
        ("ndc_line", "RXNSAT.RRF", "no NDCs (ATN NDC)"),
    )
    for table, name, lack in expected:
        if connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is None:
            raise WorkbenchError(f"{sources[name]}: holds {lack}; {_WHICH_FILES}")
