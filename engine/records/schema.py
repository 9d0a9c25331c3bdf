"""What a visit is. This file is the specification; every source and model obeys it.

A diagnosis or procedure is a string `"<ICD version>:<code without dot>"`, such as `"10:I5021"`
or `"9:4019"`, so that leading zeros survive and the two versions never collide. A medication is
its ATC third-level group, four characters, such as `"B01A"`.
"""

from dataclasses import dataclass
from datetime import datetime

from engine.config import EVERY_PROFILE_FIELD

PROFILE_FIELDS = EVERY_PROFILE_FIELD  # a recipe names those that the models are shown
OLDEST_BAND = 90  # MIMIC hides ages above 89; every source is read the same way


@dataclass(frozen=True, slots=True)
class Visit:
    """One hospital admission, with the patient's earlier ones in `history`."""

    patient_id: str
    visit_id: str
    admit_time: datetime
    discharge_time: datetime | None
    age: int | None  # years at admission
    sex: str | None  # "F" or "M"
    insurance: str | None
    language: str | None
    marital_status: str | None
    race: str | None
    religion: str | None
    admission_type: str | None
    diagnoses: tuple[str, ...]  # in the order of their sequence number
    procedures: tuple[str, ...]
    medications: tuple[str, ...]  # sorted, distinct ATC third-level groups
    drugs: tuple[str, ...]  # names as the hospital wrote them, of the drugs that reached a group
    history: tuple["Visit", ...] = ()  # oldest first; their own history is left empty

    @property
    def is_first(self) -> bool:
        """Whether no earlier admission is on record at all."""
        return not self.history

    @property
    def previous_medications(self) -> tuple[str, ...]:
        """The groups of the latest earlier visit with any medication on record."""
        return next((past.medications for past in reversed(self.history) if past.medications), ())

    @property
    def is_labelled(self) -> bool:
        """Whether the visit can train or score a model: a diagnosis in, a medication out."""
        return bool(self.diagnoses) and bool(self.medications)


def age_band(age: int | None) -> str | None:
    """Return the decade an age in years falls in: `"60-69"`, or `"90+"`."""
    if age is None:
        return None
    if age >= OLDEST_BAND:
        return f"{OLDEST_BAND}+"
    decade = age // 10 * 10
    return f"{decade}-{decade + 9}"


def profile_value(visit: Visit, field: str) -> str | None:
    """Return one profile field of a visit as text; `field` is one of `PROFILE_FIELDS`."""
    return age_band(visit.age) if field == "age_band" else getattr(visit, field)
