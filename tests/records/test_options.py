"""What a person can choose about a cohort, each choice by its effect."""

import pytest

from engine.cli import main
from engine.errors import WorkbenchError
from engine.files import sha256
from engine.records.cohort import Cohort
from engine.records.options import PRESETS, IngestOptions
from engine.records.schema import PROFILE_FIELDS
from engine.terminology import rxnorm
from tests import rrf
from tests.tables import rows, write_tables


def dropped(cohort: Cohort, table: str) -> dict[str, int]:
    tables = cohort.manifest["funnel"]["tables"]
    return next(count["dropped"] for count in tables if count["table"] == table)


def prescriptions(*starts: tuple[str, str]) -> list[dict[str, str]]:
    """Return prescriptions of patient 1's visit 300, admitted on 2150-03-01 at 10:00."""
    base = {"subject_id": "1", "hadm_id": "300", "drug_type": "MAIN", "route": "PO"}
    return [{**base, "drug": drug, "starttime": start} for drug, start in starts]


def test_first_day_keeps_what_started_within_24_hours(make_cohort):
    given = prescriptions(
        ("Metformin", "2150-02-28 20:00:00"),  # in the emergency room
        ("Furosemide", "2150-03-02 09:59:00"),
        ("Warfarin", "2150-03-02 10:00:00"),
        ("Digoxin", "soon"),
        ("Aspirin", "2143-02-28 20:00:00"),  # of another stay, seven years ago
    )
    cohort = make_cohort(options=IngestOptions(first_day=True), prescriptions=given)
    assert cohort.visit("1", "300").drugs == ("Furosemide", "Metformin")
    assert dropped(cohort, "prescriptions") == {
        "started later than 24 hours after admission": 1,
        "start time is missing or not a time": 1,
        "started before the day that precedes admission": 1,
    }
    whole_stay = make_cohort("whole", prescriptions=given)
    assert len(whole_stay.visit("1", "300").drugs) == 5


def test_patients_with_too_few_admissions_are_left_out_and_counted(make_cohort):
    cohort = make_cohort(options=IngestOptions(min_visits=2))
    assert cohort.patient_ids() == ["1"]
    assert cohort.visits("1")[0].is_first  # a first visit stays one
    assert dropped(cohort, "admissions") == {"the patient has fewer than 2 admissions": 2}
    assert dropped(cohort, "patients") == {"none of the admissions was kept": 2}


@pytest.fixture
def training_only(monkeypatch):
    """Everybody trains, so that the small hospital has a vocabulary to choose from."""
    monkeypatch.setattr(
        "engine.records.ingest.split_patients",
        lambda ids, seed: dict.fromkeys(sorted(ids), "train"),
    )


def test_top_k_keeps_the_most_frequent_codes_of_one_vocabulary(make_cohort, training_only):
    cohort = make_cohort(options=IngestOptions(top_k={"diagnoses": 1}))
    assert cohort.vocabulary.diagnoses == ("10:I5021",)
    assert len(cohort.vocabulary.procedures) == 2
    assert "10:E119" in cohort.visit("1", "100").diagnoses  # the record keeps it


def test_min_count_counts_training_visits(make_cohort, training_only):
    cohort = make_cohort(options=IngestOptions(min_count={"diagnoses": 2, "medications": 3}))
    assert cohort.vocabulary.diagnoses == ("10:I5021",)
    assert cohort.vocabulary.medications == ("C03C",)


def test_equal_counts_are_decided_by_code(make_cohort, training_only):
    cohort = make_cohort(options=IngestOptions(top_k={"procedures": 1}))
    assert cohort.vocabulary.procedures == ("10:02703ZZ",)


def test_a_profile_field_switched_off_reaches_nobody(make_cohort):
    off = ("race", "age_band", "sex")
    cohort = make_cohort(options=IngestOptions(profile_off=off))
    for visit in cohort.all_visits():
        assert (visit.race, visit.age, visit.sex) == (None, None, None)
        assert visit.insurance == "Medicare"
    assert all(cohort.vocabulary.profile[field] == () for field in off)
    assert set(cohort.vocabulary.profile) == set(PROFILE_FIELDS)


def test_icd10_translates_diagnoses_and_leaves_the_rest(make_cohort):
    cohort = make_cohort(options=IngestOptions(icd10=True))
    visit = cohort.visit("1", "300")
    assert "10:I10" in visit.diagnoses  # from 9:4019
    assert visit.procedures == ("9:0066",)  # the equivalence maps hold diagnoses only
    assert cohort.manifest["options"]["icd10"] is True


def test_a_drug_map_is_preferred_over_the_name(make_cohort, tmp_path):
    rrf.write_rrf(tmp_path / "rrf")
    rxnorm.build(tmp_path / "rrf", tmp_path / "map.sqlite")
    given = [
        {**row, "ndc": ndc, "drug": drug, "route": "PO"}
        for row, ndc, drug in zip(
            rows("prescriptions"),
            ("00904404073", "60793070110", "", "0"),
            ("House Tablet 17", "Furosemide", "Furosemide", "Warfarin"),
            strict=False,
        )
        if row["hadm_id"] == "300" or drug == "Warfarin"
    ]
    named = make_cohort("named", prescriptions=given)
    assert named.visit("1", "300").medications == ("C03C",)
    mapped = make_cohort(
        "mapped", prescriptions=given, options=IngestOptions(drug_map=tmp_path / "map.sqlite")
    )
    # aspirin by mouth, of no named strength; the NDC's penicillin; furosemide by its name
    assert mapped.visit("1", "300").medications == ("B01A", "C03C", "J01C", "N02B")
    assert mapped.manifest["options"]["drug_map"] == {"sha256": sha256(tmp_path / "map.sqlite")}
    assert str(tmp_path) not in (mapped.folder / "manifest.json").read_text()


def test_the_split_seed_moves_patients(make_cohort):
    splits = {
        tuple(make_cohort(f"s{seed}", options=IngestOptions(split_seed=seed)).splits.values())
        for seed in range(12)
    }
    assert len(splits) > 1


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"top_k": {"drugs": 5}}, "--top-k drugs=5"),
        ({"min_count": {"diagnoses": 0}}, "--min-count diagnoses=0"),
        ({"min_visits": 0}, "--min-visits 0"),
        ({"top_k": {"diagnoses": 10**20}}, "--top-k diagnoses=1"),
        ({"profile_off": ("shoe_size",)}, "--profile-off shoe_size"),
    ],
)
def test_a_choice_that_cannot_be_is_named(options, named):
    with pytest.raises(WorkbenchError, match=named):
        IngestOptions(**options)


def test_the_papers_cohort_is_a_preset(tmp_path):
    tables = write_tables(tmp_path / "in")
    command = ["ingest", "mimic-iv", str(tables), str(tmp_path / "paper"), "--preset", "paper"]
    assert main(command) == 0
    options = Cohort.open(tmp_path / "paper").manifest["options"]
    assert options["preset"] == "paper"
    assert (options["min_visits"], options["top_k"]) == (2, {"diagnoses": 2000})
    assert options["ratios"] == [0.8, 0.1, 0.1]


def test_the_command_line_adds_to_a_preset(tmp_path):
    tables = write_tables(tmp_path / "in")
    command = [
        *("ingest", "mimic-iv", str(tables), str(tmp_path / "cohort"), "--preset", "paper"),
        *("--min-visits", "1", "--top-k", "5", "--top-k", "procedures=1", "--min-count", "2"),
        *("--split-seed", "3", "--profile-off", "race, language"),
    ]
    assert main(command) == 0
    options = Cohort.open(tmp_path / "cohort").manifest["options"]
    assert options["min_visits"] == 1
    assert options["top_k"] == {"diagnoses": 5, "medications": 5, "procedures": 1}
    assert options["min_count"] == {"diagnoses": 2, "medications": 2, "procedures": 2}
    assert options["split_seed"] == 3
    assert options["profile_off"] == ["language", "race"]
    assert PRESETS["paper"].min_visits == 2  # the preset itself is untouched


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["--top-k", "procedures=5"], {"diagnoses": 2000, "procedures": 5}),
        (["--top-k", "diagnoses=7"], {"diagnoses": 7}),
        (
            ["--top-k", "diagnoses=10", "--top-k", "5"],
            {"diagnoses": 10, "medications": 5, "procedures": 5},
        ),
    ],
)
def test_a_limit_for_one_vocabulary_leaves_those_of_the_others(tmp_path, given, kept):
    tables = write_tables(tmp_path / "in")
    command = ["ingest", "mimic-iv", str(tables), str(tmp_path / "cohort"), "--preset", "paper"]
    assert main([*command, *given]) == 0
    assert Cohort.open(tmp_path / "cohort").manifest["options"]["top_k"] == kept


def test_a_limit_that_leaves_nothing_to_recommend_is_refused(make_cohort, training_only):
    with pytest.raises(WorkbenchError, match="--min-count medications=99: no medication group"):
        make_cohort(options=IngestOptions(min_count={"medications": 99}))


def test_a_choice_that_loses_every_row_is_named_as_the_cause(make_cohort):
    with pytest.raises(WorkbenchError, match="fewer than 9 admissions.*lower --min-visits"):
        make_cohort(options=IngestOptions(min_visits=9))
    with pytest.raises(WorkbenchError, match="start time is missing.*leave out --first-day"):
        make_cohort(options=IngestOptions(first_day=True))


def test_a_drug_map_without_any_ndc_to_look_up_is_refused(make_cohort, tmp_path):
    rrf.write_rrf(tmp_path / "rrf")
    rxnorm.build(tmp_path / "rrf", tmp_path / "map.sqlite")
    with pytest.raises(WorkbenchError, match="no prescription of this export has an NDC"):
        make_cohort(options=IngestOptions(drug_map=tmp_path / "map.sqlite"))


def test_a_wrong_choice_ends_in_one_line(tmp_path, capsys):
    tables = write_tables(tmp_path / "in")
    command = ["ingest", "mimic-iv", str(tables), str(tmp_path / "cohort")]
    assert main([*command, "--profile-off", "shoe_size"]) == 2
    assert "no such field" in capsys.readouterr().err
    for wrong in ("drugs=3", "=3", "many"):
        with pytest.raises(SystemExit, match="2"):
            main([*command, "--min-count", wrong])
        assert wrong in capsys.readouterr().err
    assert main([*command, "--drug-map", str(tmp_path / "none.sqlite")]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1 and "none.sqlite" in error
    assert not (tmp_path / "cohort").exists()
