"""One patient from a FHIR R4 bundle: their visits in time order, and all that could not be read.

    record = read_bundle(text)
    record.visits[-1]        # the latest encounter, with the others as its history
    record.unread            # what was passed over, one line each

Read: Patient, Encounter, Condition, Procedure, MedicationRequest, MedicationStatement,
MedicationAdministration, Medication and AllergyIntolerance (HL7 FHIR R4, hl7.org/fhir/R4).
Codings: ICD-10-CM, ICD-10-PCS, ICD-9-CM; SNOMED CT where an ICD coding stands beside it; drugs by
ATC, NDC (with a drug map) or name, RxNorm by the name beside its number. Nothing else stops the
reading. Only what is no bundle of one patient raises.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

from engine.errors import WorkbenchError
from engine.records.fhir_codes import Coded, drug_codes, icd_codes, written
from engine.records.schema import Visit
from engine.terminology import drugs
from engine.terminology.rxnorm import DrugMap

LARGEST = 20_000_000  # characters of a bundle
READ = (
    "Patient",
    "Encounter",
    "Condition",
    "Procedure",
    "MedicationRequest",
    "MedicationStatement",
    "MedicationAdministration",
    "Medication",
    "AllergyIntolerance",
)
_DRUG_RESOURCES = ("MedicationRequest", "MedicationStatement", "MedicationAdministration")
_VOID = {  # of a status: what never was, or is not yet
    *("entered-in-error", "refuted", "cancelled", "not-done", "not-taken", "draft"),
    *("preparation", "intended"),
}
_OVER = {"inactive", "remission", "resolved"}  # of a condition
_NO_ORDER = {"proposal", "plan", "option"}  # of a MedicationRequest's intent
_WHEN = {  # where each resource says when: the first field that is there counts
    "Condition": ("onsetDateTime", "onsetPeriod", "recordedDate"),
    "Procedure": ("performedDateTime", "performedPeriod"),
    "MedicationRequest": ("authoredOn",),
    "MedicationStatement": ("effectiveDateTime", "effectivePeriod", "dateAsserted"),
    "MedicationAdministration": ("effectiveDateTime", "effectivePeriod"),
}
_RACE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Unread:
    """One thing that was passed over."""

    what: str  # "Condition c1"
    why: str


@dataclass(frozen=True)
class FhirRecord:
    """What a bundle says of one patient."""

    visits: tuple[Visit, ...]  # oldest first, each with its history; one at least
    allergies: tuple[str, ...]  # as written
    unread: tuple[Unread, ...]


@dataclass
class _Stay:
    """A visit being put together."""

    key: str
    start: datetime | None
    end: datetime | None
    kind: str | None
    codes: dict[str, list[str]] = field(
        default_factory=lambda: {
            "diagnoses": [],
            "procedures": [],
            "medications": [],
            "drugs": [],
        }
    )

    def holds(self, moment: datetime | None) -> bool:
        if moment is None or self.start is None or moment.date() < self.start.date():
            return False
        return self.end is None or moment.date() <= self.end.date()


def read_bundle(text: str, drug_map: DrugMap | None = None) -> FhirRecord:
    """Read a bundle (or a list of resources) as JSON text.

    What has no encounter belongs to the one whose period holds its date, else to the latest one;
    medications dated before every encounter make an earlier visit of their own.

    Raises:
        WorkbenchError: when the text is no JSON bundle, or not of exactly one patient.
    """
    resources, known_as = _resources(text)
    bundle = _Bundle(resources, known_as, drug_map)
    patient = bundle.patient()
    stays = bundle.stays()
    bundle.sort_into(stays)
    return FhirRecord(_visits(patient, stays), tuple(bundle.allergies()), tuple(bundle.unread))


class _Bundle:
    """The resources of a bundle, and what of them was passed over."""

    def __init__(
        self, resources: list[dict], known_as: dict[str, str], drug_map: DrugMap | None
    ) -> None:
        self._resources = resources
        self._known_as = known_as  # the full address of an entry → "Type/id"
        self._drug_map = drug_map
        self._earlier: _Stay | None = None
        self.unread: list[Unread] = [
            Unread(_name(one), f"{one['resourceType']} is not read")
            for one in resources
            if one["resourceType"] not in READ
        ]

    def patient(self) -> dict:
        found = list(self._of("Patient"))
        if len(found) != 1:
            raise WorkbenchError(
                f"the bundle holds {len(found)} Patient resources; expected exactly one"
            )
        return found[0]

    def stays(self) -> list[_Stay]:
        """Return the encounters in time order; a bundle without one is one visit of today."""
        stays = []
        for encounter in self._of("Encounter"):
            if self._is_void(encounter):
                continue
            period = _dict(encounter.get("period"))
            start, end = _moment(period.get("start")), _moment(period.get("end"))
            stay = _Stay(_name(encounter), start, end, _kind(encounter))
            if start is None:
                self._pass_over(encounter, "has no period.start, so its place in time is unknown")
            stays.append(stay)
        if sum(stay.start is None for stay in stays) > 1 or (
            len(stays) > 1 and any(stay.start is None for stay in stays)
        ):
            stays = [stay for stay in stays if stay.start is not None]
        if not stays:
            stays = [_Stay("", None, None, None)]
        return sorted(stays, key=lambda stay: stay.start or _NEVER)

    def sort_into(self, stays: list[_Stay]) -> None:
        """Put every code into the visit it belongs to; past visits without any are dropped.

        Medications of before the first encounter make an earlier visit.
        """
        for one in self._of("Condition"):
            if not self._is_void(one) and not self._is_over(stays, one):
                self._add_codes(stays, one, "diagnosis", "diagnoses")
        for one in self._of("Procedure"):
            if not self._is_void(one):
                self._add_codes(stays, one, "procedure", "procedures")
        for kind in _DRUG_RESOURCES:
            for one in self._of(kind):
                if not self._is_void(one):
                    self._add_drug(stays, one)
        if self._earlier is not None:
            stays.insert(0, self._earlier)
        stays[:-1] = [stay for stay in stays[:-1] if any(stay.codes.values())]

    def allergies(self) -> Iterator[str]:
        for one in self._of("AllergyIntolerance"):
            if self._is_void(one):
                continue
            name = written(one.get("code"))
            if name:
                yield name
            else:
                self._pass_over(one, "names no substance")

    def _add_codes(self, stays: Sequence[_Stay], one: dict, kind: str, field_: str) -> None:
        coded: Coded = icd_codes(one.get("code"), kind)
        if not coded.codes:
            self._pass_over(one, coded.why)
            return
        held = self._stay_of(stays, one).codes[field_]
        held += [code for code in coded.codes if code not in held]

    def _add_drug(self, stays: Sequence[_Stay], one: dict) -> None:
        concept = one.get("medicationCodeableConcept") or self._referenced(one)
        name, codes = drug_codes(concept, self._drug_map)
        route = written(self._dosage(one).get("route")) or None
        match = drugs.match(name, route, codes=codes)
        if match.kind != "mapped":
            self._pass_over(one, _why_no_group(name, match))
            return
        held = self._stay_of(stays, one, drug=True).codes
        held["medications"] += [code for code in match.groups if code not in held["medications"]]
        if name and name not in held["drugs"]:
            held["drugs"].append(name)

    def _stay_of(self, stays: Sequence[_Stay], one: dict, drug: bool = False) -> _Stay:
        if stay := self._own_stay(stays, one):
            return stay
        moment, first = _when(one), stays[0].start
        if drug and moment is not None and first is not None and moment.date() < first.date():
            if self._earlier is None:
                self._earlier = _Stay("before the first encounter", moment, None, None)
            self._earlier.start = min(self._earlier.start or moment, moment)
            return self._earlier
        return stays[-1]

    def _own_stay(self, stays: Sequence[_Stay], one: dict) -> _Stay | None:
        """Return the visit that a resource names, or whose period holds its date."""
        reference = self._reference(one.get("encounter") or one.get("context"))
        for stay in stays:
            if stay.key and reference == stay.key:
                return stay
        moment = _when(one)
        return next((stay for stay in reversed(stays) if stay.holds(moment)), None)

    def _referenced(self, one: dict) -> object:
        """Return the code of a Medication that is contained or elsewhere in the bundle."""
        reference = self._reference(one.get("medicationReference"))
        if not reference:
            return None
        inside = [part for part in _list(one.get("contained")) if isinstance(part, dict)]
        for part in inside:
            if f"#{part.get('id')}" == reference:
                return part.get("code")
        return next(
            (found.get("code") for found in self._of("Medication") if _name(found) == reference),
            None,
        )

    def _reference(self, value: object) -> str:
        """Return "Type/id", or "#id" of what a resource itself contains."""
        text = str(_dict(value).get("reference") or "")
        if text.startswith("#"):
            return text
        return self._known_as.get(text) or "/".join(text.split("/")[-2:])

    def _dosage(self, one: dict) -> dict:
        dosages = one.get("dosageInstruction") or one.get("dosage")
        return _dict(dosages[0] if isinstance(dosages, list) and dosages else dosages)

    def _is_void(self, one: dict) -> bool:
        """Say whether a resource says of itself that it does not hold."""
        said = {_word(one.get("status"))}
        found = (said | _coded(one, "verificationStatus") | _coded(one, "clinicalStatus")) & _VOID
        if one["resourceType"] == "MedicationRequest":
            found |= {_word(one.get("intent"))} & _NO_ORDER
            if one.get("doNotPerform") is True:
                found.add("not to be given")
        if found:
            self._pass_over(one, f"is marked {', '.join(sorted(found))}")
        return bool(found)

    def _is_over(self, stays: Sequence[_Stay], one: dict) -> bool:
        """Say whether a condition is over and belongs to no visit: then it is not of the latest."""
        over = _coded(one, "clinicalStatus") & _OVER
        if not over or self._own_stay(stays, one):
            return False
        self._pass_over(one, f"is marked {', '.join(sorted(over))} and belongs to no encounter")
        return True

    def _of(self, kind: str) -> Iterator[dict]:
        return (one for one in self._resources if one["resourceType"] == kind)

    def _pass_over(self, one: dict, why: str) -> None:
        self.unread.append(Unread(_name(one), why))


def _resources(text: str) -> tuple[list[dict], dict[str, str]]:
    """Return the resources, and under which name those with a full address are known."""
    if len(text) > LARGEST:
        raise WorkbenchError(
            f"the bundle is longer than {LARGEST:,} characters; give one patient's alone"
        )
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise WorkbenchError("this is no JSON; give a FHIR R4 bundle as JSON") from None
    if isinstance(content, dict) and content.get("resourceType") == "Bundle":
        entries = [_dict(entry) for entry in _list(content.get("entry"))]
    elif isinstance(content, list):
        entries = [{"resource": one} for one in content]
    else:
        raise WorkbenchError('this is no FHIR bundle; expected JSON with "resourceType": "Bundle"')
    resources, known_as = [], {}
    for number, entry in enumerate(entries, start=1):
        one = entry.get("resource")
        if isinstance(one, dict) and isinstance(one.get("resourceType"), str):
            one.setdefault("id", f"entry {number}")
            resources.append(one)
            known_as[str(entry.get("fullUrl"))] = _name(one)
    return resources, known_as


def _visits(patient: dict, stays: list[_Stay]) -> tuple[Visit, ...]:
    """Return the visits; the history of each is all that came before it."""
    known_as = str(patient.get("id") or "patient")
    born = _moment(patient.get("birthDate"))
    visits: list[Visit] = []
    for number, stay in enumerate(stays, start=1):
        start = stay.start or datetime.now(UTC)
        visit = Visit(
            patient_id=known_as,
            visit_id=f"{known_as}-{number}",
            admit_time=start.replace(tzinfo=None),
            discharge_time=stay.end and stay.end.replace(tzinfo=None),
            age=_age(born, start),
            sex={"female": "F", "male": "M"}.get(str(patient.get("gender", "")).lower()),
            insurance=None,
            language=_language(patient),
            marital_status=written(patient.get("maritalStatus")) or None,
            race=_race(patient),
            religion=None,
            admission_type=stay.kind,
            diagnoses=tuple(stay.codes["diagnoses"]),
            procedures=tuple(stay.codes["procedures"]),
            medications=tuple(sorted(stay.codes["medications"])),
            drugs=tuple(stay.codes["drugs"]),
        )
        past = tuple(replace(one, history=()) for one in visits)
        visits.append(replace(visit, history=past))
    return tuple(visits)


def _age(born: datetime | None, at: datetime) -> int | None:
    if born is None or born > at:
        return None
    birthday = (at.month, at.day) >= (born.month, born.day)
    return at.year - born.year - (not birthday)


def _kind(encounter: dict) -> str | None:
    found = _dict(encounter.get("class"))
    types = [written(one) for one in _list(encounter.get("type"))]
    name = found.get("display") or found.get("code") or next(filter(None, types), "")
    return str(name)[:60] if name else None


def _language(patient: dict) -> str | None:
    spoken = [_dict(one) for one in _list(patient.get("communication"))]
    chosen = next((one for one in spoken if one.get("preferred")), spoken[0] if spoken else {})
    return written(chosen.get("language")) or None


def _race(patient: dict) -> str | None:
    for extension in _list(patient.get("extension")):
        if _dict(extension).get("url") == _RACE:
            for part in _list(extension.get("extension")):
                if _dict(part).get("url") == "text":
                    return str(part.get("valueString") or "")[:60] or None
    return None


def _when(one: dict) -> datetime | None:
    for name in _WHEN[one["resourceType"]]:
        value = one.get(name)
        if value:
            return _moment(value.get("start") if isinstance(value, dict) else value)
    return None


def _moment(value: object) -> datetime | None:
    """Return a FHIR date or dateTime, which may be a year or a month alone, in UTC."""
    text = str(value or "")
    try:
        if len(text) in (4, 7):
            year, _, month = text.partition("-")
            return datetime(int(year), int(month or 1), 1, tzinfo=UTC)
        if len(text) == 10:
            return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _coded(one: dict, name: str) -> set[str]:
    """Return the codes of a status that is a concept."""
    codings = _list(_dict(one.get(name)).get("coding"))
    return {_word(coding.get("code")) for coding in codings if isinstance(coding, dict)}


def _word(value: object) -> str:
    return str(value or "").lower()


def _why_no_group(name: str, match: drugs.DrugMatch) -> str:
    if match.kind == "non_drug":
        return f"{name[:60]!r} carries or supplies other drugs ({match.rule})"
    return f"{name[:60]!r} is no drug we know" if name else "names no drug, only codes without text"


def _name(one: dict) -> str:
    return f"{one['resourceType']}/{str(one.get('id') or '?')[:64]}"


def _dict(value: object) -> dict:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list:
    return value if isinstance(value, list) else []
