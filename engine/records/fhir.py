"""One patient from a FHIR R4 bundle: their visits in time order, and all that could not be read.

    record = read_bundle(text)
    record.visits[-1]        # the latest encounter, with the others as its history
    record.unread            # what was passed over, one line each
    record.assumed           # what the bundle leaves open, and how it was read

Read: Patient, Encounter, Condition, Procedure, MedicationRequest, MedicationStatement,
MedicationAdministration, Medication and AllergyIntolerance (HL7 FHIR R4, hl7.org/fhir/R4).
Codings: ICD-10-CM, ICD-10-PCS, ICD-9-CM; SNOMED CT where an ICD coding stands beside it; drugs by
ATC or name, NDC and RxNorm with a drug map; without one RxNorm by the name beside its number.
Nothing else stops the reading. Only what is no bundle of one patient raises.

A MedicationRequest is an order and belongs to its encounter. A MedicationStatement is what the
patient takes: unless it says that it was taken during a stay, it is home medication, known before
the visit, and never counted as what that visit prescribed.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from engine.errors import WorkbenchError
from engine.records.fhir_codes import Coded, drug_codes, icd_codes, needs_map, written
from engine.records.fhir_values import (
    address,
    asserted,
    listing,
    mapping,
    read_moment,
    status_codes,
    when,
    word,
)
from engine.records.fhir_visits import NEVER, Stay, admission_kind, at, before, visits
from engine.records.schema import Visit
from engine.terminology import drugs
from engine.terminology.rxnorm import DrugMap

NO_MAP = (  # ends why a drug was not read
    "; this installation has no drug map for its code: "
    "make one with python -m engine terminology rxnorm RRF_DIR"
)
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


@dataclass(frozen=True)
class Remark:
    """One thing that was passed over, or read in a way that the bundle does not say."""

    what: str  # "Condition/c1"
    why: str


@dataclass(frozen=True)
class FhirRecord:
    """What a bundle says of one patient."""

    visits: tuple[Visit, ...]  # oldest first, each with its history; one at least
    allergies: tuple[str, ...]  # as written
    unread: tuple[Remark, ...]
    assumed: tuple[Remark, ...] = ()


def read_bundle(text: str, drug_map: DrugMap | None = None) -> FhirRecord:
    """Read a bundle (or a list of resources) as JSON text.

    What has no encounter belongs to the one whose period holds its date, else to the latest one;
    medications dated before every encounter make an earlier visit of their own. A
    MedicationStatement without a date within a stay is known before the visit: it stands with the
    latest earlier visit that has medications, or makes an earlier visit.

    Raises:
        WorkbenchError: when the text is no JSON bundle, or not of exactly one patient.
    """
    resources, known_as = _resources(text)
    bundle = _Bundle(resources, known_as, drug_map)
    patient = bundle.patient()
    stays = bundle.stays()
    bundle.sort_into(stays)
    return FhirRecord(
        visits(patient, stays),
        tuple(bundle.allergies()),
        tuple(bundle.unread),
        tuple(bundle.assumed),
    )


class _Bundle:
    """The resources of a bundle, and what of them was passed over."""

    def __init__(
        self, resources: list[dict], known_as: dict[str, str], drug_map: DrugMap | None
    ) -> None:
        self._resources = resources
        self._known_as = known_as  # the full address of an entry → "Type/id"
        self._drug_map = drug_map
        self._earlier: Stay | None = None
        self._at_home: list[tuple[Stay, Sequence[str], str]] = []  # before which stay, what
        self.assumed: list[Remark] = []
        self.unread: list[Remark] = [
            Remark(address(one), f"{one['resourceType']} is not read")
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

    def stays(self) -> list[Stay]:
        """Return the encounters in time order; a bundle without one is one visit of today."""
        stays = []
        for encounter in self._of("Encounter"):
            if self._is_void(encounter):
                continue
            period = mapping(encounter.get("period"))
            start, end = read_moment(period.get("start")), read_moment(period.get("end"))
            stay = Stay(address(encounter), start, end, admission_kind(encounter))
            if start is None:
                self._pass_over(encounter, "has no period.start, so its place in time is unknown")
            stays.append(stay)
        if sum(stay.start is None for stay in stays) > 1 or (
            len(stays) > 1 and any(stay.start is None for stay in stays)
        ):
            stays = [stay for stay in stays if stay.start is not None]
        if not stays:
            stays = [Stay("", None, None, None)]
        return sorted(stays, key=lambda stay: stay.start or NEVER)

    def sort_into(self, stays: list[Stay]) -> None:
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
        for stay, groups, name in self._at_home:
            before(stays, stay).add(groups, name)
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

    def _add_codes(self, stays: Sequence[Stay], one: dict, kind: str, field_: str) -> None:
        coded: Coded = icd_codes(one.get("code"), kind)
        if not coded.codes:
            self._pass_over(one, coded.why)
            return
        held = self._stay_of(stays, one).codes[field_]
        held += [code for code in coded.codes if code not in held]

    def _add_drug(self, stays: Sequence[Stay], one: dict) -> None:
        concept = one.get("medicationCodeableConcept") or self._referenced(one)
        name, codes = drug_codes(concept, self._drug_map)
        route = written(self._dosage(one).get("route")) or None
        match = drugs.match(name, route, codes=codes)
        if match.kind != "mapped":
            wanting = self._drug_map is None and needs_map(concept)
            self._pass_over(one, _why_no_group(name, match) + NO_MAP * wanting)
            return
        stay = (
            self._stay_of_statement(stays, one)
            if one["resourceType"] == "MedicationStatement"
            else self._stay_of_order(stays, one)
        )
        if stay is None:
            self._add_at_home(stays, one, match.groups, name)
        else:
            stay.add(match.groups, name)

    def _stay_of_statement(self, stays: Sequence[Stay], one: dict) -> Stay | None:
        """Return the visit during which a medication was taken, or None for home medication."""
        moment = when(one)
        if moment is None and "inpatient" in status_codes(one, "category"):
            return self._stay_of(stays, one)
        held = [stay for stay in reversed(stays) if stay.holds(moment)]
        return held[0] if held else self._before_all(stays, moment)

    def _stay_of_order(self, stays: Sequence[Stay], one: dict) -> Stay:
        if stay := self._own_stay(stays, one) or self._before_all(stays, when(one)):
            return stay
        if stays[-1].key:
            self._assume(one, "names no encounter, nor a date within one: read as of the latest")
        return stays[-1]

    def _before_all(self, stays: Sequence[Stay], moment: datetime | None) -> Stay | None:
        """Return the visit made of medications before the first encounter, if the date is one."""
        first = stays[0].start
        if moment is None or first is None or moment.date() >= first.date():
            return None
        if self._earlier is None:
            self._earlier = Stay("before the first encounter", moment, None, None)
        self._earlier.start = min(self._earlier.start or moment, moment)
        return self._earlier

    def _add_at_home(
        self, stays: Sequence[Stay], one: dict, groups: Sequence[str], name: str
    ) -> None:
        stay = self._named_stay(stays, one) or at(stays, when(one) or asserted(one))
        visit = f"the visit of {stay.start:%d %B %Y}" if stay.start else "the visit"
        self._assume(
            one,
            f"{name[:60] or ', '.join(groups)} has no date within a stay: taken as home "
            f"medication, before {visit}",
        )
        self._at_home.append((stay, groups, name))

    def _stay_of(self, stays: Sequence[Stay], one: dict) -> Stay:
        return self._own_stay(stays, one) or stays[-1]

    def _own_stay(self, stays: Sequence[Stay], one: dict) -> Stay | None:
        """Return the visit that a resource names, or whose period holds its date."""
        if stay := self._named_stay(stays, one):
            return stay
        moment = when(one)
        return next((stay for stay in reversed(stays) if stay.holds(moment)), None)

    def _named_stay(self, stays: Sequence[Stay], one: dict) -> Stay | None:
        reference = self._reference(one.get("encounter") or one.get("context"))
        return next((stay for stay in stays if stay.key and stay.key == reference), None)

    def _referenced(self, one: dict) -> object:
        """Return the code of a Medication that is contained or elsewhere in the bundle."""
        reference = self._reference(one.get("medicationReference"))
        if not reference:
            return None
        inside = [part for part in listing(one.get("contained")) if isinstance(part, dict)]
        for part in inside:
            if f"#{part.get('id')}" == reference:
                return part.get("code")
        return next(
            (found.get("code") for found in self._of("Medication") if address(found) == reference),
            None,
        )

    def _reference(self, value: object) -> str:
        """Return "Type/id", or "#id" of what a resource itself contains."""
        text = str(mapping(value).get("reference") or "")
        if text.startswith("#"):
            return text
        return self._known_as.get(text) or "/".join(text.split("/")[-2:])

    def _dosage(self, one: dict) -> dict:
        dosages = one.get("dosageInstruction") or one.get("dosage")
        return mapping(dosages[0] if isinstance(dosages, list) and dosages else dosages)

    def _is_void(self, one: dict) -> bool:
        """Say whether a resource says of itself that it does not hold."""
        said = {word(one.get("status"))}
        found = (
            said | status_codes(one, "verificationStatus") | status_codes(one, "clinicalStatus")
        ) & _VOID
        if one["resourceType"] == "MedicationRequest":
            found |= {word(one.get("intent"))} & _NO_ORDER
            if one.get("doNotPerform") is True:
                found.add("not to be given")
        if found:
            self._pass_over(one, f"is marked {', '.join(sorted(found))}")
        return bool(found)

    def _is_over(self, stays: Sequence[Stay], one: dict) -> bool:
        """Say whether a condition is over and belongs to no visit: then it is not of the latest."""
        over = status_codes(one, "clinicalStatus") & _OVER
        if not over or self._own_stay(stays, one):
            return False
        self._pass_over(one, f"is marked {', '.join(sorted(over))} and belongs to no encounter")
        return True

    def _of(self, kind: str) -> Iterator[dict]:
        return (one for one in self._resources if one["resourceType"] == kind)

    def _assume(self, one: dict, what: str) -> None:
        self.assumed.append(Remark(address(one), what))

    def _pass_over(self, one: dict, why: str) -> None:
        self.unread.append(Remark(address(one), why))


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
        entries = [mapping(entry) for entry in listing(content.get("entry"))]
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
            known_as[str(entry.get("fullUrl"))] = address(one)
    return resources, known_as


def _why_no_group(name: str, match: drugs.DrugMatch) -> str:
    if match.kind == "non_drug":
        return f"{name[:60]!r} carries or supplies other drugs ({match.rule})"
    return f"{name[:60]!r} is no drug we know" if name else "names no drug, only codes without text"
