"""Shorter forms of ICD titles and ATC names, for prompts on a tight token budget.

    >>> short("Type 2 diabetes mellitus with hyperglycemia, unspecified")
    'Type 2 diabetes mellitus with hyperglycemia'

What goes is what says that nothing more is known ("unspecified"), what is absent ("without …"),
the circumstances of coding ("initial encounter", "classified elsewhere") and synonyms in brackets.
Two codes may share a short title; the long one tells them apart.
"""

import re
from functools import lru_cache

_BRACKETS = re.compile(r"\s*\[[^\]]*\]|\s*\([^()]*\)")
# Applied in this order; each takes whole phrases, so that what is left still reads as English.
_RULES = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r",? initial encounter for (open fracture).*", r", \1"),
        (r",? initial encounter( for (closed )?fracture)?", ""),
        (r"(?<!with or)(?<!with and),? without [^,]*", ""),
        (r",? not (stated|specified) as [^,]*", ""),
        (r",? (site )?not (elsewhere classified|otherwise specified|specified)\b", ""),
        (r" (as the cause of diseases|in diseases|in conditions) classified elsewhere", ""),
        (r",? or unspecified (type|chronic kidney disease)", ""),
        (r" (or|and)( of)? unspecified( site$| site(?=,))?", ""),
        (r" (of|in) unspecified (site|degree|cause|nature|type( of vessel)?)", ""),
        (r", (site|cause|part|organism|type) unspecified", ""),
        (r", unspecified( [^,]*)?", ""),
        (r" unspecified(?=,|$)", ""),
        (r"\bunspecified ", ""),
        (r"\bother specified\b", "other"),
        (r"\bpersonal history of\b", "history of"),
        (r"\blong[- ]term use of\b", "on"),
        (r" using (other|(low|high) osmolar) contrast", ""),
        (r", percutaneous endoscopic( approach)?", ", endoscopic"),
        (r", open approach", ", open"),
        (r", (percutaneous|external)( approach)?", ""),
        (r", via natural or artificial opening( endoscopic)?( approach)?", ""),
        (r"\s+,", ","),
        (r",(\s*,)+", ","),
        (r"\s{2,}", " "),
    )
)


@lru_cache(maxsize=200_000)
def short(title: str) -> str:
    """Return the compact form of an ICD title, or the title itself where nothing would be left."""
    text = without_brackets(title)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    text = text.strip(" ,;")
    return text[:1].upper() + text[1:] if text else title


def without_brackets(name: str) -> str:
    """Return a name without what stands in brackets, or the name itself if that is all."""
    return _BRACKETS.sub("", name).strip() or name
