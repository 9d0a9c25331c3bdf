"""The values of a FHIR resource, read tolerantly: dates, states and addresses.

What is not of the expected form is read as missing, never raised.
"""

from datetime import UTC, date, datetime

_WHEN = {  # where each resource says when: the first field that is there counts
    "Condition": ("onsetDateTime", "onsetPeriod", "recordedDate"),
    "Procedure": ("performedDateTime", "performedPeriod"),
    "MedicationRequest": ("authoredOn",),
    # dateAsserted says when somebody wrote it down, not when it was taken
    "MedicationStatement": ("effectiveDateTime", "effectivePeriod"),
    "MedicationAdministration": ("effectiveDateTime", "effectivePeriod"),
}


def when(one: dict) -> datetime | None:
    """Return when what a resource tells of began, in UTC."""
    for name in _WHEN[one["resourceType"]]:
        value = one.get(name)
        if value:
            return read_moment(value.get("start") if isinstance(value, dict) else value)
    return None


def asserted(one: dict) -> datetime | None:
    """Return when a MedicationStatement was written down, in UTC."""
    return read_moment(one.get("dateAsserted"))


def read_moment(value: object) -> datetime | None:
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


def status_codes(one: dict, name: str) -> set[str]:
    """Return the codes of a status that is a concept."""
    codings = listing(mapping(one.get(name)).get("coding"))
    return {word(coding.get("code")) for coding in codings if isinstance(coding, dict)}


def word(value: object) -> str:
    """Return a code as it is compared: no upper case."""
    return str(value or "").lower()


def address(one: dict) -> str:
    """Return how a resource is referred to: "Type/id"."""
    return f"{one['resourceType']}/{str(one.get('id') or '?')[:64]}"


def mapping(value: object) -> dict:
    """Return the value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def listing(value: object) -> list:
    """Return the value if it is an array, else an empty one."""
    return value if isinstance(value, list) else []
