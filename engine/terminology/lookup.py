"""What a drug name, NDC, ICD or ATC code maps to, and by which rule.

    python -m engine terminology lookup "Vancomycin Oral Liquid"

One text may be several things ("0066" is an ICD-9 diagnosis and an ICD-9 procedure): all are
given. Near names are offered for a text that is none of them, but never mapped.
"""

import difflib
import re
from dataclasses import dataclass, field

from engine.errors import WorkbenchError
from engine.terminology import atc, crosswalk, drugs, icd, ndc, routes
from engine.terminology.rxnorm import HOW_TO_BUILD, DrugMap

_SYSTEMS = {
    ("diagnosis", "9"): "ICD-9-CM diagnosis",
    ("procedure", "9"): "ICD-9-CM procedure",
    ("diagnosis", "10"): "ICD-10-CM diagnosis",
    ("procedure", "10"): "ICD-10-PCS procedure",
}
_ICD = re.compile(r"(?:(9|10):)?([A-Z0-9]{2,7})")
_ATC = re.compile(r"[A-Z](?:\d\d(?:[A-Z](?:[A-Z](?:\d\d)?)?)?)?")
_LONGEST_TEXT = 300
_MOST_SUGGESTIONS = 4

# A row of a fact, e.g. {"code": "B01A", "name": "Antithrombotic agents"}
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that the text stands for."""

    kind: str  # "drug", "no drug", "NDC", "ICD-9-CM diagnosis", …, "ATC group"
    code: str  # as our tables write it; of a drug the text itself
    title: str
    facts: dict[str, str | list[Row]] = field(default_factory=dict)


def lookup(text: str, route: str | None = None, drug_map: DrugMap | None = None) -> list[Entry]:
    """Everything that `text` stands for.

    Raises WorkbenchError, with near names or codes, when it stands for nothing we know.
    """
    text = " ".join(text[:_LONGEST_TEXT].split())
    entries = [*_ndc(text, route, drug_map), *_icd(text), *_atc(text), *_drug(text, route)]
    if not entries:
        raise WorkbenchError(f"{text[:60]!r}: {_why_unknown(text, drug_map)}")
    return entries


def _drug(text: str, route: str | None) -> list[Entry]:
    match = drugs.match(text, route)
    if match.kind == "unmapped":
        return []
    if match.kind == "non_drug":
        return [Entry("no drug", text, match.rule)]
    facts: dict[str, str | list[Row]] = {
        "groups": _named(match.groups),
        "rule": match.rule,
        "ingredient": match.ingredient or "",
    }
    if route and not routes.known(route):
        facts["route"] = "is not in our table of routes; read as if none were given"
    if len(by_route := _by_route(match.ingredient or "")) > 1:
        facts["by route"] = by_route
    return [Entry("drug", text, match.ingredient or "", facts)]


def _by_route(product: str) -> list[Row]:
    """The codes of each ingredient of a product, the general ones last."""
    names = [name for name in product.split(" + ") if name in drugs.ingredients()]
    rows = []
    for name in names:
        codes = sorted(drugs.ingredients()[name], key=lambda code: not code.routes)
        otherwise = "other routes" if codes[0].routes else "any route"
        for code in codes:
            on = ", ".join(sorted(code.routes)) or otherwise
            row = {"routes": on, "code": code.atc, "name": atc.name(code.atc[:4])}
            rows.append({"ingredient": name} | row if len(names) > 1 else row)
    return rows


def _ndc(text: str, route: str | None, drug_map: DrugMap | None) -> list[Entry]:
    entry = drug_map.find(text) if drug_map else None
    if entry is None:
        return []
    facts: dict[str, str | list[Row]] = {
        "RxCUI": entry.rxcui,
        "ingredients": ", ".join(entry.ingredients) or "none linked in RxNorm",
        "ATC codes": [{"code": code, "name": atc.name(code[:4])} for code in entry.codes],
    }
    match = drugs.match(entry.name, route, codes=entry.codes)
    if match.kind == "mapped":
        facts["groups"] = _named(match.groups)
    facts["rule"] = match.rule
    return [Entry("NDC", entry.ndc, entry.name, facts)]


def _icd(text: str) -> list[Entry]:
    written = _ICD.fullmatch(text.replace(".", "").upper())
    if not written:
        return []
    version, plain = written.groups()
    entries = []
    for (kind, system), spoken in _SYSTEMS.items():
        code = f"{system}:{plain}"
        if version in (None, system) and (title := icd.title(kind, code)):
            facts = _in_icd10(code) if kind == "diagnosis" else {}
            entries.append(Entry(spoken, code, title, facts))
    return entries


def _in_icd10(code: str) -> dict[str, str | list[Row]]:
    if code.startswith("10:"):
        return {}
    found = crosswalk.equivalent(code)
    if found is None:
        return {"in ICD-10": "the equivalence maps have no code for it"}
    closeness = "exact" if found.exact else "approximate"
    choice = f", the closest of {found.choices}" if found.choices > 1 else ""
    part = ", first part of a combination" if found.part else ""
    return {
        "in ICD-10": [{"code": found.code, "title": icd.title("diagnosis", found.code) or ""}],
        "rule": f"general equivalence map: {closeness}{choice}{part}",
    }


def _atc(text: str) -> list[Entry]:
    code = text.upper()
    if not _ATC.fullmatch(code):
        return []
    held = [
        {"ingredient": name, "code": known.atc, "routes": ", ".join(sorted(known.routes))}
        for name, codes in sorted(drugs.ingredients().items())
        for known in codes
        if known.atc.startswith(code)
    ]
    if atc.name(code) == code and not held:
        return []
    parents = [code[:length] for length in (1, 3, 4) if length < len(code)]
    facts: dict[str, str | list[Row]] = {}
    if parents:
        facts["lies in"] = _named(parents)
    if below := atc.below(code):
        facts["groups"] = _named(below)
        facts["ingredients"] = f"{len({row['ingredient'] for row in held})} in our table"
    else:
        facts["ingredients"] = held or "none in our table"
    title = atc.name(code[:4]) if len(code) > 4 else atc.name(code)
    return [Entry("ATC code" if len(code) == 7 else "ATC group", code, title, facts)]


def _named(codes: tuple[str, ...] | list[str]) -> list[Row]:
    return [{"code": code, "name": atc.name(code)} for code in codes]


def _why_unknown(text: str, drug_map: DrugMap | None) -> str:
    """Half a line: what was tried, and what the user may have meant."""
    digits = re.sub(r"\D", "", text)
    if ndc.spellings(text) and len(digits) >= 9:
        if drug_map is None:
            return f"reads as an NDC; give --drug-map FILE ({HOW_TO_BUILD})"
        return f"reads as an NDC, which {drug_map.path} does not hold or holds in two meanings"
    if near := _codes_below(text):
        return f"is no complete ICD code; {near}"
    names = difflib.get_close_matches(
        text.lower(), sorted(drugs.written_names()), n=_MOST_SUGGESTIONS, cutoff=0.75
    )
    nearest = f"near names, not mapped: {', '.join(names)}" if names else "check the spelling"
    return f"no drug name, ICD or ATC code we know; {nearest}"


def _codes_below(text: str) -> str:
    written = _ICD.fullmatch(text.replace(".", "").upper())
    if not written or not any(character.isdigit() for character in text):
        return ""
    version, plain = written.groups()
    starts = tuple(f"{system}:{plain}" for system in ("9", "10") if version in (None, system))
    below = [
        code
        for kind in ("diagnosis", "procedure")
        for code in icd.codes(kind)
        if len(plain) >= 3 and code.startswith(starts)
    ]
    if not below:
        return ""
    more = f" and {len(below) - _MOST_SUGGESTIONS} more" if len(below) > _MOST_SUGGESTIONS else ""
    return f"below it lie {', '.join(below[:_MOST_SUGGESTIONS])}{more}"
