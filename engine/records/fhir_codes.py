"""The codings of a FHIR CodeableConcept → our codes: ICD for conditions and procedures, drugs.

Systems are named by their URI or OID (terminology.hl7.org); a coding of a system that is not
listed here is passed over, one beside it may still count.
"""

from dataclasses import dataclass

from engine.terminology import icd
from engine.terminology.icd import Kind
from engine.terminology.rxnorm import DrugMap

_ICD_VERSION = {
    "http://hl7.org/fhir/sid/icd-10-cm": "10",
    "http://hl7.org/fhir/sid/icd-10": "10",
    "urn:oid:2.16.840.1.113883.6.90": "10",
    "urn:oid:2.16.840.1.113883.6.3": "10",
    "http://www.cms.gov/medicare/coding/icd10": "10",  # ICD-10-PCS
    "http://hl7.org/fhir/sid/icd-10-pcs": "10",
    "urn:oid:2.16.840.1.113883.6.4": "10",
    "http://hl7.org/fhir/sid/icd-9-cm": "9",
    "http://terminology.hl7.org/codesystem/icd9": "9",
    "http://terminology.hl7.org/codesystem/icd9cm": "9",
    "urn:oid:2.16.840.1.113883.6.103": "9",
    "urn:oid:2.16.840.1.113883.6.104": "9",
}
_SNOMED = ("http://snomed.info/sct", "urn:oid:2.16.840.1.113883.6.96")
_RXNORM = ("http://www.nlm.nih.gov/research/umls/rxnorm", "urn:oid:2.16.840.1.113883.6.88")
_NDC = ("http://hl7.org/fhir/sid/ndc", "urn:oid:2.16.840.1.113883.6.69")
_ATC = ("http://www.whocc.no/atc", "urn:oid:2.16.840.1.113883.6.73")
_LONGEST = 200  # characters of a name that are read


@dataclass(frozen=True)
class Coded:
    """The codes found, or why there is none."""

    codes: tuple[str, ...]
    why: str = ""


def icd_codes(concept: object, kind: Kind) -> Coded:
    """Return the ICD code of a concept as `"10:I5021"`, the first that the tables hold."""
    unknown = []
    for coding in _codings(concept):
        version = _ICD_VERSION.get(_system(coding))
        if version is None:
            continue
        code = f"{version}:{str(coding.get('code') or '').replace('.', '').strip().upper()}"
        if icd.title(kind, code):
            return Coded((code,))
        unknown.append(icd.dotted(kind, code)[:12])
    if unknown:
        return Coded((), f"its ICD code {', '.join(unknown)} is in no table of {kind} codes")
    if any(_system(coding) in _SNOMED for coding in _codings(concept)):
        return Coded((), "has a SNOMED CT code without an ICD code beside it")
    return Coded((), f"has no ICD code ({written(concept)[:60]!r})")


def drug_codes(concept: object, drug_map: DrugMap | None) -> tuple[str, tuple[str, ...]]:
    """Return the drug's name as written and the ATC codes its codings bring.

    A drug that is a code alone has the name that the map gives it.
    """
    codes: list[str] = []
    known_as: list[str] = []  # by the map
    for coding in _codings(concept):
        system, code = _system(coding), str(coding.get("code") or "").strip().upper()
        if system in _ATC and 4 <= len(code) <= 7:
            codes.append(code)
        elif drug_map is not None and system in (*_NDC, *_RXNORM):
            found = drug_map.find(code) if system in _NDC else drug_map.product(code)
            codes += found.codes if found else ()
            known_as += [found.name] if found else []
    named = [coding for coding in _codings(concept) if _system(coding) in _RXNORM]
    names = [str(coding.get("display") or "") for coding in named]
    names += [written(concept), *known_as]
    return next((name[:_LONGEST] for name in names if name), ""), tuple(dict.fromkeys(codes))


def needs_map(concept: object) -> bool:
    """Say whether a drug has a coding that a drug map may read."""
    return any(_system(coding) in (*_NDC, *_RXNORM) for coding in _codings(concept))


def written(concept: object) -> str:
    """Return the words of a concept: its text, else the first name of a coding, else its code."""
    if not isinstance(concept, dict):
        return ""
    codings = _codings(concept)
    names = [concept.get("text"), *(coding.get("display") for coding in codings)]
    found = next((name for name in names if isinstance(name, str) and name.strip()), "")
    return " ".join(found.split())[:_LONGEST]


def _codings(concept: object) -> list[dict]:
    found = concept.get("coding") if isinstance(concept, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _system(coding: dict) -> str:
    return str(coding.get("system") or "").strip().lower().rstrip("/")
