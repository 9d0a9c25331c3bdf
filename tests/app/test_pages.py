"""Every page, run as Streamlit runs it, on a small cohort with a small pair of real models."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import wait
from pathlib import Path
from threading import Event

import pytest
import streamlit as st

from app import session
from app.widgets import patient_header
from app.widgets.notice import DECISION_SUPPORT
from engine.errors import WorkbenchError
from engine.recommender import Recommender
from engine.records.cohort import Cohort
from engine.registry.pair import seal
from tests.app.signing_in import MAIN, signed_in

PATIENTS, RECOMMEND = "views/patients.py", "views/recommend.py"


@pytest.fixture
def installation(tiny_cohort, tiny_pair, tmp_path, monkeypatch):
    """The environment of a running app, with a data folder of its own."""
    monkeypatch.setenv("WORKBENCH_COHORT", str(tiny_cohort))
    monkeypatch.setenv("WORKBENCH_MODELS", str(tiny_pair))
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "data"))
    st.cache_data.clear()  # what another test's app has loaded and answered
    st.cache_resource.clear()
    return tmp_path


@pytest.fixture
def cohort(tiny_cohort):
    return Cohort.open(tiny_cohort)


def start():
    return signed_in("clinician").run()


def open_page(patient_id=None, visit_id=None):
    """Run the Recommend page, with a patient opened as the Patients page opens one."""
    app = start()
    if patient_id is not None:
        app.session_state["patient_id"] = patient_id
    if visit_id is not None:
        app.session_state["visit_id"] = visit_id
    return settled(app.switch_page(RECOMMEND))


def settled(app):
    """Draw the page until the models have answered, as a browser does by looking for more."""
    app.run()
    if session.cohort_folder().is_dir():
        wait([session.models().student, session.models().tokenizer])
        app.run()
    if "teacher_questions" in app.session_state:
        wait(app.session_state["teacher_questions"].values())
        app.run()
    return app


def page_text(app):
    """Everything a reader sees as text."""
    kinds = (app.title, app.subheader, app.markdown, app.caption, app.html, app.error, app.info)
    return "\n".join(
        str(getattr(e, "value", None) or getattr(e, "body", "")) for k in kinds for e in k
    )


def is_healthy(app):
    return not app.exception and not app.error


def answered(app):
    """The table of the recommendation: the only one on that page with a status."""
    return next(t.value for t in app.dataframe if "Status" in t.value.columns)


# ---------------------------------------------------------------- patients


def test_the_first_page_lists_the_patients_of_the_cohort(installation, cohort):
    app = start()
    assert is_healthy(app)
    assert app.title[0].value == "Patients"
    table = app.dataframe[0].value
    assert table["Patient"].tolist() == cohort.patient_ids()[:25]
    assert f"**{len(cohort.patient_ids())}** patients" in page_text(app)


def test_a_search_narrows_the_list_and_says_what_was_found(installation, cohort):
    app = start()
    patient_id = cohort.patient_ids()[3]
    app.text_input(key="search").set_value(patient_id).run()
    assert app.dataframe[0].value["Patient"].tolist() == [patient_id]

    name = cohort.title("diagnosis", cohort.visit(patient_id).diagnoses[0])
    app.text_input(key="search").set_value(name.replace(",", " ")).run()
    table = app.dataframe[0].value.set_index("Patient")
    assert name in table.loc[patient_id, "Found by"]


@pytest.mark.parametrize("text", ['"', "NEAR(", "*", "'; DROP TABLE patients; --", "🙂", "zzzzzz"])
def test_a_search_without_a_match_says_what_to_try(installation, text):
    app = start()
    app.text_input(key="search").set_value(text).run()
    assert is_healthy(app)
    assert not app.dataframe
    assert "No patient matches" in page_text(app)


def test_filters_narrow_the_list(installation, cohort):
    app = start()
    app.pills(key="visits").set_value("first").run()
    assert is_healthy(app)
    assert set(app.dataframe[0].value["Visits"]) == {1}
    app.pills(key="sex").set_value("F").run()
    assert set(app.dataframe[0].value["Sex"]) == {"Female"}
    assert set(app.dataframe[0].value["Visits"]) == {1}


def test_the_age_filter_shows_the_patients_of_that_age(installation, cohort):
    age = {patient_id: cohort.visit(patient_id).age for patient_id in cohort.patient_ids()}
    known = sorted(age.values())
    youngest, oldest = known[len(known) // 4], known[len(known) // 2]
    wanted = [p for p, years in age.items() if youngest <= years <= oldest]
    app = start()
    app.slider(key="age").set_range(youngest, oldest).run()
    assert is_healthy(app)
    table = app.dataframe[0].value
    assert table["Patient"].tolist() == wanted[:25]
    assert table["Age"].tolist() == [age[patient_id] for patient_id in wanted[:25]]
    assert f"**{len(wanted)}** patients" in page_text(app)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_split_filter_shows_the_patients_of_that_split(installation, cohort, split):
    wanted = [p for p in cohort.patient_ids() if cohort.split_of(p) == split]
    app = start()
    app.pills(key="split").set_value(split).run()
    assert is_healthy(app)
    table = app.dataframe[0].value
    assert table["Patient"].tolist() == wanted[:25]
    assert set(table["Split"]) == {split}
    assert f"**{len(wanted)}** patients" in page_text(app)


def test_the_second_page_follows_the_first_and_a_new_question_starts_over(installation, cohort):
    app = start()
    app.pagination[0].set_value(2).run()
    assert app.dataframe[0].value["Patient"].tolist() == cohort.patient_ids()[25:50]
    app.selectbox(key="order").set_value("age").run()
    ages = app.dataframe[0].value["Age"].tolist()
    assert ages == sorted(ages, reverse=True)
    assert app.pagination[0].value == 1


# ---------------------------------------------------------------- recommend


def test_without_a_patient_the_page_says_where_to_find_one(installation):
    app = open_page()
    assert is_healthy(app)
    assert "No patient is open." in page_text(app)


def assert_whole_page(app, visit):
    text = page_text(app)
    assert is_healthy(app), [error.value for error in app.error]
    assert DECISION_SUPPORT in text
    assert f"Patient {visit.patient_id}" in text
    for fact in (
        f"{visit.age} years",
        patient_header.SEX[visit.sex],
        patient_header.day(visit.admit_time),
        patient_header.admission(visit),
    ):
        assert f'<div class="value">{fact}</div>' in text
    assert text.count("answered in ") == 2
    assert "Which medication groups" in text
    assert " tokens" in text
    table = answered(app)
    assert table["Teacher"].notna().any()
    assert table["Student"].notna().any()
    assert set(table["Status"]) <= {"new", "continued", "stopped"}
    assert ("Given" in table.columns) == bool(visit.medications)
    assert len(app.get("plotly_chart")) == 2


def test_a_first_visit(installation, cohort):
    visits = (cohort.visits(patient_id) for patient_id in cohort.patient_ids())
    visit = next(stays[0] for stays in visits if len(stays) == 1)
    app = open_page(visit.patient_id)
    assert_whole_page(app, visit)
    assert "First visit" in page_text(app)
    assert "stopped" not in set(answered(app)["Status"])


def test_a_visit_without_procedures(installation, cohort):
    latest = (cohort.visit(patient_id) for patient_id in cohort.patient_ids())
    visit = next(visit for visit in latest if not visit.procedures)
    app = open_page(visit.patient_id)
    assert_whole_page(app, visit)
    assert "Procedures:</b> none recorded" in page_text(app)


def test_codes_never_seen_in_training_are_named(installation, cohort):
    latest = (cohort.visit(patient_id) for patient_id in cohort.patient_ids())
    known = cohort.vocabulary.diagnosis_index
    visit = next(v for v in latest if any(not known(code) for code in v.diagnoses))
    unseen = next(code for code in visit.diagnoses if not known(code))
    app = open_page(visit.patient_id)
    assert_whole_page(app, visit)
    assert any(unseen.split(":")[1] in caption.value for caption in app.caption)


def test_the_longest_history(installation, cohort):
    patient_id = max(cohort.patient_ids(), key=lambda patient: len(cohort.visits(patient)))
    visits = cohort.visits(patient_id)
    app = open_page(patient_id)
    assert_whole_page(app, visits[-1])
    assert f"{len(visits)} of {len(visits)}" in page_text(app)
    assert "left out to fit: " in page_text(app)
    assert "nothing left out" not in page_text(app)


@pytest.mark.parametrize(
    ("split", "words"), [("train", "learned from this patient"), ("test", "never saw this patient")]
)
def test_the_page_says_whether_the_models_know_the_patient(installation, cohort, split, words):
    patient_id = next(p for p in cohort.patient_ids() if cohort.split_of(p) == split)
    assert words in page_text(open_page(patient_id))


def test_another_visit_can_be_chosen(installation, cohort):
    patient_id = max(cohort.patient_ids(), key=lambda patient: len(cohort.visits(patient)))
    visits = cohort.visits(patient_id)
    app = open_page(patient_id)
    app.selectbox(key="visit_choice").set_value(visits[0].visit_id)
    settled(app)
    assert is_healthy(app)
    assert page_text(app).count("answered in ") == 2
    assert f"1 of {len(visits)}" in page_text(app)
    assert "First visit" in page_text(app)


def test_chart_and_table_can_be_sorted_by_either_model(installation, cohort):
    app = open_page(cohort.patient_ids()[0])
    for model in ("Teacher", "Student"):
        app.segmented_control(key="sort").set_value(model.lower()).run()
        values = answered(app)[model].dropna().tolist()
        assert values == sorted(values, reverse=True)


@pytest.fixture
def slow_teacher(monkeypatch):
    """Let the teacher begin with a question only when this event is set; returns it."""
    go_on = Event()
    ask = Recommender.ask

    def wait_first(self, cohort, visit, model):
        if model == "teacher":
            assert go_on.wait(timeout=60)
        return ask(self, cohort, visit, model)

    monkeypatch.setattr(Recommender, "ask", wait_first)
    yield go_on
    go_on.set()


def open_at_once(patient_id, app=None):
    """Open a patient with the models loaded, and do not wait for the teacher's answer."""
    app = app or start()
    wait([session.models().student, session.models().tokenizer, session.models().teacher])
    app.session_state["patient_id"] = patient_id
    app.switch_page(RECOMMEND).run()
    return app


def question(app):
    (asked,) = app.session_state["teacher_questions"].values()
    return asked


def test_the_students_answer_is_drawn_while_the_teacher_reads(installation, cohort, slow_teacher):
    app = open_at_once(cohort.patient_ids()[0])
    assert is_healthy(app)
    table = answered(app)
    assert table["Student"].notna().any()
    assert table["Teacher"].isna().all()
    assert "reading the record" in page_text(app)
    assert "Which medication groups" in page_text(app)
    assert not question(app).done()

    app.segmented_control(key="sort").set_value("student").run()  # the page is not blocked
    assert is_healthy(app)
    assert answered(app)["Teacher"].isna().all()

    slow_teacher.set()
    wait([question(app)])
    app.run()
    assert_whole_page(app, cohort.visit(cohort.patient_ids()[0]))
    assert "reading the record" not in page_text(app)


def test_the_answer_about_a_patient_who_was_left_is_never_shown(installation, cohort, slow_teacher):
    first, second, third = cohort.patient_ids()[:3]
    app = open_at_once(first)
    being_answered = question(app)
    open_at_once(second, app)
    withdrawn = question(app)
    open_at_once(third, app)
    assert withdrawn.cancelled()

    slow_teacher.set()
    wait([being_answered])
    app.run()
    wait([question(app)])
    app.run()
    assert_whole_page(app, cohort.visit(third))
    expected = Recommender.load(session.pair_folder()).recommend(cohort, cohort.visit(third))
    shown = answered(app).set_index("Code")["Teacher"].to_dict()
    assert shown == {row.atc: row.teacher for row in expected.rows}


def test_who_returns_to_a_patient_finds_both_answers_at_once(installation, cohort):
    app = open_page(cohort.patient_ids()[0])
    open_at_once(cohort.patient_ids()[1], app)
    open_at_once(cohort.patient_ids()[0], app)
    assert_whole_page(app, cohort.visit(cohort.patient_ids()[0]))


def test_a_page_opened_while_the_models_load_waits_without_blocking(
    installation, cohort, monkeypatch
):
    may_load = Event()
    load = Recommender.load

    def slow_load(folder):
        assert may_load.wait(timeout=60)
        return load(folder)

    monkeypatch.setattr(Recommender, "load", slow_load)
    app = start()
    app.session_state["patient_id"] = cohort.patient_ids()[0]
    app.switch_page(RECOMMEND).run()
    try:
        assert is_healthy(app)
        assert "being loaded" in page_text(app)
        assert f"Patient {cohort.patient_ids()[0]}" in page_text(app)
    finally:
        may_load.set()
    assert_whole_page(settled(app), cohort.visit(cohort.patient_ids()[0]))


def test_no_page_brings_pytorch_with_it():
    """Its import takes seconds, so the models are loaded behind the first page."""
    pages = (
        "app.session, app.views.sign_in, app.views.patients, app.views.recommend, "
        "app.views.what_if, app.views.quality, app.views.audit"
    )
    heavy = "{'torch', 'transformers', 'peft', 'sklearn', 'scipy'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {pages}; print({heavy} or 'none')"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(MAIN).parents[1],
    )
    assert done.stdout.strip() == "none"


@pytest.fixture
def pair_with_sets(tiny_pair, installation, monkeypatch):
    """The pair with a rule for its sets, as a training on more patients stores one."""
    folder = installation / "with-sets"
    shutil.copytree(tiny_pair, folder)
    stored = json.loads((folder / "calibration.json").read_text())
    rule = {"coverage": 0.9, "logit": -1.5, "patients": 213}
    for model in stored:
        stored[model]["prediction_set"] = rule
    (folder / "calibration.json").write_text(json.dumps(stored))
    manifest = json.loads((folder / "manifest.json").read_text())
    seal(folder, {key: value for key, value in manifest.items() if key != "files"})
    monkeypatch.setenv("WORKBENCH_MODELS", str(folder))
    return folder


def test_the_prediction_set_is_shown_when_it_is_asked_for(installation, cohort, pair_with_sets):
    patient_id = next(p for p in cohort.patient_ids() if cohort.split_of(p) == "test")
    app = open_page(patient_id)
    assert app.toggle(key="prediction_set").value is False
    assert "90 % set" not in answered(app).columns
    assert "it was set on" not in page_text(app)

    app.toggle(key="prediction_set").set_value(True).run()
    assert is_healthy(app)
    visit = cohort.visit(patient_id)
    sets = Recommender.load(pair_with_sets).recommend(cohort, visit).prediction_sets
    table = answered(app).set_index("Code")
    for model in ("teacher", "student"):
        marked = set(table.index[table["90 % set"].isin([model, "both"])])
        assert marked == set(table.index) & set(sets[model].groups)
    text = page_text(app)
    assert "of patients like the 213 it was set on" in text
    for model in ("teacher", "student"):
        beyond = set(sets[model].groups) - set(table.index)
        assert all(f"({group})" in text for group in beyond)
        assert f"{model.capitalize()}: 90 % set" in text
    assert "not the one it was set on" not in text


def test_the_set_of_another_cohort_comes_with_a_warning(
    installation, cohort, pair_with_sets, monkeypatch
):
    manifest = json.loads((pair_with_sets / "manifest.json").read_text())
    manifest["cohort"]["fingerprint"] = "another"
    (pair_with_sets / "manifest.json").write_text(json.dumps(manifest))
    app = open_page(cohort.patient_ids()[0])
    app.toggle(key="prediction_set").set_value(True).run()
    assert is_healthy(app)
    assert "not the one it was set on" in page_text(app)


def test_models_without_a_set_say_so_and_offer_no_switch(installation, cohort, pair_with_sets):
    stored = json.loads((pair_with_sets / "calibration.json").read_text())
    for model in stored:
        del stored[model]["prediction_set"]
    (pair_with_sets / "calibration.json").write_text(json.dumps(stored))
    manifest = json.loads((pair_with_sets / "manifest.json").read_text())
    seal(pair_with_sets, {key: value for key, value in manifest.items() if key != "files"})
    app = open_page(cohort.patient_ids()[0])
    assert is_healthy(app)
    assert "prediction_set" not in [toggle.key for toggle in app.toggle]
    assert "These models have no prediction set" in page_text(app)


def test_the_patient_stays_out_of_the_address(installation, cohort):
    app = open_page(cohort.patient_ids()[0])
    assert not app.query_params


# ---------------------------------------------------------------- trouble


def test_a_missing_cohort_says_how_to_make_one(installation, monkeypatch):
    monkeypatch.setenv("WORKBENCH_COHORT", str(installation / "nowhere"))
    for app in (start(), open_page("1")):
        assert not app.exception
        assert len(app.error) == 1
        assert "nowhere" in app.error[0].value
        assert ".venv/bin/python -m engine ingest" in app.code[0].value


def cut_the_visits(installation, monkeypatch):
    damaged = installation / "cohort"
    shutil.copytree(os.environ["WORKBENCH_COHORT"], damaged)
    visits = damaged / "visits.parquet"
    visits.write_bytes(visits.read_bytes()[: visits.stat().st_size // 2])
    monkeypatch.setenv("WORKBENCH_COHORT", str(damaged))


@pytest.mark.parametrize("page", [PATIENTS, RECOMMEND])
def test_a_damaged_cohort_is_a_line_that_names_the_file(installation, cohort, monkeypatch, page):
    cut_the_visits(installation, monkeypatch)
    app = start() if page == PATIENTS else open_page(cohort.patient_ids()[0])
    assert_one_line(app, "visits.parquet")


@pytest.mark.parametrize("page", [PATIENTS, RECOMMEND])
def test_a_damaged_database_shows_nobody(installation, cohort, page):
    app = start()
    app.session_state["patient_id"] = cohort.patient_ids()[0]
    database = installation / "data" / "workbench.sqlite"
    for name in ("workbench.sqlite-wal", "workbench.sqlite-shm"):
        database.with_name(name).unlink(missing_ok=True)
    database.write_text("not a database " * 100)
    app.switch_page(page).run()
    assert_one_line(app, "workbench.sqlite")
    assert not app.dataframe
    assert cohort.patient_ids()[0] not in page_text(app)


def assert_one_line(app, named):
    assert not app.exception
    assert len(app.error) == 1
    assert named in app.error[0].value.replace("\\", "")
    assert "\n" not in app.error[0].value
    assert not app.get("progress")


def test_missing_models_leave_the_record_readable(installation, cohort, monkeypatch):
    monkeypatch.setenv("WORKBENCH_MODELS", str(installation / "no-models"))
    app = open_page(cohort.patient_ids()[0])
    assert not app.exception
    assert len(app.error) == 1
    assert "no" in app.error[0].value
    assert "\n" not in app.error[0].value
    assert cohort.patient_ids()[0] in page_text(app)


def no_teacher(self):
    raise WorkbenchError("pretrained/base: is missing; run `make run` once")


def test_without_the_teacher_the_students_answer_and_the_prompt_stay(
    installation, cohort, monkeypatch
):
    with monkeypatch.context() as broken:
        broken.setattr(Recommender, "teacher", property(no_teacher))
        app = open_page(cohort.patient_ids()[0])
        assert not app.exception
        assert len(app.error) == 1
        assert "pretrained/base" in app.error[0].value.replace("\\", "")
        table = answered(app)
        assert table["Student"].notna().any()
        assert table["Teacher"].isna().all()
        assert "reading the record" not in page_text(app)
        assert "Which medication groups" in page_text(app)  # the prompt needs no weights

    next(button for button in app.button if "again" in button.label).click()
    settled(app)
    assert is_healthy(app)
    assert answered(app)["Teacher"].notna().any()


def test_a_fault_of_the_teacher_shows_and_logs_no_record(installation, cohort, monkeypatch, caplog):
    def broken(self, cohort, visit, model):
        if model == "teacher":
            raise ValueError(f"the whole record of {visit.patient_id}")
        return ask(self, cohort, visit, model)

    ask = Recommender.ask
    monkeypatch.setattr(Recommender, "ask", broken)
    app = open_page(cohort.patient_ids()[0])
    assert not app.exception
    assert "went wrong" in app.error[0].value
    assert "ValueError" in caplog.text
    assert "whole record" not in page_text(app) + caplog.text


def test_a_damaged_model_file_is_named(installation, cohort, tiny_pair, monkeypatch):
    damaged = installation / "damaged"
    shutil.copytree(tiny_pair, damaged)
    (damaged / "student.safetensors").write_bytes(b"damaged")
    monkeypatch.setenv("WORKBENCH_MODELS", str(damaged))
    app = open_page(cohort.patient_ids()[0])
    assert not app.exception
    assert "student" in app.error[0].value


def test_an_unknown_patient_is_one_line(installation):
    app = open_page("no-such-patient")
    assert not app.exception
    assert "no" in app.error[0].value
    assert len(app.error) == 1


def test_a_fault_of_the_program_shows_and_logs_no_record(installation, cohort, monkeypatch, caplog):
    def broken(self, patient_id):
        raise ValueError(f"the whole record of {patient_id}")

    patient_id = cohort.patient_ids()[0]
    monkeypatch.setattr(Cohort, "visits", broken)
    monkeypatch.setattr("app.patient_terms.rows", lambda cohort: [])
    app = open_page(patient_id)
    assert not app.exception
    assert "went wrong" in app.error[0].value
    assert patient_id not in page_text(app)
    assert "ValueError" in caplog.text
    assert patient_id not in caplog.text
