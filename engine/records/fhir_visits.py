"""Visits put together from the resources of a FHIR bundle: a stay, and who the patient is."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from engine.records.fhir_codes import written
from engine.records.fhir_values import listing, mapping, read_moment
from engine.records.schema import Visit

_RACE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"
NEVER = datetime.min.replace(tzinfo=UTC)
_FIRST = NEVER + timedelta(days=1)  # with a day before it


@dataclass(eq=False)
class Stay:
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

    def add(self, groups: Sequence[str], name: str) -> None:
        """Add the groups of a drug, and its name as written."""
        held = self.codes
        held["medications"] += [code for code in groups if code not in held["medications"]]
        if name and name not in held["drugs"]:
            held["drugs"].append(name)

    def holds(self, moment: datetime | None) -> bool:
        """Say whether a moment is of a day of the stay."""
        if moment is None or self.start is None or moment.date() < self.start.date():
            return False
        return self.end is None or moment.date() <= self.end.date()


def at(stays: list[Stay], moment: datetime | None) -> Stay:
    """Return the visit of a moment, else the next one after it, else the latest."""
    if moment is None:
        return stays[-1]
    held = [stay for stay in reversed(stays) if stay.holds(moment)]
    later = [stay for stay in stays if stay.start and stay.start > moment]
    return next(iter([*held, *later]), stays[-1])


def before(stays: list[Stay], stay: Stay) -> Stay:
    """Return where what was taken before a stay stands: with the latest earlier medications.

    Without any, with the visit before it; without one, an earlier visit is made.
    """
    earlier = stays[: stays.index(stay)]
    if not earlier:
        start = stay.start or datetime.now(UTC)
        made = Stay(
            "before the first encounter", max(start, _FIRST) - timedelta(days=1), None, None
        )
        stays.insert(0, made)
        return made
    return next((one for one in reversed(earlier) if one.codes["medications"]), earlier[-1])


def visits(patient: dict, stays: list[Stay]) -> tuple[Visit, ...]:
    """Return the visits; the history of each is all that came before it."""
    known_as = str(patient.get("id") or "patient")
    born = read_moment(patient.get("birthDate"))
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


def admission_kind(encounter: dict) -> str | None:
    """Return what kind of admission an encounter was, in its own words."""
    found = mapping(encounter.get("class"))
    types = [written(one) for one in listing(encounter.get("type"))]
    name = found.get("display") or found.get("code") or next(filter(None, types), "")
    return str(name)[:60] if name else None


def _language(patient: dict) -> str | None:
    spoken = [mapping(one) for one in listing(patient.get("communication"))]
    chosen = next((one for one in spoken if one.get("preferred")), spoken[0] if spoken else {})
    return written(chosen.get("language")) or None


def _race(patient: dict) -> str | None:
    for extension in listing(patient.get("extension")):
        if mapping(extension).get("url") == _RACE:
            for part in listing(extension.get("extension")):
                if mapping(part).get("url") == "text":
                    return str(part.get("valueString") or "")[:60] or None
    return None
