"""The page "Data": what the report says, or how to make one where there is none."""

import json
import shlex
import shutil

import pytest
import streamlit as st

from engine.records import quality_findings, quality_report
from tests.app.signing_in import signed_in


@pytest.fixture
def cohort_folder(tiny_cohort, tmp_path, monkeypatch):
    """A copy of the small cohort, opened by an app with a data folder of its own."""
    folder = tmp_path / "cohort"
    shutil.copytree(tiny_cohort, folder)
    monkeypatch.setenv("WORKBENCH_COHORT", str(folder))
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "data"))
    st.cache_resource.clear()
    return folder


def open_page():
    return signed_in("administrator").run().switch_page("views/quality.py").run()


def page_text(app):
    kinds = (app.title, app.header, app.markdown, app.caption, app.html, app.code, app.error)
    return "\n".join(
        str(getattr(e, "value", None) or getattr(e, "body", "")) for k in kinds for e in k
    )


def test_the_page_says_what_the_report_says(cohort_folder):
    facts = quality_report.read(cohort_folder)
    app = open_page()
    assert not app.exception and not app.error
    assert app.title[0].value == "Data"
    text = page_text(app)
    for section in quality_report.sections(facts):
        assert section.title in text
    for card in quality_findings.cards(facts):
        assert card.value in text or card.value.replace("<", "&lt;").replace(">", "&gt;") in text
    assert "Read this first" in text
    assert len(app.get("plotly_chart")) == len(quality_report.figures(facts))
    assert app.get("download_button")


def test_a_cohort_without_a_report_says_how_to_make_one(cohort_folder):
    for name in quality_report.FILES:
        (cohort_folder / name).unlink()
    app = open_page()
    assert not app.exception and not app.error
    text = page_text(app)
    assert "no quality report" in text
    assert "-m engine ingest mimic-iv INPUT_DIR" in text and "--force" in text
    assert not app.get("plotly_chart")


def test_the_command_makes_the_cohort_again_with_its_own_options(cohort_folder):
    (cohort_folder / "quality.json").unlink()
    path = cohort_folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["source"] = "mimic-iv; touch x"
    manifest["options"] |= {
        "preset": "paper",
        "min_visits": 2,
        "top_k": {"diagnoses": 2000, "procedures": 9},
        "first_day": True,
        "drug_map": {"sha256": "0123abcd"},
    }
    path.write_text(json.dumps(manifest))
    app = open_page()
    assert not app.exception
    words = shlex.split(app.code[0].value)
    assert words[4:6] == ["mimic-iv; touch x", "INPUT_DIR"]
    assert words[6] == str(cohort_folder)
    options = "--preset paper --top-k procedures=9 --first-day --drug-map FILE --force"
    assert words[7:] == options.split()
    assert "0123abcd" in page_text(app)


def test_a_damaged_report_is_one_line(cohort_folder):
    (cohort_folder / "quality.json").write_text("{")
    app = open_page()
    assert not app.exception
    assert len(app.error) == 1
    assert "ingest the cohort again" in app.error[0].value


def test_without_a_cohort_the_page_says_how_to_make_one(cohort_folder):
    shutil.rmtree(cohort_folder)
    app = open_page()
    assert not app.exception
    assert "engine ingest" in page_text(app)
