"""Below the answer: what the safety rules say, what is decided, what it rests on, who is alike."""

import json
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import streamlit as st

from app.widgets import (
    basis_panel,
    confidence,
    decision_panel,
    final_list,
    safety_panel,
    similar_panel,
)
from engine import basis, store
from engine.decisions import Decisions, Item
from engine.installation import Installation
from engine.permissions import Actor
from engine.records.cohort import Cohort
from engine.safety.report import Alert, Report
from engine.similar import Similar
from tests.app.signing_in import sign_in, signed_in
from tests.app.test_pages import page_text, settled

PAGE = "views/recommend.py"


@pytest.fixture
def cohort(tiny_cohort, tiny_pair, tmp_path, monkeypatch):
    """The cohort of a running app."""
    monkeypatch.setenv("WORKBENCH_COHORT", str(tiny_cohort))
    monkeypatch.setenv("WORKBENCH_MODELS", str(tiny_pair))
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "data"))
    st.cache_data.clear()
    st.cache_resource.clear()
    return Cohort.open(tiny_cohort)


@pytest.fixture
def visit(cohort):
    return cohort.samples("test")[0]


@pytest.fixture
def reported(monkeypatch):
    """Let the safety rules say what a test wants them to say."""

    def report(*alerts, repeated=()):
        said = Report(alerts, tuple(repeated), 0, ("Doses were not checked.",))
        monkeypatch.setattr(safety_panel, "check_lists", lambda *_, **__: said)

    return report


def alert(tier, severity, what="warfarin with <b>aspirin</b>"):
    return Alert(
        rule=f"{tier}-{severity}",
        kind="interaction",
        severity=severity,
        tier=tier,
        level="drug",
        certainty="certain",
        what=what,
        why="Both thin the blood.",
        management="Choose one.",
        source="a source",
        scope="",
        involved=("aspirin", "warfarin"),
        pairs=(("aspirin", "warfarin"),),
    )


def opened(visit, role="clinician", tab=None):
    app = signed_in(role).run()
    app.session_state["patient_id"] = visit.patient_id
    app.session_state["visit_id"] = visit.visit_id
    app.switch_page(PAGE)
    if tab:
        app.session_state["second_look"] = tab
    return settled(app)


def html(app):
    return "\n".join(one.proto.body for one in app.get("html"))


def button(app, words):
    return next(one for one in app.button if one.label.startswith(words))


def editor_key(app, visit):
    _, turn, _ = app.session_state[f"decision-table-{visit.visit_id}"]
    return f"decision-editor-{visit.visit_id}-{turn}"


# ---------------------------------------------------------------- safety


def test_what_is_contraindicated_keeps_a_decision_from_being_saved_until_it_was_read(
    visit, reported
):
    reported(alert("interrupt", "contraindicated"), alert("inline", "major"))
    app = opened(visit)
    assert not app.exception and not app.error
    shown = html(app)
    assert 'role="alert"' in shown
    assert shown.index("Contraindicated") < shown.index("Major")
    assert "warfarin with &lt;b&gt;aspirin" in shown
    button(app, "Accept all").click()
    app.run()
    assert button(app, "Save the decision").disabled
    next(box for box in app.checkbox if "contraindicated" in box.label).check()
    app.run()
    assert not button(app, "Save the decision").disabled


def test_milder_alerts_interrupt_nobody_and_what_was_not_checked_is_said(visit, reported):
    reported(alert("folded", "moderate"), repeated=[alert("inline", "major")])
    app = opened(visit)
    assert 'role="alert"' not in html(app)
    labels = [one.label for one in app.expander]
    assert any(label.startswith("Of lesser weight") and "1 moderate" in label for label in labels)
    assert any(label.startswith("Known from") and "1 major" in label for label in labels)
    assert "Doses were not checked" in page_text(app).replace("\\", "")
    button(app, "Accept all").click()
    assert not button(app.run(), "Save the decision").disabled


def test_what_was_read_of_one_drug_is_not_read_of_another():
    one = alert("interrupt", "contraindicated")
    assert safety_panel._told([one]) == safety_panel._told([one])
    assert safety_panel._told([one]) != safety_panel._told([replace(one, involved=("J01C",))])


def test_no_alert_is_not_called_safe(visit, reported):
    reported()
    assert "no proof of safety" in html(opened(visit))


def test_a_lasting_disease_of_before_the_last_visit_is_no_news(cohort, visit, monkeypatch):
    """The drugs of the visit before were given in full knowledge of the visits before that."""
    oldest = replace(visit, visit_id="1", history=(), diagnoses=("10:N184",))
    last = replace(
        visit, visit_id="2", history=(), diagnoses=("10:I10",), medications=("B01A",), drugs=()
    )
    now = replace(visit, visit_id="3", history=(oldest, last))
    seen = {}
    monkeypatch.setattr(
        safety_panel, "check_lists", lambda *_, **named: seen.update(named) or Report((), (), 0, ())
    )
    monkeypatch.setattr(safety_panel, "st", MagicMock())
    safety_panel.draw(now, SimpleNamespace(rows=(), thresholds={}, latency_ms={}))
    assert seen["already_on"] == ("B01A",)
    assert "10:N184" in seen["facts_before"].past_diagnoses


def test_a_typed_allergy_is_checked_beside_the_record(visit, monkeypatch):
    monkeypatch.setattr(safety_panel, "_proposed", lambda said: {"student": ["J01C"]})
    app = opened(visit)
    assert "allergy: penicillin" not in html(app)
    _allergies(app).set_value("penicillin")
    assert "penicillin" in html(app.run()).lower()


def test_what_was_given_at_the_last_stay_is_checked_by_the_names_on_record(visit, monkeypatch):
    last = replace(visit, visit_id="2", history=(), medications=("J01X",), drugs=("Linezolid",))
    drawn = MagicMock()
    monkeypatch.setattr(safety_panel, "st", drawn)
    monkeypatch.setattr(safety_panel, "_entries", lambda visit: [])
    monkeypatch.setattr(
        safety_panel, "_proposed", lambda said: {"student": ["N06A"], "teacher": ["C09A", "C03D"]}
    )
    given = {"drugs": ("Warfarin", "Amiodarone"), "medications": ("B01A", "C01B")}
    now = replace(visit, visit_id="3", history=(last,), **given)
    report, _ = safety_panel.draw(now, None)
    shown = "\n".join(str(call.args[0]) for call in drawn.html.call_args_list)
    assert "(N06A) with linezolid, given at the last stay (it may have been stopped)" in shown
    assert "likely · student&#x27;s list" in shown and "· teacher&#x27;s list" in shown
    assert "prescribed, by the drugs on record: 1 major" in shown
    assert {alert.lists for alert in report.alerts} == {("student",), ("teacher",)}


TYPED = "allergy: penicillin ·"  # not what is recorded as a diagnosis


def test_a_typed_allergy_follows_the_patient_until_sign_out(cohort, monkeypatch):
    monkeypatch.setattr(safety_panel, "_proposed", lambda said: {"student": ["J01C"]})
    first, second = next(
        cohort.visits(patient)[-2:]
        for patient in sorted(cohort.splits)
        if len(cohort.visits(patient)) > 1
    )
    app = opened(second)
    _allergies(app).set_value("penicillin")
    assert TYPED in html(app.run())
    app.session_state["visit_id"] = first.visit_id
    assert TYPED in html(app.run())
    app.switch_page("views/patients.py").run()
    app.switch_page(PAGE).run()
    assert _allergies(app).value == "penicillin" and TYPED in html(app)
    other = next(one for one in sorted(cohort.splits) if one != first.patient_id)
    app.session_state["patient_id"] = other
    assert _allergies(app.run()).value == ""
    button(app, "Sign out").click()
    sign_in(app.run()).run()
    app.session_state["patient_id"] = first.patient_id
    settled(app.switch_page(PAGE))
    assert _allergies(app).value == "" and TYPED not in html(app)


def _allergies(app):
    return next(one for one in app.text_input if one.label.startswith("Allergies"))


def test_allergies_of_patients_on_no_record_stay_with_their_visit(visit):
    bundle = replace(visit, visit_id="fhir-0123")
    assert safety_panel._allergy_key(bundle) != safety_panel._allergy_key(visit)
    one, other = (replace(visit, visit_id=name) for name in ("1", "2~edited"))
    assert safety_panel._allergy_key(one) == safety_panel._allergy_key(other)


# ---------------------------------------------------------------- the decision


def test_a_decision_is_saved_and_can_be_taken_away(visit, cohort, reported):
    reported()
    app = opened(visit)
    assert "No decision about this visit" in page_text(app)
    button(app, "Accept all").click()
    app.run()
    button(app, "Save the decision on").click()
    app.run()
    assert not app.exception and not app.error
    saved = Decisions(Installation.current()).of(
        Actor("dr", "clinician"), cohort.fingerprint, [visit]
    )
    assert len(saved) == 1 and saved[0].visit_id == visit.visit_id
    assert {item.verdict for item in saved[0].items} == {"accepted"}
    assert any(one.label.endswith("groups to be given") for one in app.expander)
    assert [one.label for one in app.get("download_button")] == ["FHIR drafts", "Page to print"]
    assert "Decision saved" in html(app)  # in the timeline's legend
    assert button(app, "Save the decision").disabled  # starts over


def test_what_was_entered_outlives_accepting_the_rest_and_another_tab(visit, reported):
    reported()
    app = opened(visit)
    app.session_state[editor_key(app, visit)] = {
        "edited_rows": {0: {"Decision": "reject", "Reason": "Age or frailty"}},
        "added_rows": [],
        "deleted_rows": [],
    }
    app.run()
    button(app, "Accept all").click()
    app.run()
    verdicts = list(decided(app)["Decision"])
    assert verdicts[0] == "reject" and set(verdicts[1:]) <= {"accept"}
    app.session_state["second_look"] = "Similar patients"
    app.run()
    app.session_state["second_look"] = "Decide"
    assert list(decided(app.run())["Decision"]) == verdicts


def test_what_is_typed_in_place_is_checked_before_it_is_saved_and_on_the_page(visit, reported):
    reported()
    last = replace(visit, history=(), medications=("C10A",), drugs=("Simvastatin",))
    now = replace(visit, history=(last,))
    app = opened(visit)
    app.session_state[editor_key(app, visit)] = {
        "edited_rows": {
            0: {"Decision": "change", "In its place": "sildenafil, Nitroglycerin SL & xyz"}
        },
        "added_rows": [],
        "deleted_rows": [],
    }
    shown = html(app.run())
    assert "The final list as a set" in shown and "sildenafil" in shown
    assert "not checked: xyz" in shown
    assert button(app, "Save the decision").disabled  # a nitrate with sildenafil
    next(box for box in app.checkbox if "final list" in box.label).check()
    assert not button(app.run(), "Save the decision").disabled
    items = [Item("J01F", "changed", instead="clarithromycin"), Item("C09A", "rejected")]
    checked = final_list.check(now, items)
    lines = final_list.in_words(checked)
    assert lines[0].startswith("Contraindicated: clarithromycin with simvastatin, given at the")
    assert checked.medications == 1


def test_what_the_panel_has_said_is_not_said_again_of_the_final_list(visit, monkeypatch):
    monkeypatch.setattr(safety_panel, "_proposed", lambda said: {"student": ["C09A", "C03D"]})
    drawn = MagicMock()
    monkeypatch.setattr(final_list, "st", drawn)
    monkeypatch.setattr(safety_panel, "st", drawn)
    monkeypatch.setattr(safety_panel, "_entries", lambda visit: [])
    first = replace(visit, history=())
    accepted = [Item(group, "accepted") for group in ("C09A", "C03D")]
    assert not final_list.draw(first, None, accepted)
    shown = "\n".join(str(call.args[0]) for call in drawn.html.call_args_list)
    assert "interacting pairs: 1 major" in shown and "Said above already: " in shown
    assert "wb-alert" not in shown


def decided(app):
    return next(one.value for one in app.dataframe if "In its place" in one.value.columns)


def test_entries_follow_their_group_when_the_lines_change(visit):
    state = {}
    first = [row("B01A"), row("C07A")]
    entered = decision_panel._frame(first, {})
    entered.loc[1, "Decision"] = "reject"
    state = decision_panel._by_group(entered, first)
    later = decision_panel._frame([row("A02B"), row("C07A"), row("B01A")], state)
    assert list(later["Decision"]) == ["not decided", "reject", "not decided"]


def row(group, teacher=0.5, student=0.5):
    return SimpleNamespace(atc=group, name=group, teacher=teacher, student=student)


def test_an_administrator_reads_decisions_and_makes_none(visit, cohort, reported):
    reported()
    Decisions(Installation.current()).save(
        Actor("dr", "clinician"), cohort.fingerprint, visit, {}, [Item("B01A", "accepted")]
    )
    app = opened(visit, "administrator")
    assert not [one for one in app.button if one.label.startswith(("Save", "Accept"))]
    assert "Decisions are made by clinicians" in page_text(app)
    assert any("by dr" in one.label for one in app.expander)


def test_a_decision_of_before_the_cohort_was_ingested_again_is_shown(visit, reported):
    reported()
    Decisions(Installation.current()).save(
        Actor("dr", "clinician"), "the state before", visit, {}, [Item("B01A", "accepted")]
    )
    app = opened(visit)
    assert any("on another state of the cohort" in one.label for one in app.expander)
    assert "Decision saved" in html(app)  # in the timeline's legend


# ---------------------------------------------------------------- what it rests on


def test_the_basis_is_told_in_words_with_a_sign(visit, reported, monkeypatch):
    reported()
    monkeypatch.setattr(basis_panel, "LEAST", 0.0)
    app = opened(visit, tab="What it rests on")
    assert not app.exception and not app.error
    assert 'class="wb-bars"' in html(app)


def test_bars_name_the_strongest_first_with_their_sign():
    effects = [
        basis.Effect(basis.Input("diagnosis", "10:I4891", True), 0.31),
        basis.Effect(basis.Input("medication", "B01A", False), -0.02),
        basis.Effect(basis.Input("diagnosis", "10:I10", False), 0.001),
    ]
    drawn = basis_panel.bars(effects, lambda kind, code: f"title of {code}")
    assert "+0.31" in drawn and "−0.02" in drawn
    assert "title of 10:I4891 (I48.91)" in drawn
    assert "given before" in drawn
    assert "I10 " not in drawn
    assert "No single thing" in basis_panel.bars(effects[2:], lambda *_: "")


def test_a_probability_is_told_as_so_many_of_a_hundred():
    bins = [
        {"from": 0.0, "to": 0.8, "pairs": 10, "observed": 0.1},
        {"from": 0.8, "to": 1.0, "pairs": 400, "observed": 0.82},
    ]
    report = {"reliability": {"student": bins}}
    assert "of 100 predictions like this about 82" in confidence.in_words(report, "student", 0.9)
    assert "about 82" in confidence.in_words(report, "student", 1.0)
    assert "not measured" in confidence.in_words(report, "student", 0.5)  # too few pairs
    assert "not measured" in confidence.in_words(None, "student", 0.9)


# ---------------------------------------------------------------- similar patients


def test_similar_patients_are_drawn_with_what_they_were_given(visit, reported):
    reported()
    app = opened(visit, tab="Similar patients")
    assert not app.exception and not app.error
    assert html(app).count(" alike</span>") == 5
    assert f"patient {visit.patient_id}<" not in html(app)
    app.run()
    with store.opened(Installation.current().database) as database:
        rows = list(database["audit"].rows_where("action = 'similar patients shown'"))
    assert len(rows) == 1  # drawing them again writes nothing
    assert len(json.loads(rows[0]["details"])["similar"]) == 5
    assert visit.patient_id not in rows[0]["details"]


def test_an_id_is_shown_only_to_who_may_see_patients(visit, cohort):
    one = Similar(visit, 0.9)
    assert visit.patient_id in similar_panel._card(one, cohort, may_see=True)
    hidden = similar_panel._card(one, cohort, may_see=False)
    assert visit.patient_id not in hidden
    assert "not shown to your role" in hidden
