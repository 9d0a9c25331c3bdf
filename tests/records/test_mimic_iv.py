"""The MIMIC-IV layout: release 2 and 3 differ in how they spell, and titles may be missing."""

from engine.records.cohort import Cohort
from engine.records.ingest import ingest
from tests.tables import rows


def test_release_3_spells_differently_and_means_the_same(make_cohort):
    release_2 = make_cohort("release-2")
    spelled = [
        {**row, "language": "English", "marital_status": "Married", "race": "White"}
        for row in rows("admissions")
    ]
    release_3 = make_cohort("release-3", admissions=spelled)
    assert release_3.fingerprint == release_2.fingerprint


def test_columns_of_later_releases_are_passed_over(make_cohort):
    wider = [
        {"admit_provider_id": "P1", **row, "hospital_expire_flag": "0"}
        for row in rows("admissions")
    ]
    assert make_cohort("wider", admissions=wider).fingerprint == make_cohort().fingerprint


def test_without_title_tables_the_engine_gives_the_titles(make_cohort):
    cohort = make_cohort(d_icd_diagnoses=None, d_icd_procedures=None)
    assert cohort.titles == {"diagnosis": {}, "procedure": {}}
    assert cohort.title("diagnosis", "10:I10") == "Essential (primary) hypertension"
    assert cohort.manifest["funnel"]["absent"] == ["d_icd_diagnoses", "d_icd_procedures"]


def test_the_demo_reads_the_same_with_and_without_title_tables(demo_data, tmp_path):
    hosp = demo_data / "mimic-iv-demo" / "hosp"
    bare = tmp_path / "bare-tables"
    bare.mkdir()
    for file in hosp.glob("[!d]*.csv.gz"):
        (bare / file.name).symlink_to(file)
    (bare / "diagnoses_icd.csv.gz").symlink_to(hosp / "diagnoses_icd.csv.gz")
    cohorts = []
    for name, folder in (("whole", hosp), ("bare", bare)):
        ingest(folder, tmp_path / name)
        cohorts.append(Cohort.open(tmp_path / name))
    whole, without = (list(cohort.all_visits()) for cohort in cohorts)
    assert whole == without
    untitled = [
        code
        for visit in without
        for code in visit.diagnoses
        if cohorts[1].title("diagnosis", code).startswith("code ")
    ]
    assert not untitled
