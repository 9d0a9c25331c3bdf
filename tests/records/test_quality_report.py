"""The report stands alone, says the right things first, and lets nothing in the data be markup."""

import json
import re

import pytest

from engine.errors import WorkbenchError
from engine.records import quality_findings, quality_report
from engine.records.cohort import Cohort
from engine.records.ingest import ingest
from engine.records.options import IngestOptions
from tests.tables import rows, write_tables

ATTACK = '<img src=x onerror="alert(1)">Hepari</script>'


@pytest.fixture
def facts(make_cohort):
    return quality_report.read(make_cohort().folder)


@pytest.fixture
def attacked(make_cohort):
    """Facts of a hospital whose drug names and titles try to be a program."""
    prescriptions = [*rows("prescriptions"), *[rows("prescriptions")[-1] | {"drug": ATTACK}] * 5]
    titles = rows("d_icd_diagnoses")
    titles[1]["long_title"] = ATTACK
    return quality_report.read(
        make_cohort(prescriptions=prescriptions, d_icd_diagnoses=titles).folder
    )


def sentences(facts, look=None):
    return [n.text for n in quality_findings.notices(facts) if look is None or n.look is look]


# ---------------------------------------------------------------- files


def test_report_lies_beside_the_cohort_and_the_manifest_names_it(make_cohort):
    cohort = make_cohort()
    assert set(cohort.manifest["report"]) == set(quality_report.FILES)
    assert not set(cohort.manifest["files"]) & set(quality_report.FILES)
    for name in quality_report.FILES:
        assert (cohort.folder / name).stat().st_size


def test_ingesting_again_gives_the_same_report(make_cohort):
    once, again = make_cohort("once"), make_cohort("again")
    for name in quality_report.FILES:
        assert (once.folder / name).read_bytes() == (again.folder / name).read_bytes()


def test_a_cohort_opens_without_its_report_and_is_replaced_with_it(make_cohort, tmp_path):
    cohort = make_cohort()
    ingest(write_tables(tmp_path / "again"), cohort.folder, force=True)
    for name in quality_report.FILES:
        (cohort.folder / name).unlink()
    assert Cohort.open(cohort.folder).fingerprint == cohort.fingerprint
    assert quality_report.read(cohort.folder) is None
    ingest(write_tables(tmp_path / "again"), cohort.folder, force=True)
    assert quality_report.read(cohort.folder) is not None


def test_a_report_of_another_version_is_none_and_a_damaged_one_is_named(make_cohort):
    path = make_cohort().folder / "quality.json"
    path.write_text(json.dumps({"format": 99}))
    assert quality_report.read(path.parent) is None
    path.write_text("{")
    with pytest.raises(WorkbenchError, match=r"quality\.json.*ingest the cohort again"):
        quality_report.read(path.parent)


# ---------------------------------------------------------------- the page


def without_library(page: str) -> str:
    """The page without plotly.js, which speaks of addresses that it never asks for."""
    return max(re.split(r"<script>.*?</script>", page, flags=re.DOTALL), key=len)


def test_the_page_loads_nothing_from_anywhere(facts):
    page = quality_report.html(facts)
    assert "default-src 'none'" in page
    assert not re.search(r"<(link|iframe|img|object|embed|base)\b", without_library(page))
    assert not re.search(r"\b(src|href)\s*=", without_library(page))
    assert "http" not in re.sub(r"http-equiv", "", without_library(page))
    assert page.count("<script") == 3  # charts as data, the library, and what draws them
    assert "Plotly" in page


def test_every_section_and_every_chart_is_there(facts):
    page = quality_report.html(facts)
    pieces = [piece for section in quality_report.sections(facts) for piece in section.pieces]
    for section in quality_report.sections(facts):
        assert f'<section id="{section.key}">' in page
        assert section.reading
    drawn = {piece.figure for piece in pieces if piece.figure}
    assert drawn == set(quality_report.figures(facts))
    for name in drawn:
        assert f'id="chart-{name}"' in page
    embedded = re.search(r'id="charts">(.*?)</script>', page, re.DOTALL).group(1)
    assert set(json.loads(embedded)["figures"]) == drawn


def test_the_same_facts_give_the_same_bytes(facts):
    assert quality_report.html(facts) == quality_report.html(json.loads(json.dumps(facts)))


def test_nothing_in_the_data_is_markup(attacked):
    page = quality_report.html(attacked)
    assert "<img" not in without_library(page)
    assert page.count("</script>") == 3
    assert "&lt;img src=x" in page  # in the table of unknown names
    drawn = "".join(figure.to_json() for figure in quality_report.figures(attacked).values())
    assert "<img" not in json.loads(json.dumps(drawn))


def test_numbers_carry_separators(facts):
    facts["tables"][0] |= {"read": 1234567, "kept": 1234567}
    page = quality_report.html(facts)
    assert "1,234,567" in page
    assert "1234567<" not in page


def test_a_hospital_without_titles_names_or_procedures_is_drawn(make_cohort):
    cohort = make_cohort(
        procedures_icd=b"subject_id,hadm_id,seq_num,icd_code,icd_version\n",
        d_icd_diagnoses=None,
        d_icd_procedures=None,
        options=IngestOptions(icd10=True),
    )
    facts = quality_report.read(cohort.folder)
    assert facts["codes"]["procedures"]["distinct"] == 0
    assert "translated to ICD-10" in quality_report.html(facts)


# ---------------------------------------------------------------- what to read first


def test_the_largest_unknown_name_is_told_first_hand(make_cohort):
    prescriptions = [*rows("prescriptions"), *[rows("prescriptions")[-1]] * 7]
    facts = quality_report.read(make_cohort(prescriptions=prescriptions).folder)
    found = next(text for text in sentences(facts, look=True) if "not recognised" in text)
    assert "53.3\u00a0%" in found  # 8 of 15
    assert "“Zzyzxol Unheardof” (8)" in found


def test_rare_unknown_names_are_told_in_numbers(facts):
    found = next(text for text in sentences(facts, look=True) if "not recognised" in text)
    assert "12.5\u00a0%" in found  # one of eight
    assert found.endswith("None is frequent enough to be listed: 1 rarer name (1 row).")
    page = quality_report.html(facts)
    assert "1 rarer name (1 row)" in page and "Zzyzxol" not in page
    assert "Every drug name was recognised" not in page


def test_a_field_that_is_often_missing_asks_for_a_look(make_cohort):
    admissions = rows("admissions")
    for row in admissions[:2]:
        row["language"] = "?"
    facts = quality_report.read(make_cohort(admissions=admissions).folder)
    assert "Language is missing for 40.0\u00a0% of the visits." in sentences(facts, look=True)
    assert any(text.startswith("Religion is empty") for text in sentences(facts, look=False))


def test_a_table_that_lost_rows_asks_for_a_look_and_a_duplicate_does_not(make_cohort):
    lost = rows("diagnoses_icd")[0] | {"hadm_id": "12345"}
    twice = rows("procedures_icd")[0]
    cohort = make_cohort(
        diagnoses_icd=[*rows("diagnoses_icd"), lost],
        procedures_icd=[*rows("procedures_icd"), twice],
    )
    facts = quality_report.read(cohort.folder)
    assert any("10.0\u00a0% of the rows of diagnoses_icd" in t for t in sentences(facts, look=True))
    assert any("rows of procedures_icd" in text for text in sentences(facts, look=False))


def test_things_to_look_into_come_before_things_to_know(facts):
    looks = [notice.look for notice in quality_findings.notices(facts)]
    assert looks == sorted(looks, reverse=True)
    assert any(looks) and not all(looks)


def test_a_flawless_hospital_is_told_so(facts):
    facts["patients"] = 5000
    facts |= {"missing": [], "times": [], "titles": {}, "years": []}
    facts["drugs"]["rows"]["unmapped"] = 0
    for split in facts["splits"]:
        for kind in quality_findings.PLURALS:
            split[kind]["unknown_rows"] = 0
    assert not sentences(facts, look=True)
    assert "Nothing in these data asks for a second look" in quality_report.overview(facts)


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [(0, 5, "0 %"), (5, 5, "100 %"), (1, 9_999, "< 0.1 %"), (9_998, 9_999, "> 99.9 %")],
)
def test_a_share_never_rounds_something_to_nothing(part, whole, shown):
    assert quality_findings.share(part, whole).replace("\u00a0", " ") == shown
    assert quality_findings.share(1, 8).replace("\u00a0", " ") == "12.5 %"
    assert quality_findings.share(0, 0) == "–"


def test_rows_set_aside_on_purpose_are_no_fault(make_cohort):
    facts = quality_report.read(make_cohort(options=IngestOptions(min_visits=2)).folder)
    assert not any("rows of" in text for text in sentences(facts, look=True))
    bars = {bar.name: bar.x for bar in quality_report.figures(facts)["rows"].data}
    assert bars["set aside on purpose"][0] == pytest.approx(2 / 3)  # of three patients


def test_a_choice_that_changes_the_medications_is_told(make_cohort):
    prescriptions = [{**row, "starttime": "2150-03-01 11:00:00"} for row in rows("prescriptions")]
    cohort = make_cohort(prescriptions=prescriptions, options=IngestOptions(first_day=True))
    facts = quality_report.read(cohort.folder)
    assert any("within 24 hours of admission" in text for text in sentences(facts, look=False))
