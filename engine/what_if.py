"""A visit as it might be: codes added or taken away, or a patient typed in from nothing.

    changed = edit(visit, diagnoses=(*visit.diagnoses, "10:N179"))
    changes(recommendation_before, recommendation_after)

What is asked here is a question, not a record: nothing is kept.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta

from engine.errors import WorkbenchError
from engine.records.schema import Visit
from engine.terminology import atc, icd

MADE_UP = "what-if"  # the id of a patient or visit that is on no record
MOST_CODES = 200  # of one kind


@dataclass(frozen=True)
class Change:
    """How an edit moves one medication group, for one model."""

    group: str
    before: float | None  # probability; None where the model was not asked or lacks the group
    after: float | None

    @property
    def moved(self) -> float:
        """The probability after the edit minus the one before, or 0 where one is missing."""
        return 0.0 if self.before is None or self.after is None else self.after - self.before


def edit(
    visit: Visit,
    diagnoses: Iterable[str] | None = None,
    procedures: Iterable[str] | None = None,
    past_medications: Iterable[str] | None = None,
) -> Visit:
    """Return the visit with other codes; what is None, or not changed, stays as it is on record.

    Past medications are those of the latest earlier visit that has any; a patient without one
    gets an earlier visit that holds nothing else.

    Raises WorkbenchError naming a code that no table holds.
    """
    changed = {
        "diagnoses": _codes(visit.diagnoses, diagnoses, "diagnosis"),
        "procedures": _codes(visit.procedures, procedures, "procedure"),
    }
    if past_medications is not None:
        groups = _groups(past_medications)
        if set(groups) != set(visit.previous_medications):
            changed["history"] = _history(visit, groups)
    return replace(visit, **changed)


def new_patient(
    age: int | None, sex: str | None, admission_type: str | None = None, **profile: str | None
) -> Visit:
    """Return the first visit of somebody who is on no record, without codes as yet.

    Args:
        profile: insurance, language, marital_status, race, religion.
    """
    if age is not None and not 0 <= age <= 130:
        raise WorkbenchError(f"age {age}: expected years between 0 and 130")
    if sex not in (None, "F", "M"):
        raise WorkbenchError(f"sex {sex!r}: expected F, M or nothing")
    fields = dict.fromkeys(("insurance", "language", "marital_status", "race", "religion"))
    return Visit(
        patient_id=MADE_UP,
        visit_id=MADE_UP,
        admit_time=datetime.combine(datetime.now().date(), time.min),  # the same all day
        discharge_time=None,
        age=age,
        sex=sex,
        admission_type=admission_type,
        diagnoses=(),
        procedures=(),
        medications=(),
        drugs=(),
        **{**fields, **profile},
    )


def changes(before: Mapping[str, float], after: Mapping[str, float]) -> list[Change]:
    """Return every group of two answers of one model, group → probability, most moved first."""
    found = [Change(group, before.get(group), after.get(group)) for group in {*before, *after}]
    return sorted(found, key=lambda change: (-abs(change.moved), change.group))


def _history(visit: Visit, groups: tuple[str, ...]) -> tuple[Visit, ...]:
    places = [place for place, past in enumerate(visit.history) if past.medications]
    if not places and visit.history:
        places = [len(visit.history) - 1]
    if not places:
        earlier = replace(
            visit,
            visit_id=f"{visit.visit_id}-before",
            admit_time=visit.admit_time - timedelta(days=1),
            discharge_time=visit.admit_time,
            diagnoses=(),
            procedures=(),
            medications=groups,
            drugs=(),
            history=(),
        )
        return (earlier,)
    past = list(visit.history)
    past[places[-1]] = replace(past[places[-1]], medications=groups, drugs=())
    return tuple(past)


def _codes(
    recorded: tuple[str, ...], codes: Iterable[str] | None, kind: icd.Kind
) -> tuple[str, ...]:
    """Return the codes, or those on record where they are the same: it may hold one twice."""
    kept = None if codes is None else _icd(codes, kind)
    return recorded if kept in (None, tuple(dict.fromkeys(recorded))) else kept


def _icd(codes: Iterable[str], kind: icd.Kind) -> tuple[str, ...]:
    kept = _few(codes, kind)
    for code in kept:
        version, _, plain = code.partition(":")
        if version not in ("9", "10") or not plain.isalnum():
            raise WorkbenchError(f"{code[:20]!r}: no {kind} code; expected such as 10:I5021")
    return kept


def _groups(groups: Iterable[str]) -> tuple[str, ...]:
    kept = _few(groups, "medication")
    for group in kept:
        if group not in atc.groups():
            raise WorkbenchError(f"{group[:20]!r}: no medication group; expected such as B01A")
    return tuple(sorted(kept))


def _few(codes: Iterable[str], kind: str) -> tuple[str, ...]:
    kept = tuple(dict.fromkeys(codes))
    if len(kept) > MOST_CODES:
        raise WorkbenchError(f"{len(kept)} {kind} codes: keep it under {MOST_CODES}")
    return kept
