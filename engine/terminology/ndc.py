"""US National Drug Codes as hospitals and RxNorm's sources write them → 11 digits.

The 11 digits are labeler (5), product (4) and package (2). Written with hyphens each part may
lack its leading zeros; a six-digit labeler is one with a zero too many, and `*` stands for a zero.
Without hyphens, ten digits may be any of 4-4-2, 5-3-2 and 5-4-1.

    >>> spellings("0006-0943-00")
    ('00006094300',)
"""

import re

_WIDTHS = (5, 4, 2)
# The labeler's leading zeros may be gone, as a spreadsheet does; the rest is always there.
_SHORTEST = 7


def spellings(text: str) -> tuple[str, ...]:
    """The 11-digit codes that a written NDC may stand for; () when it is none ("0", "")."""
    written = text.strip().replace("*", "0")
    if "." in written:  # read as a number by a spreadsheet
        written = re.sub(r"\.0+$", "", written)
    found = _hyphened(written) if "-" in written else _plain(written)
    return tuple(code for code in dict.fromkeys(found) if code.strip("0"))


def _hyphened(written: str) -> list[str]:
    parts = written.split("-")
    if len(parts) != len(_WIDTHS) or not all(re.fullmatch(r"[0-9]+", part) for part in parts):
        return []
    if len(parts[0]) == 6 and parts[0].startswith("0"):
        parts[0] = parts[0][1:]
    padded = [part.zfill(width) for part, width in zip(parts, _WIDTHS, strict=True)]
    fits = all(len(part) == width for part, width in zip(padded, _WIDTHS, strict=True))
    return ["".join(padded)] if fits else []


def _plain(digits: str) -> list[str]:
    if not re.fullmatch(r"[0-9]+", digits):
        return []
    if len(digits) == 12 and digits.startswith("0"):
        return [digits[1:]]
    if len(digits) == 10:
        return ["0" + digits, f"{digits[:5]}0{digits[5:]}", f"{digits[:9]}0{digits[9:]}"]
    return [digits.zfill(11)] if _SHORTEST <= len(digits) <= 11 else []
