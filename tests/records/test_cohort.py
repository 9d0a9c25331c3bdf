"""A cohort folder is read back as it was written, quickly, or refused with one line."""

import json

import pytest

from engine.errors import WorkbenchError
from engine.records.cohort import FILES, Cohort


def test_samples_are_labelled_and_in_order(make_cohort):
    cohort = make_cohort()
    samples = cohort.samples()
    assert [(visit.patient_id, visit.visit_id) for visit in samples] == [
        ("1", "300"),
        ("1", "200"),
        ("1", "100"),
        ("3", "500"),
    ]
    assert samples == [
        visit
        for patient in cohort.patient_ids()
        for visit in cohort.visits(patient)
        if visit.is_labelled
    ]


def test_splits_share_out_all_samples(make_cohort):
    cohort = make_cohort()
    for split in ("train", "validation", "test"):
        assert all(cohort.split_of(visit.patient_id) == split for visit in cohort.samples(split))
    parts = [cohort.samples(split) for split in ("train", "validation", "test")]
    assert sum(map(len, parts)) == len(cohort.samples())


def test_an_unknown_split_is_a_mistake_of_the_caller(make_cohort):
    with pytest.raises(ValueError, match="train, validation, test"):
        make_cohort().samples("training")


def test_visit_is_the_latest_unless_named(make_cohort):
    cohort = make_cohort()
    assert cohort.visit("1").visit_id == "100"
    assert cohort.visit("1", "300").is_first


def test_unknown_patient_and_visit_are_named(make_cohort):
    cohort = make_cohort()
    with pytest.raises(WorkbenchError, match="patient 4711 is not in the cohort"):
        cohort.visits("4711")
    with pytest.raises(WorkbenchError, match="visit 500 is not one of patient 1's 3"):
        cohort.visit("1", "500")


def test_titles_come_from_the_source_first(make_cohort):
    cohort = make_cohort()
    assert cohort.title("diagnosis", "10:I10") == "Our own words for hypertension"
    assert "heart failure" in cohort.title("diagnosis", "10:I5021").lower()
    assert cohort.title("diagnosis", "10:QQ99") == "code QQ99 (ICD-10)"
    assert cohort.title("procedure", "9:0066") == "Coronary angioplasty"


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_missing_file_is_named(name, make_cohort):
    folder = make_cohort().folder
    (folder / name).unlink()
    with pytest.raises(WorkbenchError, match=f"{name}: is missing; ingest the cohort again"):
        Cohort.open(folder)


@pytest.mark.parametrize(
    "name", [name for name in (*FILES, "manifest.json") if name.endswith(".json")]
)
@pytest.mark.parametrize("content", ["", "[]", "{", '"text"'])
def test_a_damaged_file_is_named(name, content, make_cohort):
    folder = make_cohort().folder
    (folder / name).write_text(content)
    with pytest.raises(WorkbenchError, match=name):
        Cohort.open(folder)


@pytest.mark.parametrize("kept", [0, 100, -200])
def test_damaged_visits_are_named_when_read(kept, make_cohort):
    cohort = make_cohort()
    path = cohort.folder / "visits.parquet"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WorkbenchError, match="visits.parquet: is damaged"):
        cohort.visits("1")
    with pytest.raises(WorkbenchError, match="visits.parquet: is damaged"):
        cohort.samples()


def test_a_cohort_of_another_format_is_refused(make_cohort):
    folder = make_cohort().folder
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(WorkbenchError, match="is not of this version"):
        Cohort.open(folder)


def test_no_folder_tells_how_to_make_one(tmp_path):
    with pytest.raises(WorkbenchError, match="python -m engine ingest"):
        Cohort.open(tmp_path / "nowhere")
