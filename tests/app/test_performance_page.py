"""The page Performance: measured figures by group, drift, acceptance and the card, by role."""

import json
import shutil

import pytest
import streamlit as st

from engine.cli import main
from engine.decisions import Decisions, Item
from engine.installation import Installation
from engine.permissions import Actor
from engine.records.cohort import Cohort
from tests.app.signing_in import signed_in

PAGE = "views/performance.py"


@pytest.fixture
def evaluated(tiny_cohort, tiny_pair, tmp_path, monkeypatch):
    """An app whose pair was evaluated on its cohort."""
    pair = shutil.copytree(tiny_pair, tmp_path / "pair")
    output = str(tmp_path / "report.json")
    command = ["evaluate", str(tiny_cohort), "--models", str(pair), "--output", output]
    assert main([*command, "--card", "own test patients"]) == 0
    monkeypatch.setenv("WORKBENCH_COHORT", str(tiny_cohort))
    monkeypatch.setenv("WORKBENCH_MODELS", str(pair))
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "data"))
    st.cache_data.clear()
    st.cache_resource.clear()
    return pair


def open_page(role="clinician", tab=None):
    app = signed_in(role).run().switch_page(PAGE)
    if tab:
        app.session_state["performance"] = tab
    return app.run()


def test_the_measured_figures_are_those_of_the_version(evaluated):
    app = open_page()
    assert not app.exception and not app.error
    version = json.loads((evaluated / "manifest.json").read_text())["version"]
    assert any(version in one.proto.body for one in app.get("html"))
    table = app.dataframe[0].value
    assert list(table["Model"])[:3] == ["Teacher", "Student", "Not distilled"]
    assert table["Overall"].str.contains("–").all()


def test_groups_inputs_use_and_card_have_a_tab_each(evaluated, tiny_cohort):
    assert [tab.label for tab in open_page().tabs] == [
        "Measured",
        "Groups of patients",
        "Inputs today",
        "In use",
        "Model card",
    ]
    drifted = open_page(tab="Inputs today").dataframe[0].value
    assert {"sex", "diagnoses of the visit"} <= set(drifted["Field"])
    card = open_page(tab="Model card")
    assert any("Intended use" in one.value for one in card.markdown)
    assert any("Predecessor: none is known" in one.value for one in card.markdown)
    groups = open_page(tab="Groups of patients")
    assert not groups.exception and not groups.error


def test_what_clinicians_decide_is_counted(evaluated, tiny_cohort):
    nothing = open_page(tab="In use").get("html")
    assert any("Nobody has saved" in one.proto.body for one in nothing)
    cohort = Cohort.open(tiny_cohort)
    visit = cohort.samples("test")[0]
    items = [Item("B01A", "accepted"), Item("C03C", "rejected", reason="allergy")]
    version = json.loads((evaluated / "manifest.json").read_text())["version"]
    decisions, doctor = Decisions(Installation.current()), Actor("dr", "clinician")
    former = {"student": "a former version/aa"}
    decisions.save(doctor, cohort.fingerprint, visit, former, [Item("A02B", "accepted")])
    in_use = {"student": f"{version}/bb"}
    decisions.save(doctor, cohort.fingerprint, cohort.samples("test")[1], in_use, items)
    page = open_page(tab="In use")
    assert list(page.dataframe[0].value["Acceptance"]) == [1.0, 0.0]
    assert version in page.segmented_control[0].options[0]
    page.segmented_control[0].set_value("every")
    assert len(page.run().dataframe[0].value) == 3


def test_an_auditor_may_see_it(evaluated):
    assert not open_page("auditor").error
