"""Search over the titles of all ICD codes, quick enough for every pause in typing.

    found = search("diagnosis", "heart fail", known=vocabulary.diagnoses)
    found.codes, found.total

All 90,000 diagnoses (or 82,000 procedures) lie in one text, a line each, which is looked through
for the longest word of the query; only lines that hold it are looked at for the others.
"""

import string
from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from engine.terminology import icd
from engine.terminology.icd import Kind

LONGEST_TEXT = 200  # characters of a query that are read
MOST_WORDS = 12
MOST_RANKED = 1000  # the shortest titles of those found; of "a" there are tens of thousands
_TO_SPACES = str.maketrans(dict.fromkeys(string.punctuation, " "))


@dataclass(frozen=True, slots=True)
class Found:
    """The best codes for a text, and how many there are in all, `MOST_RANKED` at most."""

    codes: tuple[str, ...]
    total: int


@dataclass(frozen=True, slots=True)
class _Lines:
    """Every code with its title, the shortest title first: it says the more general."""

    text: str  # " i50 21 i5021 acute systolic  congestive  heart failure\n" for each code
    starts: tuple[int, ...]  # where each line begins
    codes: tuple[str, ...]


def search(
    kind: Kind,
    text: str,
    known: Collection[str] = (),
    without: Collection[str] = (),
    limit: int = 8,
) -> Found:
    """Return codes whose title or code holds every word of a text, or words that begin so.

    Codes that begin as the text reads come first, then those that the models know, then titles
    that begin so, then the shorter titles.

    Args:
        known: codes that the models know.
        without: codes that are not wanted.
    """
    words = _plain(text[:LONGEST_TEXT]).split()[:MOST_WORDS]
    if not words:
        return Found((), 0)
    lines, known, without = _lines(kind), frozenset(known), frozenset(without)
    begins, joined = " ".join(words), "".join(words)
    ranked = []
    for number in _holding(lines, words):
        code = lines.codes[number]
        if code not in without:
            is_code = code.partition(":")[2].lower().startswith(joined)
            starts = _plain(icd.title(kind, code) or "").startswith(begins)
            ranked.append((not is_code, code not in known, not starts, number))
    ranked.sort()
    return Found(tuple(lines.codes[number] for *_, number in ranked[:limit]), len(ranked))


def prepare() -> None:
    """Read the titles of both kinds, which takes a second, before somebody searches."""
    for kind in ("diagnosis", "procedure"):
        _lines(kind)


def _holding(lines: _Lines, words: list[str]) -> list[int]:
    """Return the first lines that hold every word at the beginning of one of theirs."""
    first, *others = sorted((f" {word}" for word in words), key=len, reverse=True)
    found, place = [], lines.text.find(first)
    while place >= 0 and len(found) < MOST_RANKED:
        number = bisect_right(lines.starts, place) - 1
        start, end = lines.starts[number], lines.text.index("\n", place)
        if all(lines.text.find(other, start, end) >= 0 for other in others):
            found.append(number)
        place = lines.text.find(first, end)  # one hit a line is enough
    return found


@cache
def _lines(kind: Kind) -> _Lines:
    titles = sorted(icd.titles(kind).items(), key=lambda item: (len(item[1]), item[0]))
    text = _plain(
        "".join(
            f" {icd.dotted(kind, code)} {code.partition(':')[2]} {title}\n"
            for code, title in titles
        )
    )
    lengths = (len(line) for line in text.splitlines(keepends=True)[:-1])
    return _Lines(text, tuple(accumulate(lengths, initial=0)), tuple(code for code, _ in titles))


def _plain(text: str) -> str:
    return text.lower().translate(_TO_SPACES)
