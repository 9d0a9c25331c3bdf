"""What is shown is audited before it is shown, and the page that reads the audit."""

import csv
import io
import json
import sqlite3
from types import SimpleNamespace

import pytest
import streamlit as st

from app import identity, session
from engine.audit import Audit
from engine.errors import WorkbenchError
from engine.permissions import SYSTEM, NotAllowed
from engine.records.cohort import Cohort
from tests.app import signing_in
from tests.app.signing_in import signed_in

AUDIT, RECOMMEND = "views/audit.py", "views/recommend.py"


@pytest.fixture(autouse=True)
def installation(tiny_cohort, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_COHORT", str(tiny_cohort))
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "none"))
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "data"))
    st.cache_data.clear()
    st.cache_resource.clear()
    return tmp_path / "data"


@pytest.fixture
def cohort(tiny_cohort):
    return Cohort.open(tiny_cohort)


def audit() -> Audit:
    return signing_in.accounts().audit


def rows(action):
    return [entry for entry in reversed(audit().rows(SYSTEM)) if entry.action == action]


def text(app):
    kinds = (app.title, app.markdown, app.caption, app.html, app.error)
    return "\n".join(
        str(getattr(e, "value", None) or getattr(e, "body", "")) for k in kinds for e in k
    )


def open_patient(app, patient_id):
    app.session_state["patient_id"] = patient_id
    return app.switch_page(RECOMMEND).run()


def open_audit(role="auditor"):
    return signed_in(role).run().switch_page(AUDIT).run()


# ---------------------------------------------------------------- what is shown


def test_opening_a_patient_is_one_row_without_the_patients_id(cohort):
    first, second = cohort.patient_ids()[:2]
    app = open_patient(signed_in("clinician").run(), first)
    app.run()
    app.run()
    assert f"Patient {first}" in text(app)
    (opened,) = rows("patient opened")
    assert (opened.account, opened.role) == ("test-clinician", "clinician")
    assert json.loads(opened.details)["patient"] == audit().pseudonym(cohort.fingerprint, first)
    assert first not in opened.details
    open_patient(app, second)
    open_patient(app, first)  # opened again
    assert len(rows("patient opened")) == 3


def test_what_the_models_answered_is_kept_as_sums(cohort, tiny_pair, monkeypatch):
    monkeypatch.setenv("WORKBENCH_MODELS", str(tiny_pair))
    app = signed_in("clinician").run()
    models = session.models()
    for loading in (models.student, models.tokenizer, models.teacher):
        loading.result(timeout=120)
    open_patient(app, cohort.patient_ids()[0])
    for asked in app.session_state["teacher_questions"].values():
        asked.result(timeout=120)
    app.run()
    app.segmented_control(key="sort").set_value("student").run()
    student, both = (json.loads(entry.details) for entry in rows("recommendation shown"))
    assert list(student["versions"]) == ["student"]
    assert set(both["versions"]) == {"student", "teacher"}
    assert student["input"] == both["input"] and len(both["input"]) == 64
    assert student["output"] != both["output"]
    recommender = models.student.result()
    assert both["versions"] == recommender.versions


@pytest.mark.parametrize("refused", ["patient opened", "recommendation shown"])
def test_what_cannot_be_audited_is_not_shown(cohort, tiny_pair, monkeypatch, refused):
    monkeypatch.setenv("WORKBENCH_MODELS", str(tiny_pair))
    write = Audit.write

    def full_disk(self, actor, action, details):
        if action == refused:
            raise WorkbenchError("workbench.sqlite: the disk is full")
        return write(self, actor, action, details)

    monkeypatch.setattr(Audit, "write", full_disk)
    app = signed_in("clinician").run()
    session.models().student.result(timeout=120)
    open_patient(app, cohort.patient_ids()[0])
    assert not app.exception
    assert ["the disk is full" in error.value for error in app.error] == [True]
    assert not app.dataframe
    assert "answered in" not in text(app)
    assert (f"Patient {cohort.patient_ids()[0]}" in text(app)) == (refused != "patient opened")


# ---------------------------------------------------------------- the page


def listed(app):
    return app.dataframe[0].value


def test_the_page_lists_rows_newest_first_and_says_that_they_are_whole():
    app = open_audit()
    assert not app.exception and not app.error
    assert "Verified" in text(app)
    table = listed(app)
    assert table["Row"].tolist() == sorted(table["Row"], reverse=True)
    assert table["Action"].iloc[0] == "sign in"


def test_rows_are_found_by_account_action_and_patient(cohort):
    patient_id = cohort.patient_ids()[0]
    open_patient(signed_in("clinician").run(), patient_id)
    app = open_audit()
    app.selectbox(key="audit-account").set_value("test-clinician").run()
    assert set(listed(app)["Account"]) == {"test-clinician"}
    app.selectbox(key="audit-action").set_value("patient opened").run()
    assert listed(app)["Action"].tolist() == ["patient opened"]

    app = open_audit()
    app.text_input(key="audit-patient").set_value(patient_id).run()
    assert listed(app)["Action"].tolist() == ["patient opened"]
    app.text_input(key="audit-patient").set_value("nobody").run()
    assert not app.dataframe
    assert "No row of the audit matches" in text(app)
    assert not app.query_params


def test_rows_are_found_by_day():
    app = open_audit()
    today = app.date_input(key="audit-days").max
    app.date_input(key="audit-days").set_value((today, today)).run()
    assert len(listed(app)) == audit().count(SYSTEM)
    before = today.replace(year=today.year - 1, day=1)
    app.date_input(key="audit-days").set_value((before, before)).run()
    assert not app.dataframe


def test_many_rows_come_in_pages():
    accounts = signing_in.accounts()
    for number in range(120):
        accounts.audit.write("somebody", "test", {"number": number})
    app = open_audit()
    assert len(listed(app)) == 50
    newest = listed(app)["Row"].iloc[0]
    app.pagination[0].set_value(3).run()
    assert listed(app)["Row"].iloc[0] == newest - 100
    app.selectbox(key="audit-action").set_value("sign in").run()
    assert len(listed(app)) == 1  # and on its first page


def test_the_download_holds_every_row_that_matches_and_is_recorded():
    for number in range(60):
        audit().write("somebody", "test", {"number": number, "name": "=1+1"})
    app = open_audit()
    app.selectbox(key="audit-action").set_value("test").run()
    assert "Download 60 rows" in app.get("download_button")[0].proto.label
    file = io.StringIO()
    actor = signing_in.accounts().session(app.session_state["session_token"])
    audit().export(actor, file, action="test")
    assert len(list(csv.DictReader(io.StringIO(file.getvalue())))) == 60
    (exported,) = rows("audit exported")
    assert exported.account == "test-auditor"


def test_a_download_asks_again_who_is_signed_in(monkeypatch):
    accounts = signing_in.accounts()
    begun = accounts.sign_in_external("test-auditor", "auditor")
    monkeypatch.setattr(
        identity, "st", SimpleNamespace(session_state={identity.TOKEN: begun.token})
    )
    signed_in_still = identity.afterwards()
    assert signed_in_still() == begun.actor
    accounts.sign_out(begun.token)
    assert signed_in_still() is None
    with pytest.raises(NotAllowed):
        audit().export(signed_in_still(), io.StringIO())


def test_a_changed_row_is_named(installation):
    signed_in("clinician").run()
    with sqlite3.connect(installation / "workbench.sqlite") as database:
        database.execute("DROP TRIGGER audit_no_update")
        database.execute("UPDATE audit SET account = 'somebody' WHERE number = 1")
    app = open_audit()
    assert not app.exception
    assert "row 1" in app.error[0].value
    assert "Verified" not in text(app)
    assert len(listed(app)) == audit().count(SYSTEM)  # still readable
