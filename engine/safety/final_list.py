"""What is to be given after all, checked as a set: groups, and drugs typed in place of others.

checked = check_final(["B01A"], ["Eliquis and aspirin 81 mg"], **what_is_known)
checked.readings  # ("“Eliquis and aspirin 81 mg” is read as apixaban, aspirin low dose.",)
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from engine.safety.check import NOBODY, check, check_set
from engine.safety.facts import PatientFacts
from engine.safety.medications import read
from engine.safety.report import Report, SetCount
from engine.terminology import atc

# What stands between two drugs; a slash does not, for it joins the parts of one product.
_BETWEEN = re.compile(r"[,;+&\n]|\b(?:and|or|plus|with)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FinalCheck:
    """The outcome, and how the typed texts were understood."""

    report: Report
    pairs: SetCount  # the interacting pairs of the list, those with current drugs left out
    medications: int  # that were recognised
    readings: tuple[str, ...]  # a sentence for each typed text


def check_final(
    groups: Iterable[str],
    typed: Iterable[str],
    facts: PatientFacts = NOBODY,
    already_on: Iterable[str] = (),
    facts_before: PatientFacts | None = None,
) -> FinalCheck:
    """Check ATC groups and free texts as one list; `Report.not_checked` names what was not read."""
    groups, readings = tuple(groups), []
    written = [*groups]
    for text in typed:
        parts = _parts(text)
        written += parts
        readings.append(_reading(text, parts, groups))
    return FinalCheck(
        check(written, facts, already_on, facts_before),
        check_set({"final": written})["final"],
        len(read(written)[0]),
        tuple(readings),
    )


def _parts(text: str) -> list[str]:
    """Each drug of a text, and what is none; the whole where only that is a known name. Never both:
    two drugs that one entry names are read as one product, and do not interact."""
    parts = [part for piece in _BETWEEN.split(text) if (part := " ".join(piece.split()))]
    whole = " ".join(text.split())
    return parts if read(parts)[0] or not read([whole])[0] else [whole]


def _reading(text: str, parts: list[str], groups: Iterable[str]) -> str:
    medications, unknown = read(parts)
    if not medications:
        return f"“{text}” names no drug that is known here: not checked."
    said = f"“{text}” is read as {', '.join(one.title for one in medications)}"
    if unknown:
        said += f"; not checked: {', '.join(unknown)}"
    own = {code[:4] for one in medications for code in one.codes}
    if same := [group for group in groups if group in own]:
        named = ", ".join(f"{atc.name(group)} ({group})" for group in same)
        said += f". Accepted as well is {named}, which counts as the same drug here: see to it"
    return f"{said}."
