"""Rows too long to be rows: found before DuckDB, which hangs on them or loses them in silence.

A row may span lines inside quotation marks. Whether a mark opens a quotation depends on all that
came before it, which is slow to follow; so a cheap guess by the parity of the marks runs along
with every file, and only where it finds a very long row is the file read once more, exactly.
"""

from collections.abc import Iterable

LONGEST_ROW = 12 << 20  # bytes; rows above 2 MB are counted and left out, far longer ones stop us
FIRST_MARKS = 50  # quotation marks of a chunk looked at first; nearly always enough


class Guess:
    """Follows a file chunk by chunk; `length` is that of the row which has not ended yet."""

    def __init__(self) -> None:
        self.length = 0
        self._odd = 0  # whether the marks so far are odd in number

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the file. Pieces of a chunk are in and out of quotes by turns."""
        ended = any(
            b"\n" in piece
            for limit in (FIRST_MARKS, -1)
            for piece in chunk.split(b'"', limit)[: limit if limit > 0 else None][self._odd :: 2]
        )
        self.length = 0 if ended else self.length + len(chunk)
        self._odd ^= chunk.count(b'"') % 2


def first_overlong(chunks: Iterable[bytes]) -> int | None:
    """Return the line on which a row longer than `LONGEST_ROW` begins, or None without one.

    A mark opens a quotation at the start of a field, or again right after it closed one.
    """
    inside, before, closed = False, b"\n", -2
    length, line, began = 0, 1, 1
    for chunk in chunks:
        position, end = 0, -1
        while position <= len(chunk):
            mark = chunk.find(b'"', position)
            stop = len(chunk) if mark < 0 else mark
            if not inside:
                end = max(end, chunk.rfind(b"\n", position, stop))
            if mark < 0:
                break
            if inside:
                inside, closed = False, mark
            else:
                previous = chunk[mark - 1 : mark] if mark else before
                inside = previous in (b",", b"\n", b"\r") or closed == mark - 1
            position = mark + 1
        if end >= 0:
            began, length = line + chunk.count(b"\n", 0, end + 1), len(chunk) - end - 1
        else:
            length += len(chunk)
        if length > LONGEST_ROW:
            return began
        line += chunk.count(b"\n")
        before, closed = chunk[-1:], closed - len(chunk)
    return None
