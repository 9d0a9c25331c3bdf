"""What a drug name, NDC, ICD or ATC code maps to, and by which rule.

    python -m engine terminology lookup "Vancomycin Oral Liquid"

One text may be several things ("0066" is an ICD-9 diagnosis and an ICD-9 procedure, "00.66" the
procedure alone; "NS" carries a drug in a BASE row and is treatment in others): all are given.
Near names are offered for a text that is none of them, but never mapped.
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
_ICD = re.compile(r"(?:(9|10):)?([A-Z0-9]{2,7}|[A-Z0-9]{2,4}\.[A-Z0-9]{1,4})")
_ATC = re.compile(r"[A-Z](?:\d\d(?:[A-Z](?:[A-Z](?:\d\d)?)?)?)?")
_LONGEST_TEXT = 300
_MOST_SUGGESTIONS = 4
DRUG_TYPES = ("MAIN", "BASE", "ADDITIVE")  # of a row in MIMIC's prescriptions

# A row of a fact, e.g. {"code": "B01A", "name": "Antithrombotic agents"}
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that the text stands for."""

    kind: str  # "drug", "no drug", "NDC", "ICD-9-CM diagnosis", …, "ATC group"
    code: str  # as our tables write it; of a drug the text itself
    title: str
    facts: dict[str, str | list[Row]] = field(default_factory=dict)


def lookup(
    text: str,
    route: str | None = None,
    drug_map: DrugMap | None = None,
    drug_type: str | None = None,
) -> list[Entry]:
    """Everything that `text` stands for.

    drug_type is one of DRUG_TYPES, as in `drugs.match`. Without it, a name that these read
    differently gives an entry for each reading.

    Raises WorkbenchError, with near names or codes, when it stands for nothing we know.
    """
    text = " ".join(text[:_LONGEST_TEXT].split())
    entries = [
        *_ndc(text, route, drug_map, drug_type),
        *_icd(text),
        *_atc(text),
        *_drug(text, route, drug_type),
    ]
    if not entries:
        raise WorkbenchError(f"{text[:60]!r}: {_why_unknown(text, drug_map)}")
    return entries


def _drug(text: str, route: str | None, drug_type: str | None) -> list[Entry]:
    rows: dict[drugs.DrugMatch, list[str]] = {}
    for row in (drug_type,) if drug_type else DRUG_TYPES:
        rows.setdefault(drugs.match(text, route, row), []).append(row)
    entries = []
    for match, types in rows.items():
        facts = {"in rows": ", ".join(types)} if len(rows) > 1 or drug_type else {}
        if match.kind == "non_drug":
            entries.append(Entry("no drug", text, match.rule, facts))
        elif match.kind == "mapped":
            facts |= _mapped(match, route)
            entries.append(Entry("drug", text, match.ingredient or "", facts))
    return entries


def _mapped(match: drugs.DrugMatch, route: str | None) -> dict[str, str | list[Row]]:
    facts: dict[str, str | list[Row]] = {
        "groups": _named(match.groups),
        "rule": match.rule,
        "ingredient": match.ingredient or "",
    }
    if route and not routes.known(route):
        facts["route"] = "is not in our table of routes; read as if none were given"
    if len(by_route := _by_route(match.ingredient or "")) > 1:
        facts["by route"] = by_route
    return facts


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


def _ndc(
    text: str, route: str | None, drug_map: DrugMap | None, drug_type: str | None
) -> list[Entry]:
    entry = drug_map.find(text) if drug_map else None
    if entry is None:
        return []
    facts: dict[str, str | list[Row]] = {
        "RxCUI": entry.rxcui,
        "ingredients": ", ".join(entry.ingredients) or "none linked in RxNorm",
        "ATC codes": [{"code": code, "name": atc.name(code[:4])} for code in entry.codes],
    }
    match = drugs.match(entry.name, route, drug_type, entry.codes)
    if match.kind == "mapped":
        facts["groups"] = _named(match.groups)
    facts["rule"] = match.rule
    return [Entry("NDC", entry.ndc, entry.name, facts)]


def _icd(text: str) -> list[Entry]:
    entries = []
    for kind, code in _icd_readings(text):
        if title := icd.title(kind, code):
            facts = _in_icd10(code) if kind == "diagnosis" else {}
            entries.append(Entry(_SYSTEMS[kind, code.partition(":")[0]], code, title, facts))
    return entries


def _icd_readings(text: str) -> list[tuple[icd.Kind, str]]:
    """What the text may be as a code or the start of one, (kind, code): the version that is
    written, and the systems that have the dot, if there is one, at its place."""
    written = _ICD.fullmatch(text.upper())
    if not written:
        return []
    version, dotted = written.groups()
    plain = dotted.replace(".", "")
    readings = [
        (kind, f"{system}:{plain}") for kind, system in _SYSTEMS if version in (None, system)
    ]
    if "." not in dotted:
        return readings
    return [reading for reading in readings if icd.dot_place(*reading) == dotted.index(".")]


def _in_icd10(code: str) -> dict[str, str | list[Row]]:
    if code.startswith("10:"):
        return {}
    found = crosswalk.equivalent(code)
    if found is None:
        named = crosswalk.choices(code)
        several = f"the equivalence maps name {named} codes for it, and no single equivalent"
        return {"in ICD-10": several if named else "the equivalence maps have no code for it"}
    closeness = "exact" if found.exact else "approximate"
    choice = f", the closest of {found.choices}" if found.choices > 1 else ""
    part = ", first part of a combination" if found.part else ""
    by_map = f"general equivalence map: {closeness}{choice}{part}"
    return {
        "in ICD-10": [{"code": found.code, "title": icd.title("diagnosis", found.code) or ""}],
        "rule": f"chosen by hand: {found.reason}" if found.reason else by_map,
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
    if atc.name(code[:4]) == code[:4] and not held:
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
    kind = "ATC code" if len(code) == 7 else "ATC group"
    return [Entry(kind, code, _atc_title(code, [row["ingredient"] for row in held]), facts)]


def _atc_title(code: str, held: list[str]) -> str:
    """We have names of three levels: a substance is named by our ingredients, else by its group."""
    if len(code) <= 4:
        return atc.name(code)
    if len(code) == 7 and held:
        return ", ".join(dict.fromkeys(held))
    return f"part of {code[:4]}, {atc.name(code[:4])}"


def _named(codes: tuple[str, ...] | list[str]) -> list[Row]:
    return [{"code": code, "name": atc.name(code)} for code in codes]


def _why_unknown(text: str, drug_map: DrugMap | None) -> str:
    """Half a line: what was tried, and what the user may have meant."""
    digits = re.sub(r"\D", "", text)
    if ndc.spellings(text) and len(digits) >= 9:
        if drug_map is None:
            return f"reads as an NDC; give --drug-map FILE ({HOW_TO_BUILD})"
        return f"reads as an NDC, which {drug_map.path} does not hold or holds in two meanings"
    if below := _codes_below(text):
        return f"is no complete ICD code; below it lie {below}"
    if "." in text and (codes := _icd(text.replace(".", ""))):
        likely = " or ".join(dict.fromkeys(_dotted(entry) for entry in codes))
        return f"the dot is out of place; did you mean {likely}?"
    names = difflib.get_close_matches(
        text.lower(), sorted(drugs.written_names()), n=_MOST_SUGGESTIONS, cutoff=0.75
    )
    nearest = f"near names, not mapped: {', '.join(names)}" if names else "check the spelling"
    return f"no drug name, ICD or ATC code we know; {nearest}"


def _dotted(entry: Entry) -> str:
    return icd.dotted("procedure" if "procedure" in entry.kind else "diagnosis", entry.code)


def _codes_below(text: str) -> str:
    """The codes that begin with the text, each system by itself; empty where there are none."""
    found = []
    for kind, start in _icd_readings(text):
        version, _, plain = start.partition(":")
        below = [code for code in icd.codes(kind) if code.startswith(start)]
        if len(plain) < 3 or not any(character.isdigit() for character in plain) or not below:
            continue
        more = len(below) - _MOST_SUGGESTIONS
        shown = ", ".join(icd.dotted(kind, code) for code in below[:_MOST_SUGGESTIONS])
        rest = f" and {more} more" if more > 0 else ""
        found.append(f"the {_SYSTEMS[kind, version]} codes {shown}{rest}")
    return "; ".join(found)
