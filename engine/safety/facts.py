"""What the rules may know of a patient. Nothing here is looked up or stored."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.records.schema import Visit


@dataclass(frozen=True, slots=True)
class PatientFacts:
    """The patient in front of a check; what is None was not known, and the check says so."""

    age: int | None = None  # years
    sex: str | None = None  # "F" or "M"
    diagnoses: tuple[str, ...] = ()  # of this visit: "10:N184", "9:5854"
    past_diagnoses: tuple[str, ...] = ()  # of earlier visits; only lasting conditions count
    allergies: tuple[str, ...] | None = None  # free text, one entry each; None: nobody asked

    @classmethod
    def of(cls, visit: Visit, allergies: Sequence[str] | None = None) -> "PatientFacts":
        """The facts that a recorded visit holds. Records have allergies as diagnosis codes at
        most; what else is known of them is typed in."""
        past = {code for stay in visit.history for code in stay.diagnoses}
        typed = None if allergies is None else tuple(allergies)
        return cls(visit.age, visit.sex, visit.diagnoses, tuple(sorted(past)), typed)
