"""Plain names of the ATC groups (WHO Anatomical Therapeutic Chemical classification).

>>> name("B01A")
'Antithrombotic agents'
"""

import csv
from functools import cache
from pathlib import Path
from types import MappingProxyType

_FILE = Path(__file__).parent / "data" / "atc_groups.csv"


def name(code: str) -> str:
    """Name of a group at the first, second or third level; the code itself when unknown."""
    return _names().get(code, code)


def groups() -> MappingProxyType[str, str]:
    """All third-level groups, code (four characters) to name."""
    return MappingProxyType({code: text for code, text in _names().items() if len(code) == 4})


def below(code: str) -> list[str]:
    """The codes of the groups directly under a first- or second-level group, sorted."""
    length = {1: 3, 3: 4}.get(len(code))
    return sorted(one for one in _names() if len(one) == length and one.startswith(code))


@cache
def _names() -> dict[str, str]:
    with _FILE.open(encoding="utf-8", newline="") as lines:
        return {row["code"]: row["name"] for row in csv.DictReader(lines)}
