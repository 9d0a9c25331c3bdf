"""Drug names as wards write them, taken apart: markers, brackets, strengths, forms, components.

`"*NF* Oxycodone-Acetaminophen (5mg-325mg) Elixir"` becomes the words of two components,
`("oxycodone",)` and `("acetaminophen", "elixir")`; `drugs` looks these up.
"""

import re

# Hospital markers that say nothing about the drug: non-formulary, investigational, own supply.
_MARKERS = re.compile(
    r"\*[a-z ]{1,12}\*"
    r"|\(\s*(?:nf|ind|inv|non-?formulary|investigational)\s*\)"
    r"|^(?:nf|ind|inv|zz+)\b[\s:_-]*"
    r"|\b(?:non-?formulary|investigational|study (?:drug|med|medication)|pharmacy to dose"
    r"|patient'?s? own(?: med(?:ication)?)?|self[- ]administering medication|or placebo)\b[\s:_-]*"
)
_UNIT = (
    r"(?:mg|mcg|µg|ug|g|gm|gram|grams|kg|ml|l|meq|mmol|mmole|mmoles|unit|units|u|iu|mu|million"
    r"|hr|hour|hours|h|day|mci|ppm|inch|inches|oz|cap|caps|tab|tabs|dose|doses|actuation|puff|bag"
    r"|bottle|vial)"
)
_NUMBER = r"\d[\d,]*(?:\.\d+)?"
# "5 mg", "5mg-325mg", "10 units/ml", "0.12%", "1:100,000", "12.5g / 50mL", "(100/50)", "20 mEq"
_STRENGTH = re.compile(
    rf"(?<![a-z\d])(?:{_NUMBER}\s*:\s*{_NUMBER}"
    rf"|{_NUMBER}\s*%?\s*(?:{_UNIT}\b)?"
    rf"(?:\s*[-/]\s*(?:{_NUMBER})?\s*(?:{_UNIT}\b|%)?(?=[\s)/,-]|$))*)(?![a-z])"
)
_BRACKETS = re.compile(r"[(\[{]([^()\[\]{}]*)[)\]}]?")
_SEPARATORS = re.compile(r"\s*(?:[/+&,;]|-+|\bw/|\bwith\b|\band\b|\bplus\b)\s*")
_NOT_WORD = re.compile(r"[^a-z0-9%.]+")


def plain(text: str) -> str:
    """Lower case, punctuation as single spaces; digits, percent and decimal points survive."""
    spaced = _NOT_WORD.sub(" ", text.lower().replace("'", "").replace(" %", "%"))
    return " ".join(word for word in (part.strip(".") for part in spaced.split()) if word)


def without_markers(text: str) -> str:
    """Lower case without the marks a pharmacy adds (`*NF*`, `*IND*`, "study drug")."""
    return _MARKERS.sub(" ", text.lower()).strip(" _-:")


def brackets(text: str) -> tuple[str, list[str]]:
    """The text outside brackets, and what stood inside each pair."""
    inside = [part.strip() for part in _BRACKETS.findall(text)]
    return _BRACKETS.sub(" ", text).strip(), [part for part in inside if part]


def without_strengths(text: str) -> str:
    """Lower case without amounts, concentrations and dilutions."""
    return " ".join(_STRENGTH.sub(" ", text.lower()).split())


def components(text: str) -> list[tuple[str, ...]]:
    """The words of each part of a combination product, in writing order."""
    parts = _SEPARATORS.split(without_strengths(text))
    words = (tuple(plain(part).split()) for part in parts)
    return [part for part in words if part]
