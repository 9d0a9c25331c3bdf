"""What a row becomes, what is dropped and why; a cohort appears whole or not at all."""

from datetime import datetime

import duckdb
import pytest

from engine.errors import WorkbenchError
from engine.records.cohort import FILES, Cohort
from engine.records.ingest import ingest
from engine.records.options import IngestOptions
from tests.tables import ADMISSION, rows, write_tables


def dropped(cohort, table):
    return next(
        count["dropped"] for count in cohort.manifest["funnel"]["tables"] if count["table"] == table
    )


def emptied(cohort, table):
    return next(
        count["emptied"] for count in cohort.manifest["funnel"]["tables"] if count["table"] == table
    )


def admission(patient, visit, start, end, **values):
    times = {"admittime": start, "dischtime": end}
    return {"subject_id": patient, "hadm_id": visit, **times, **ADMISSION, **values}


def test_visits_stand_in_the_order_of_admission_not_of_id(make_cohort):
    visits = make_cohort().visits("1")
    assert [visit.visit_id for visit in visits] == ["300", "200", "100"]
    assert [len(visit.history) for visit in visits] == [0, 1, 2]
    assert visits[2].history == (visits[0], make_plain(visits[1]))


def make_plain(visit):
    return type(visit)(
        **{name: getattr(visit, name) for name in visit.__slots__ if name != "history"}
    )


def test_a_visit_holds_what_the_tables_say(make_cohort):
    visit = make_cohort().visits("1")[0]
    assert visit.admit_time == datetime(2150, 3, 1, 10)
    assert visit.discharge_time == datetime(2150, 3, 5, 12)
    assert (visit.age, visit.sex, visit.insurance) == (64, "F", "Medicare")
    assert visit.diagnoses == ("9:41401", "9:0090", "9:4019")  # by sequence number, as numbers
    assert visit.procedures == ("9:0066",)
    assert visit.medications == ("C03C", "C07A")  # furosemide once, by two routes
    assert visit.drugs == ("Furosemide", "Metoprolol Tartrate")


def test_an_age_that_cannot_be_known_is_left_empty_and_counted(make_cohort):
    changed = rows("patients")
    changed[2]["anchor_age"] = "old"
    cohort = make_cohort(patients=changed)
    assert cohort.visit("3").age is None
    assert emptied(cohort, "patients") == {"age left empty: no birth date, or not a date": 1}


def test_age_counts_from_the_anchor_year(make_cohort):
    cohort = make_cohort()
    assert [visit.age for visit in cohort.visits("1")] == [64, 65, 67]
    assert cohort.visit("3").age == 90


def test_leading_zeros_survive_and_versions_do_not_collide(make_cohort):
    cohort = make_cohort()
    assert "9:0090" in cohort.visits("1")[0].diagnoses
    assert cohort.visit("2").diagnoses == ("10:E8120",)
    assert cohort.visit("3").diagnoses == ("9:E8120", "10:I10")


def test_a_visit_without_prescriptions_stays_as_history(make_cohort):
    left = [row for row in rows("prescriptions") if row["hadm_id"] != "300"]
    cohort = make_cohort(prescriptions=left)
    first, second, third = cohort.visits("1")
    assert first.is_first and not first.is_labelled
    assert second.history == (first,)
    assert not cohort.visit("2").is_labelled and cohort.visit("2").is_first


def test_nothing_is_filled_from_another_row(make_cohort):
    changed = rows("admissions")
    changed[1] |= {"race": "", "language": "?", "marital_status": "UNKNOWN"}
    changed[4] |= {"race": "UNABLE TO OBTAIN", "insurance": "Other"}
    cohort = make_cohort(admissions=changed)
    visit = cohort.visit("1", "100")
    assert (visit.race, visit.language, visit.marital_status) == (None, None, None)
    assert visit.insurance == "Medicare"
    assert (cohort.visit("3").race, cohort.visit("3").insurance) == (None, "Other")


def test_bad_admissions_are_counted_and_dropped(make_cohort):
    bad = [
        rows("admissions")[0],
        admission("1", "300", "2149-01-01 00:00:00", "2149-01-02 00:00:00"),
        admission("77", "700", "2150-01-01 00:00:00", "2150-01-02 00:00:00"),
        admission("2", "800", "sometime", "2150-01-02 00:00:00"),
        admission("2", "", "2150-01-01 00:00:00", "2150-01-02 00:00:00"),
        admission("", "900", "2150-01-01 00:00:00", "2150-01-02 00:00:00"),
    ]
    cohort = make_cohort(admissions=rows("admissions") + bad)
    assert dropped(cohort, "admissions") == {
        "the admission is there already": 2,
        "the patient is not in the patients table": 1,
        "admission time is missing or not a time": 1,
        "no admission id": 1,
        "no patient id": 1,
    }
    assert cohort.manifest["counts"]["visits"] == 5


def test_impossible_values_are_left_empty_and_counted(make_cohort):
    admissions = rows("admissions")
    admissions[0]["dischtime"] = "2150-02-28 10:00:00"  # a day before admission
    admissions[1]["dischtime"] = "later"
    admissions[2]["dischtime"] = ""
    patients = rows("patients")
    patients[1] |= {"anchor_age": "-3", "gender": "X"}
    cohort = make_cohort(admissions=admissions, patients=patients)
    assert [visit.discharge_time for visit in cohort.visits("1")] == [None, None, None]
    assert (cohort.visit("2").age, cohort.visit("2").sex) == (None, None)
    assert emptied(cohort, "admissions") == {
        "discharge time left empty: before admission": 1,
        "discharge time left empty: not a time": 1,
        "age left empty: not within 0-130 years": 1,
    }
    assert emptied(cohort, "patients") == {"sex left empty: neither F nor M": 1}


def test_bad_codes_are_counted_and_dropped(make_cohort):
    good = rows("diagnoses_icd")
    bad = [
        good[0] | {"seq_num": "99"},  # the code once more
        good[0] | {"hadm_id": "12345"},
        good[0] | {"hadm_id": ""},
        good[0] | {"icd_code": ""},
        good[0] | {"icd_code": "I10", "icd_version": "11"},
        good[0] | {"subject_id": "2", "icd_code": "I10"},
    ]
    cohort = make_cohort(diagnoses_icd=good + bad)
    assert dropped(cohort, "diagnoses_icd") == {
        "the code is there already for this admission": 1,
        "the admission is not in the admissions table": 1,
        "no admission id": 1,
        "no code": 1,
        "ICD version is not 9 or 10": 1,
        "its admission is another patient's": 1,
    }
    assert cohort.visit("1", "300").diagnoses == ("9:41401", "9:0090", "9:4019")


def test_every_prescription_is_accounted_for(make_cohort):
    extra = {"subject_id": "1", "hadm_id": "300", "drug_type": "MAIN", "drug": "", "route": ""}
    cohort = make_cohort(prescriptions=[*rows("prescriptions"), extra])
    funnel = cohort.manifest["funnel"]
    assert dropped(cohort, "prescriptions") == {
        "no drug name": 1,
        "vehicle, flush, device or supply": 1,
        "drug name not recognised": 1,
    }
    assert funnel["mapping"] == {"mapped": 6, "non_drug": 1, "unmapped": 1}
    assert (funnel["unmapped"], funnel["unmapped_names"]) == ([], 1)  # too rare to be shown


def test_a_patient_without_admission_is_counted(make_cohort):
    idle = {"subject_id": "9", "gender": "F", "anchor_age": "50", "anchor_year": "2150"}
    cohort = make_cohort(patients=[*rows("patients"), rows("patients")[0], idle])
    assert cohort.patient_ids() == ["1", "2", "3"]
    assert dropped(cohort, "patients") == {
        "no admission on record": 1,
        "the patient is there already": 1,
    }


def test_vocabulary_holds_training_patients_only(make_cohort):
    for seed in range(50):
        cohort = make_cohort(f"cohort-{seed}", options=IngestOptions(split_seed=seed))
        if cohort.split_of("1") == "train" and cohort.split_of("3") != "train":
            break
    assert cohort.split_of("3") != "train"
    assert cohort.vocabulary.diagnosis_index("10:I5021") > 0
    assert cohort.vocabulary.diagnosis_index("9:E8120") == 0


def test_order_of_rows_plays_no_part(make_cohort):
    plain = make_cohort()
    names = ("patients", "admissions", "diagnoses_icd", "procedures_icd", "prescriptions")
    shuffled = make_cohort("shuffled", **{name: rows(name)[::-1] for name in names})
    assert shuffled.fingerprint == plain.fingerprint
    assert shuffled.splits == plain.splits


def test_ingesting_again_gives_the_same_bytes(make_cohort):
    once, again = make_cohort("once"), make_cohort("again")
    for name in (*FILES, "manifest.json"):
        assert (once.folder / name).read_bytes() == (again.folder / name).read_bytes()


def test_parquet_columns_are_those_of_a_visit(make_cohort):
    path = make_cohort().folder / "visits.parquet"
    described = duckdb.sql(f"DESCRIBE FROM '{path}'").fetchall()
    assert {name: kind for name, kind, *_ in described} == {
        "patient_id": "VARCHAR",
        "visit_id": "VARCHAR",
        "admit_time": "TIMESTAMP",
        "discharge_time": "TIMESTAMP",
        "age": "INTEGER",
        "sex": "VARCHAR",
        "insurance": "VARCHAR",
        "language": "VARCHAR",
        "marital_status": "VARCHAR",
        "race": "VARCHAR",
        "religion": "VARCHAR",
        "admission_type": "VARCHAR",
        "diagnoses": "VARCHAR[]",
        "procedures": "VARCHAR[]",
        "medications": "VARCHAR[]",
        "drugs": "VARCHAR[]",
    }


def test_a_cohort_is_replaced_only_by_force(make_cohort, tmp_path):
    cohort = make_cohort()
    tables = write_tables(tmp_path / "other", procedures_icd=rows("procedures_icd")[:1])
    with pytest.raises(WorkbenchError, match="holds a cohort already; add --force"):
        ingest(tables, cohort.folder)
    ingest(tables, cohort.folder, force=True)
    assert Cohort.open(cohort.folder).fingerprint != cohort.fingerprint


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_that_is_no_cohort_is_never_touched(force, tmp_path):
    tables, notes = write_tables(tmp_path / "in"), tmp_path / "out" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    with pytest.raises(WorkbenchError, match="is not empty and is not a cohort"):
        ingest(tables, tmp_path / "out", force=force)
    assert notes.read_text() == "mine"


def test_a_failed_replacement_leaves_the_former_cohort(make_cohort, tmp_path, monkeypatch):
    cohort = make_cohort()

    def full_disk(*_):
        raise OSError(28, "No space left on device", "visits.parquet")

    monkeypatch.setattr("engine.records.ingest.write_tables", full_disk)
    tables = write_tables(tmp_path / "in")
    with pytest.raises(WorkbenchError, match="visits.parquet: No space left on device"):
        ingest(tables, cohort.folder, force=True)
    assert Cohort.open(cohort.folder).fingerprint == cohort.fingerprint
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_demo_is_read_unchanged(demo_tables, tmp_path):
    funnel = ingest(demo_tables, tmp_path / "cohort")
    assert (funnel.patients, funnel.visits, funnel.first_visits) == (100, 275, 100)
    assert funnel.recognised >= 0.97
    samples = Cohort.open(tmp_path / "cohort").samples()
    groups = sum(len(visit.medications) for visit in samples) / len(samples)
    assert 20 <= groups <= 26  # a plain reference computation gives about 22.8
