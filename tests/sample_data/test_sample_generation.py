"""The generator: reproducible bytes, the MIMIC-IV layout, tables that fit together."""

from datetime import datetime

import pytest

from sample_data import generate as command
from sample_data.generate import generate
from sample_data.tables import COLUMNS, FIRST_VISIT_ID, write_tables


@pytest.fixture(scope="module")
def tables():
    made = generate(patients=60, seed=3)
    return {
        name: [dict(zip(COLUMNS[name], row, strict=True)) for row in rows]
        for name, rows in made.items()
    }


def _bytes(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_equal_arguments_give_identical_bytes(tmp_path):
    for name in ("one", "two"):
        assert command.main([str(tmp_path / name), "--patients", "12", "--seed", "5"]) == 0
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two")
    assert len(_bytes(tmp_path / "one")) == len(COLUMNS)


def test_another_seed_gives_another_cohort(tmp_path):
    write_tables(generate(12, seed=5), tmp_path / "five")
    write_tables(generate(12, seed=6), tmp_path / "six")
    five, six = _bytes(tmp_path / "five"), _bytes(tmp_path / "six")
    assert five["diagnoses_icd.csv.gz"] != six["diagnoses_icd.csv.gz"]
    assert five["prescriptions.csv.gz"] != six["prescriptions.csv.gz"]


def test_a_patient_is_the_same_in_a_larger_cohort():
    small, large = generate(5, seed=9), generate(8, seed=9)
    assert small["admissions"] == large["admissions"][: len(small["admissions"])]
    assert small["prescriptions"] == large["prescriptions"][: len(small["prescriptions"])]


def test_every_admission_has_its_patient_and_every_row_its_admission(tables):
    patients = {row["subject_id"] for row in tables["patients"]}
    owner = {row["hadm_id"]: row["subject_id"] for row in tables["admissions"]}
    assert set(owner.values()) == patients
    assert len(owner) == len(tables["admissions"])
    for name in ("diagnoses_icd", "procedures_icd", "prescriptions"):
        assert all(owner[row["hadm_id"]] == row["subject_id"] for row in tables[name])


def test_every_code_has_its_title(tables):
    for coded, titled in (
        ("diagnoses_icd", "d_icd_diagnoses"),
        ("procedures_icd", "d_icd_procedures"),
    ):
        titles = {
            (row["icd_code"], row["icd_version"]): row["long_title"] for row in tables[titled]
        }
        assert all(titles[row["icd_code"], row["icd_version"]] for row in tables[coded])


def test_every_visit_has_diagnoses_numbered_without_gaps_or_repeats(tables):
    by_visit = {row["hadm_id"]: [] for row in tables["admissions"]}
    for row in tables["diagnoses_icd"]:
        by_visit[row["hadm_id"]].append((row["seq_num"], row["icd_code"]))
    for rows in by_visit.values():
        assert [number for number, _ in rows] == list(range(1, len(rows) + 1))
        assert len({code for _, code in rows}) == len(rows) >= 1


def test_times_run_forward_in_a_shifted_future(tables):
    last: dict[int, str] = {}
    died: set[int] = set()
    for row in tables["admissions"]:
        assert row["subject_id"] not in died, "nobody is admitted after dying in hospital"
        assert "2110" <= row["admittime"][:4] <= "2215"
        assert row["admittime"] < row["dischtime"]
        assert last.get(row["subject_id"], "") < row["admittime"]
        last[row["subject_id"]] = row["dischtime"]
        if row["hospital_expire_flag"]:
            assert row["deathtime"] == row["dischtime"]
            assert row["discharge_location"] == "DIED"
            died.add(row["subject_id"])


def test_ids_lie_in_a_range_of_their_own(tables):
    assert all(19_900_001 <= row["subject_id"] < 19_999_999 for row in tables["patients"])
    assert tables["admissions"][0]["hadm_id"] == FIRST_VISIT_ID


def test_icd_9_before_the_change_and_icd_10_after(tables):
    first_year = {
        row["subject_id"]: (row["anchor_year"], row["anchor_year_group"])
        for row in tables["patients"]
    }
    versions = {row["hadm_id"]: row["icd_version"] for row in tables["diagnoses_icd"]}
    for row in tables["admissions"]:
        anchor_year, group = first_year[row["subject_id"]]
        years_later = datetime.fromisoformat(row["admittime"]).year - anchor_year
        latest = int(group[-4:]) + years_later
        earliest = int(group[:4]) + years_later
        if latest < 2015:
            assert versions[row["hadm_id"]] == 9
        if earliest > 2015:
            assert versions[row["hadm_id"]] == 10


def test_wards_write_vehicles_beside_the_drugs(tables):
    kinds = {row["drug_type"] for row in tables["prescriptions"]}
    assert kinds == {"MAIN", "BASE", "ADDITIVE"}
    orders: dict[int, list[str]] = {}
    for row in tables["prescriptions"]:
        orders.setdefault(row["pharmacy_id"], []).append(row["drug_type"])
    assert ["MAIN", "BASE"] in orders.values()
    assert max(len(rows) for rows in orders.values()) == 2


def test_a_wrong_argument_is_one_line_and_exit_2(tmp_path, capsys):
    assert command.main([str(tmp_path / "none"), "--patients", "0"]) == 2
    assert capsys.readouterr().err == "error: --patients must be at least 1\n"
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert command.main([str(tmp_path / "file"), "--patients", "1"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: cannot write") and error.count("\n") == 1
