"""The MIMIC-III layout: upper- or lower-case names, birth dates, religion, dates without times."""

from datetime import datetime
from pathlib import Path

import pytest

from engine.records.cohort import Cohort
from engine.records.ingest import ingest
from engine.records.mimic_iii import SOURCE
from engine.records.options import IngestOptions
from tests.tables import as_csv

ADMISSION = {
    "admission_type": "EMERGENCY",
    "insurance": "Medicare",
    "language": "ENGL",
    "religion": "CATHOLIC",
    "marital_status": "WIDOWED",
    "ethnicity": "BLACK/AFRICAN AMERICAN",
}
# Patient 8 is above 89: the birth date lies 300 years before the first admission.
TABLES = {
    "PATIENTS": [
        {"subject_id": "7", "gender": "F", "dob": "2094-03-05 00:00:00"},
        {"subject_id": "8", "gender": "M", "dob": "1850-06-01 00:00:00"},
    ],
    "ADMISSIONS": [
        {"subject_id": patient, "hadm_id": visit, "admittime": start, "dischtime": end, **ADMISSION}
        for patient, visit, start, end in (
            ("7", "70", "2164-03-04 21:09:00", "2164-03-09 17:15:00"),
            ("8", "80", "2150-06-01 10:00:00", "2150-06-03 10:00:00"),
            ("8", "81", "2152-06-02 10:00:00", "2152-06-03 10:00:00"),
        )
    ],
    "DIAGNOSES_ICD": [
        {"subject_id": patient, "hadm_id": visit, "seq_num": place, "icd9_code": code}
        for patient, visit, place, code in (
            ("7", "70", "1", "99591"),
            ("7", "70", "2", "0090"),
            ("8", "80", "1", "4280"),
            ("8", "81", "1", "4280"),
        )
    ],
    "PROCEDURES_ICD": [
        {"subject_id": "7", "hadm_id": "70", "seq_num": "1", "icd9_code": "0066"},
    ],
    "PRESCRIPTIONS": [
        {"subject_id": patient, "hadm_id": visit, "startdate": start, "drug_type": "MAIN",
         "drug": drug, "route": route, "ndc": "0"}
        for patient, visit, start, drug, route in (
            ("7", "70", "2164-03-04 00:00:00", "Furosemide", "IV"),
            ("7", "70", "2164-03-05 00:00:00", "Warfarin", "PO"),
            ("8", "80", "", "Furosemide", "PO"),
            ("8", "81", "2152-06-02 00:00:00", "Furosemide", "PO"),
        )
    ],
}  # fmt: skip


def write(folder: Path, upper: bool = False, **overrides) -> Path:
    """Write the tables, some replaced, with names and headers in capitals or not."""
    folder.mkdir()
    for table, content in {**TABLES, **overrides}.items():
        text = as_csv(content)
        if upper:
            header, _, lines = text.partition(b"\n")
            text = header.upper() + b"\n" + lines
        (folder / f"{table if upper else table.lower()}.csv").write_bytes(text)
    return folder


@pytest.fixture
def make(tmp_path):
    """Return a function that writes the tables, ingests them and opens the cohort."""

    def make(upper=False, options=None, **overrides) -> Cohort:
        name = f"{upper}-{len(list(tmp_path.iterdir()))}"
        folder = write(tmp_path / f"{name}-tables", upper, **overrides)
        ingest(folder, tmp_path / name, source=SOURCE, options=options or IngestOptions())
        return Cohort.open(tmp_path / name)

    return make


def test_upper_and_lower_case_are_the_same_hospital(make):
    assert make(upper=True).fingerprint == make(upper=False).fingerprint


def test_the_profile_has_religion_and_speaks_as_mimic_iv_does(make):
    visit = make().visit("7")
    assert visit.religion == "CATHOLIC"
    assert visit.race == "BLACK/AFRICAN AMERICAN"
    assert visit.language == "ENGLISH"
    assert visit.age == 69  # the birthday is the day after
    assert visit.admit_time == datetime(2164, 3, 4, 21, 9)


def test_above_89_the_hidden_age_counts_from_91_at_the_first_admission(make):
    cohort = make()
    assert [visit.age for visit in cohort.visits("8")] == [91, 93]


def test_codes_are_icd_9_with_their_leading_zeros(make):
    visit = make().visit("7")
    assert visit.diagnoses == ("9:99591", "9:0090")
    assert visit.procedures == ("9:0066",)


def test_first_day_takes_the_day_of_admission_where_only_dates_are_known(make):
    cohort = make(options=IngestOptions(first_day=True))
    assert cohort.visit("7").drugs == ("Furosemide",)
    assert cohort.visit("8", "80").drugs == ()  # no start date
    counted = next(
        table for table in cohort.manifest["funnel"]["tables"] if table["table"] == "prescriptions"
    )
    assert counted["dropped"] == {
        "started later than 24 hours after admission": 1,
        "start time is missing or not a time": 1,
    }


def test_first_day_without_start_dates_says_so(make):
    bare = [{k: v for k, v in row.items() if k != "startdate"} for row in TABLES["PRESCRIPTIONS"]]
    with pytest.raises(Exception, match="start time is missing") as raised:
        make(options=IngestOptions(first_day=True), PRESCRIPTIONS=bare)
    assert len(str(raised.value).splitlines()) == 1
    assert make(PRESCRIPTIONS=bare).visit("7").drugs == ("Furosemide", "Warfarin")


def test_the_demo_of_mimic_iii_comes_through_whole(demo_data, tmp_path):
    funnel = ingest(demo_data / "mimic-iii-demo", tmp_path / "cohort", source=SOURCE)
    assert (funnel.patients, funnel.visits, funnel.labelled_visits) == (100, 129, 122)
    assert funnel.recognised >= 0.98
    counts = {table.table: (table.read, table.kept) for table in funnel.tables}
    assert counts["diagnoses_icd"] == (1761, 1761)
    assert counts["procedures_icd"][0] == 506
    visits = list(Cohort.open(tmp_path / "cohort").all_visits())
    assert max(visit.age for visit in visits) < 110  # nobody is 300 years old
    assert {visit.religion for visit in visits} >= {"CATHOLIC", "JEWISH", None}
