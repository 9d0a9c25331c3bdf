"""Decisions are kept whole, with their row of the audit, and exported as what they are."""

import json
from dataclasses import replace
from datetime import datetime

import pytest

from engine import store
from engine.audit import Audit
from engine.decision_export import fhir_drafts, summary
from engine.decisions import Decisions, Item
from engine.errors import WorkbenchError
from engine.installation import Installation
from engine.permissions import Actor, NotAllowed
from tests.visits import make_visit

VISIT = make_visit(patient_id="patient-7788")
DOCTOR = Actor("dr-a", "clinician")
ITEMS = [
    Item("B01A", "accepted", teacher=0.91, student=0.88),
    Item("C03C", "changed", instead="torasemide", reason="not_available"),
    Item("N02A", "rejected", reason="other", note="<b>opioid naive</b>, avoids"),
]


@pytest.fixture
def installation(tmp_path):
    return Installation(tmp_path)


def save(installation, items=ITEMS, actor=DOCTOR):
    versions = {"teacher": "v1/aa", "student": "v1/bb"}
    return Decisions(installation).save(actor, "cohort-sum", VISIT, versions, items)


def found(installation, cohort="cohort-sum", visit=VISIT):
    return Decisions(installation).of(DOCTOR, cohort, [visit])


def test_a_decision_comes_back_as_it_was_saved(installation):
    saved = save(installation)
    assert found(installation) == [saved]
    assert saved.items == tuple(ITEMS)
    assert [item.group for item in saved.final] == ["B01A", "C03C"]
    assert saved.account == "dr-a"


def test_the_newest_comes_first(installation):
    first, second = save(installation), save(installation)
    assert found(installation) == [second, first]


def test_decisions_outlive_another_ingest_and_say_what_changed(installation):
    saved = save(installation)
    (unchanged,) = found(installation, "ingested again")
    (corrected,) = found(installation, "again", replace(VISIT, diagnoses=("10:N179",)))
    assert (unchanged.number, unchanged.since) == (saved.number, "same record")
    assert (corrected.number, corrected.since) == (saved.number, "other record")


def test_a_visit_of_the_same_ids_in_another_cohort_is_not_the_one(installation):
    save(installation)
    elsewhere = replace(VISIT, admit_time=datetime(2188, 3, 2), diagnoses=("10:N179",))
    assert found(installation, "another hospital", elsewhere) == []
    assert found(installation, visit=replace(VISIT, visit_id="another")) == []


def test_decisions_of_before_the_admission_was_kept_are_found_by_what_was_read(installation):
    saved = save(installation)
    with store.transaction(installation.database) as database:
        database.execute("UPDATE decisions SET admitted = NULL")
    assert [one.number for one in found(installation, "again")] == [saved.number]
    assert found(installation, "again", replace(VISIT, age=99)) == []


def test_the_audit_counts_but_quotes_nothing(installation):
    saved = save(installation)
    with store.opened(installation.database) as database:
        row = next(database.query("SELECT * FROM audit WHERE action = 'decision saved'"))
    details = json.loads(row["details"])
    assert (details["accepted"], details["changed"], details["rejected"]) == (1, 1, 1)
    assert details["decision"] == saved.number
    assert details["input"] == saved.input_hash
    for told in ("opioid", "torasemide", VISIT.patient_id):
        assert told not in json.dumps(list(row.values()))


def test_without_the_audit_there_is_no_decision(installation, monkeypatch):
    def refuse(*_):
        raise WorkbenchError("the audit cannot be written")

    monkeypatch.setattr(Audit, "record", refuse)
    with pytest.raises(WorkbenchError, match="audit"):
        save(installation)
    assert found(installation) == []


@pytest.mark.parametrize("actor", [None, Actor("a", "auditor"), Actor("b", "administrator")])
def test_only_clinicians_decide(installation, actor):
    with pytest.raises(NotAllowed):
        save(installation, actor=actor)


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([], "nothing is decided"),
        ([Item("B01A", "accepted"), Item("B01A", "accepted")], "decided twice"),
        ([Item("XXXX", "accepted")], "no medication group"),
        ([Item("B01A", "rejected")], "choose the reason"),
        ([Item("B01A", "rejected", reason="whim")], "choose the reason"),
        ([Item("B01A", "rejected", reason="other", note=" ")], "in the note"),
        ([Item("B01A", "changed", reason="later")], "in its place"),
        ([Item("B01A", "accepted", note="x" * 501)], "under 500"),
        ([Item("B01A", "maybe")], "choose accepted"),
    ],
)
def test_an_entry_that_cannot_stand_is_named(installation, items, said):
    with pytest.raises(WorkbenchError, match=said):
        save(installation, items=items)


def test_an_export_is_audited_and_only_for_who_may_read(installation):
    saved = save(installation)
    decisions = Decisions(installation)
    decisions.exported(DOCTOR, saved, "FHIR")
    with pytest.raises(NotAllowed):
        decisions.exported(Actor("a", "auditor"), saved, "page")
    with store.opened(installation.database) as database:
        (row,) = database.query("SELECT * FROM audit WHERE action = 'decision exported'")
    assert json.loads(row["details"])["form"] == "FHIR"
    assert VISIT.patient_id not in row["details"]


def decide(installation, group, version="v1", cohort="cohort-sum", **changes):
    visit = replace(VISIT, **changes)
    versions = {"student": f"{version}/bb"}
    return Decisions(installation).save(DOCTOR, cohort, visit, versions, [Item(group, "accepted")])


def accepted(installation, version=None):
    counts = Decisions(installation).acceptance(Actor("a", "auditor"), version)
    return {group: verdicts["accepted"] for group, verdicts in counts.items()}


def test_acceptance_is_counted_by_group_without_patients(installation):
    save(installation)
    decide(installation, "B01A", visit_id="another visit")
    counts = Decisions(installation).acceptance(Actor("a", "auditor"))
    assert counts["B01A"] == {"accepted": 2, "changed": 0, "rejected": 0}
    assert VISIT.patient_id not in json.dumps(counts)


def test_a_corrected_decision_counts_no_more(installation):
    decide(installation, "B01A")
    decide(installation, "C03C", cohort="ingested again", diagnoses=("10:N179",))
    assert accepted(installation) == {"C03C": 1}


def test_a_visit_of_the_same_ids_elsewhere_replaces_nothing(installation):
    decide(installation, "B01A")
    decide(installation, "C03C", cohort="another", admit_time=datetime(2188, 3, 2))
    assert accepted(installation) == {"B01A": 1, "C03C": 1}


def test_acceptance_is_of_the_version_that_is_asked_for(installation):
    decide(installation, "B01A", version="v1")
    decide(installation, "C03C", version="v10")
    assert accepted(installation, "v1") == {"B01A": 1}
    assert accepted(installation, "v10") == accepted(installation) == {"C03C": 1}


def test_fhir_drafts_propose_and_order_nothing(installation):
    drafts = [entry["resource"] for entry in fhir_drafts(save(installation))["entry"]]
    assert [draft["intent"] for draft in drafts] == ["proposal", "proposal"]
    assert {draft["status"] for draft in drafts} == {"draft"}
    assert drafts[0]["medicationCodeableConcept"]["coding"][0]["code"] == "B01A"
    assert drafts[1]["medicationCodeableConcept"]["text"] == "torasemide"
    assert "dosageInstruction" not in json.dumps(drafts)


def test_the_page_to_print_escapes_what_was_typed_and_says_what_it_is(installation):
    page = summary(save(installation), VISIT, ["Atrial fibrillation"], [])
    assert "&lt;b&gt;opioid naive" in page
    assert "<b>" not in page
    assert "Not an order" in page
    assert "none typed in when this page was made" in page
    assert "Safety of the final list" not in page
    checked = summary(save(installation), VISIT, [], [], ["Major: <b>one</b> with another."])
    assert "Safety of the final list" in checked and "<li>Major: &lt;b&gt;one" in checked
    assert "http://" not in page.replace("http-equiv", "")
