"""What a clinician decided about each recommended group, kept with what it was decided upon.

    decisions = Decisions(Installation.current())
    decisions.save(actor, cohort.fingerprint, visit, said.versions, items)
    decisions.of(actor, cohort.fingerprint, cohort.visits(patient_id))

A cohort that is ingested again has another fingerprint, and the decisions about its patients stay.
What a decision was about is therefore found by the visit itself: its patient, its id and the time
of admission, or, of decisions saved before that time was kept, the sum of what the models read.
Ids alone would not do: those of two hospitals, or of two synthetic cohorts, may meet. Each
decision says whether the record has changed since.

A decision is written together with its row of the audit, or not at all, and never changed: a
change of mind is a new decision. The free text stays in the decision; the audit holds counts.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from engine import permissions, store
from engine.audit import Audit
from engine.errors import WorkbenchError
from engine.evidence import input_hash
from engine.installation import Installation
from engine.permissions import Actor
from engine.records.schema import Visit
from engine.terminology import atc

Verdict = Literal["accepted", "changed", "rejected"]
Since = Literal["same cohort", "same record", "other record"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
LONGEST_NOTE = 500  # characters

REASONS: Mapping[str, str] = {  # code → what a clinician reads; why not, or why something else
    "not_indicated": "Not indicated for this patient",
    "already_covered": "Covered by another medication",
    "allergy": "Allergy or intolerance",
    "contraindicated": "Contraindicated by a diagnosis or a finding",
    "interaction": "Interaction with another medication",
    "renal_or_hepatic": "Kidney or liver function",
    "age_or_frailty": "Age or frailty",
    "pregnancy": "Pregnancy or breastfeeding",
    "tried_before": "Tried before without success",
    "patient_wish": "The patient's wish or goals of care",
    "not_available": "Not available here, or another one is preferred",
    "later": "To be started later, or by someone else",
    "other": "Another reason, in the note",
}


@dataclass(frozen=True)
class Item:
    """What was decided about one medication group."""

    group: str  # ATC third level
    verdict: Verdict
    instead: str = ""  # of a changed one: what is given in its place, as typed
    reason: str = ""  # one of `REASONS`; needed unless accepted
    note: str = ""
    teacher: float | None = None  # the probabilities that were shown
    student: float | None = None


@dataclass(frozen=True)
class Decision:
    """One saved decision about one visit."""

    number: int
    patient_id: str
    visit_id: str
    cohort: str  # fingerprint
    decided_at: str  # UTC, ISO 8601
    account: str
    versions: dict[str, str]
    input_hash: str  # see `engine.evidence`
    items: tuple[Item, ...]
    since: Since = "same cohort"  # whether the cohort, and the visit as the models read it, changed

    @property
    def final(self) -> tuple[Item, ...]:
        """What is to be given: the accepted and the changed."""
        return tuple(item for item in self.items if item.verdict != "rejected")


class Decisions:
    """The decisions of an installation."""

    def __init__(self, installation: Installation) -> None:
        self._database = installation.database
        self._audit = Audit(installation.database, installation.audit_key)

    def save(
        self,
        actor: Actor | None,
        cohort: str,
        visit: Visit,
        versions: Mapping[str, str],
        items: Sequence[Item],
    ) -> Decision:
        """Keep a decision about a visit of a cohort (its fingerprint); return it.

        Raises:
            NotAllowed: for anybody but a clinician.
            WorkbenchError: naming the group whose entry cannot stand, or what cannot be written.
        """
        permissions.require(actor, "decide")
        checked = _checked(items)
        decided_at = datetime.now(UTC).isoformat(timespec="seconds")
        counts = {verdict: sum(item.verdict == verdict for item in checked) for verdict in VERDICTS}
        row = {
            "patient_id": visit.patient_id,
            "visit_id": visit.visit_id,
            "admitted": visit.admit_time.isoformat(),
            "cohort": cohort,
            "decided_at": decided_at,
            "account": actor.name,
            "versions": json.dumps(dict(versions), sort_keys=True),
            "input_hash": input_hash(visit),
            "items": json.dumps([asdict(item) for item in checked]),
        }
        with store.transaction(self._database) as database:
            number = database["decisions"].insert(row).last_pk
            self._audit.record(
                database,
                actor,
                "decision saved",
                {
                    "decision": number,
                    "patient": self._audit.pseudonym(cohort, visit.patient_id),
                    "versions": dict(versions),
                    "input": row["input_hash"],
                    **counts,
                },
            )
        return _decision({"id": number, **row})

    def of(self, actor: Actor | None, cohort: str, visits: Iterable[Visit]) -> list[Decision]:
        """Return the decisions about visits of a cohort (its fingerprint), newest first.

        Those made on another state of the cohort are among them, and say so in `since`.
        """
        permissions.require(actor, "recommend")
        known = {(visit.patient_id, visit.visit_id): visit for visit in visits}
        patients = sorted({patient for patient, _ in known})
        marks = ", ".join("?" * len(patients))
        found = []
        with store.opened(self._database) as database:
            for row in database["decisions"].rows_where(
                f"patient_id IN ({marks})", patients, order_by="id DESC"
            ):
                visit = known.get((row["patient_id"], row["visit_id"]))
                if visit is not None and (since := _since(row, cohort, visit)) is not None:
                    found.append(_decision(row, since))
        return found

    def exported(self, actor: Actor | None, decision: Decision, form: str) -> None:
        """Record that a decision is about to leave the workbench, as `form` ("FHIR", "page").

        Raises NotAllowed, or WorkbenchError when it cannot be recorded: then it does not leave.
        """
        permissions.require(actor, "recommend")
        patient = self._audit.pseudonym(decision.cohort, decision.patient_id)
        details = {"decision": decision.number, "patient": patient, "form": form}
        self._audit.write(actor, "decision exported", details)

    def acceptance(
        self, actor: Actor | None, version: str | None = None
    ) -> dict[str, dict[Verdict, int]]:
        """Return group → how often it was accepted, changed and rejected; no patient in it.

        Counted is the newest decision about each visit, for a corrected one counts no more.

        Args:
            version: count decisions on answers of this version alone; None for those of all.
        """
        permissions.require(actor, "see performance")
        counts: dict[str, dict[Verdict, int]] = {}
        replaced: set[tuple[str, ...]] = set()
        with store.opened(self._database) as database:
            for row in database["decisions"].rows_where(order_by="id DESC"):
                if version is not None and not _is_of(row, version):
                    continue
                names = _names_of_visit(row)
                if names.isdisjoint(replaced):
                    for item in json.loads(row["items"]):
                        of_group = counts.setdefault(item["group"], dict.fromkeys(VERDICTS, 0))
                        of_group[item["verdict"]] += 1
                replaced |= names
        return counts


def _checked(items: Iterable[Item]) -> list[Item]:
    kept: dict[str, Item] = {}
    for item in items:
        where = f"{atc.name(item.group)} ({item.group})"
        if item.group not in atc.groups():
            raise WorkbenchError(f"{item.group[:12]!r}: no medication group of ATC's third level")
        if item.group in kept:
            raise WorkbenchError(f"{where}: decided twice; leave one of the two out")
        if item.verdict not in VERDICTS:
            raise WorkbenchError(f"{where}: choose {', '.join(VERDICTS)}")
        if item.verdict != "accepted" and item.reason not in REASONS:
            raise WorkbenchError(f"{where}: choose the reason why it is {item.verdict}")
        if item.reason == "other" and not item.note.strip():
            raise WorkbenchError(f"{where}: say the other reason in the note")
        if item.verdict == "changed" and not item.instead.strip():
            raise WorkbenchError(f"{where}: say what is given in its place")
        if max(len(item.note), len(item.instead)) > LONGEST_NOTE:
            raise WorkbenchError(f"{where}: keep the text under {LONGEST_NOTE} characters")
        kept[item.group] = item
    if not kept:
        raise WorkbenchError("nothing is decided yet; accept, change or reject a group first")
    return list(kept.values())


def _since(row: Mapping, cohort: str, visit: Visit) -> Since | None:
    """Say what has changed since a decision, or None when it was about somebody else's visit."""
    if row["cohort"] == cohort:
        return "same cohort"
    if row["input_hash"] == input_hash(visit):
        return "same record"
    return "other record" if row["admitted"] == visit.admit_time.isoformat() else None


def _names_of_visit(row: Mapping) -> set[tuple[str, ...]]:
    """Return what a visit is known by: two decisions that share one of them are about the same."""
    ids = row["patient_id"], row["visit_id"]
    facts = ("cohort", "input_hash", "admitted")
    return {(*ids, fact, row[fact]) for fact in facts if row[fact] is not None}


def _is_of(row: Mapping, version: str) -> bool:
    """Say whether a version gave the answers: it is named `version/sum` for each model."""
    named = json.loads(row["versions"]).values()
    return any(one.partition("/")[0] == version for one in named)


def _decision(row: Mapping, since: Since = "same cohort") -> Decision:
    return Decision(
        number=row["id"],
        patient_id=row["patient_id"],
        visit_id=row["visit_id"],
        cohort=row["cohort"],
        decided_at=row["decided_at"],
        account=row["account"],
        versions=json.loads(row["versions"]),
        input_hash=row["input_hash"],
        items=tuple(Item(**item) for item in json.loads(row["items"])),
        since=since,
    )
