"""What if: an edited visit, a patient typed in or read from FHIR; nothing of it is kept."""

import json
from concurrent.futures import wait

import pytest
import streamlit as st

from app import session
from app.views import what_if
from engine import store
from engine.errors import WorkbenchError
from engine.installation import Installation
from engine.records.cohort import Cohort
from engine.terminology import icd, rxnorm
from tests import rrf
from tests.app.signing_in import signed_in

PAGE = "views/what_if.py"
PATIENT = {"resourceType": "Patient", "id": "p", "gender": "male", "birthDate": "1950-01-01"}
FIBRILLATION = {
    "resourceType": "Condition",
    "id": "c",
    "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "I48.91"}]},
}


@pytest.fixture
def app(tiny_cohort, tiny_pair, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_COHORT", str(tiny_cohort))
    monkeypatch.setenv("WORKBENCH_MODELS", str(tiny_pair))
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "data"))
    st.cache_data.clear()
    st.cache_resource.clear()
    started = signed_in("clinician").run()
    session.models().student.result()
    return started


@pytest.fixture
def visit(tiny_cohort):
    return Cohort.open(tiny_cohort).samples("test")[0]


def opened(app, visit):
    app.session_state["patient_id"] = visit.patient_id
    app.session_state["visit_id"] = visit.visit_id
    return app.switch_page(PAGE).run()


def give(app, bundle):
    app.file_uploader[0].set_value(("bundle.json", json.dumps(bundle).encode(), "application/json"))
    app.run()


def student(app):
    table = app.dataframe[0].value
    return dict(zip(table["Code"], table["Student"], strict=True))


def test_an_edit_moves_the_answer_and_the_change_is_told(app, visit):
    app = opened(app, visit)
    assert not app.exception and not app.error
    unchanged = app.dataframe[0].value
    assert (unchanged["Student, change"].abs() < 1e-9).all()
    app.multiselect[0].set_value([visit.diagnoses[0]])
    app.multiselect[2].set_value(["B01A"])
    edited = app.run().dataframe[0].value
    assert (edited["Student, change"].abs() > 0).any()
    assert (unchanged["Since the edit"] == "").all()


def teacher_read(app):
    """Wait until the teacher has answered what the page asked, and draw it again."""
    models = session.models()
    wait([models.tokenizer, models.teacher], timeout=120)
    app.run()
    asked = app.session_state["teacher_questions"]
    wait(asked.values(), timeout=120)
    app.run()
    return list(asked), app.dataframe[0].value


def test_the_teachers_change_is_told_though_the_record_was_never_opened(app, visit):
    app = opened(app, visit)
    asked, unchanged = teacher_read(app)
    assert len(asked) == 1  # what was not edited is read once
    assert (unchanged["Teacher, change"].abs() < 1e-9).all()
    app.multiselect[0].set_value([visit.diagnoses[0]])
    asked, edited = teacher_read(app.run())
    assert edited["Teacher"].notna().all()
    assert (edited["Teacher, change"].abs() > 0).any()
    assert asked[0][2] == visit.visit_id != asked[-1][2]  # the record first


def test_a_diagnosis_that_the_teachers_prompt_has_no_room_for_is_told(app, visit):
    app = opened(app, visit)
    app.multiselect[0].set_value([visit.diagnoses[0]])
    app.multiselect[1].set_value([])
    teacher_read(app.run())
    assert not any("For lack of room" in one.value for one in app.caption)
    many = [code for code in icd.codes("diagnosis") if code not in visit.diagnoses][:60]
    app.multiselect[0].set_value([visit.diagnoses[0], *many])
    teacher_read(app.run())
    (told,) = [one.value for one in app.caption if "For lack of room" in one.value]
    assert "of 61 diagnoses of the present visit" in told


def test_a_bundle_has_the_teachers_change(app):
    app = app.switch_page(PAGE).run()
    app.segmented_control[0].set_value("fhir")
    app.run()
    give(app, [PATIENT, FIBRILLATION])
    app.multiselect[0].set_value(["10:I4891", "I10"])
    _, edited = teacher_read(app.run())
    assert edited["Teacher, change"].notna().all()


def test_a_group_that_crosses_a_threshold_is_named_with_the_model():
    moved = {"student": {"A": 0.2, "B": -0.2}, "teacher": {"A": None, "B": 0.0}}
    after = {"student": [0.4, 0.2], "teacher": [0.9, 0.9]}
    told = [
        what_if._crossed(group, moved, after, {"A": 0, "B": 1}, {"student": 0.3, "teacher": 0.3})
        for group in "AB"
    ]
    assert told == ["new: student", "gone: student"]


def test_a_code_can_be_typed_and_an_unknown_one_is_named(app, visit):
    app = opened(app, visit)
    app.multiselect[0].set_value([*visit.diagnoses, "K35.80", "nonsense"])
    app.run()
    assert "nonsense" in app.warning[0].value
    assert not app.error


def test_any_diagnosis_is_found_by_its_title_and_marked_where_no_model_knows_it(app, visit):
    app = opened(app, visit)
    assert "10:I675" not in session.models().student.result().vocabulary.diagnoses
    (search, _) = [one for one in app.text_input if one.label.startswith("Any other")]
    search.set_value("moyamoya")
    app.run()
    (found,) = [one for one in app.button if "I67" in one.label]
    assert "new to the student" in found.label
    found.click()
    app.run()
    assert not app.exception and not app.error
    assert app.multiselect[0].value == [*visit.diagnoses, "10:I675"]
    assert any("New to the student" in one.value for one in app.caption)
    assert not [one for one in app.button if "I67" in one.label]


def test_a_search_that_finds_nothing_says_so(app, visit):
    app = opened(app, visit)
    app.text_input[0].set_value("no such words at all")
    app.run()
    assert any("No further title" in one.value for one in app.caption)


def test_a_patient_typed_in_needs_a_diagnosis(app):
    app = app.switch_page(PAGE).run()
    assert any("No patient is open" in one.proto.body for one in app.get("html"))
    app.segmented_control[0].set_value("form")
    app.run()
    assert "at least one diagnosis" in app.info[0].value
    app.multiselect[0].set_value(["I48.91"])
    assert student(app.run())


def test_another_age_keeps_what_was_typed(app):
    app = app.switch_page(PAGE).run()
    app.segmented_control[0].set_value("form")
    app.run()
    app.multiselect[0].set_value(["I48.91"])
    before = student(app.run())
    app.number_input[0].set_value(20)
    app.run()
    assert app.multiselect[0].value == ["I48.91"]
    assert student(app) != before


def test_what_else_the_models_read_of_a_person_can_be_given(app):
    app = app.switch_page(PAGE).run()
    app.segmented_control[0].set_value("form")
    app.run()
    app.multiselect[0].set_value(["I48.91"])
    before = student(app.run())
    recommender = session.models().student.result()
    fields = ("admission_type", "insurance", "language", "marital_status", "race")
    for field in fields:
        asked = app.selectbox(key=f"new_{field}")
        assert asked.value is None and "Not recorded" in asked.options
        asked.set_value(recommender.vocabulary.profile[field][0])
    app.run()
    assert not app.exception and not app.error
    assert student(app) != before


def test_a_teacher_that_fails_leaves_the_students_answer(app, visit, monkeypatch):
    def fails(*_):
        raise WorkbenchError("teacher: its weights are damaged")

    monkeypatch.setattr(session, "teacher_answer", fails)
    app = opened(app, visit)
    assert ["damaged" in one.value for one in app.error] == [True]
    assert student(app)


def test_a_fhir_bundle_is_read_and_what_was_not_is_listed(app):
    app = app.switch_page(PAGE).run()
    app.segmented_control[0].set_value("fhir")
    app.run()
    bundle = [
        PATIENT,
        FIBRILLATION,
        {
            "resourceType": "MedicationStatement",
            "id": "s",
            "medicationCodeableConcept": {"text": "warfarin"},
        },
        {"resourceType": "Observation", "id": "o"},
        {"resourceType": "AllergyIntolerance", "id": "a", "code": {"text": "Penicillin"}},
    ]
    give(app, bundle)
    assert not app.exception and not app.error
    assert student(app)
    assert any("Observation" in one.value for one in app.markdown)
    assert any("home medication" in one.value for one in app.markdown)
    assert app.multiselect[2].value == ["B01A"]
    assert "Penicillin" in [one.value for one in app.text_input]


def test_a_bundle_of_bare_codes_is_read_with_the_drug_map_of_the_installation(app, tmp_path):
    order = {
        "resourceType": "MedicationStatement",
        "medicationCodeableConcept": {
            "coding": [{"system": "http://hl7.org/fhir/sid/ndc", "code": "0904-4040-73"}]
        },
    }
    app = app.switch_page(PAGE).run()
    app.segmented_control[0].set_value("fhir")
    app.run()
    give(app, [PATIENT, FIBRILLATION, order])
    assert app.multiselect[2].value == []
    assert any("terminology rxnorm" in one.value for one in app.markdown)
    rrf.write_rrf(tmp_path / "rrf")
    rxnorm.build(tmp_path / "rrf", Installation.current().folder / "rxnorm.sqlite")
    give(app, [PATIENT, order, FIBRILLATION])
    assert "B01A" in app.multiselect[2].value


def test_a_damaged_drug_map_is_named_and_the_bundle_read_without(app):
    (Installation.current().folder / "rxnorm.sqlite").write_text("no map")
    app = app.switch_page(PAGE).run()
    app.segmented_control[0].set_value("fhir")
    app.run()
    give(app, [PATIENT, FIBRILLATION])
    assert "rxnorm.sqlite" in app.error[0].value
    assert student(app)


def test_nothing_typed_is_kept(app):
    app = app.switch_page(PAGE).run()
    app.segmented_control[0].set_value("form")
    app.run()
    app.multiselect[0].set_value(["I48.91"])
    app.run()
    with store.opened(Installation.current().database) as database:
        assert list(database["decisions"].rows) == []
        rows = [dict(row) for row in database["audit"].rows if "what_if" in row["details"]]
    assert len(rows) >= 1
    assert "I4891" not in json.dumps(rows)
