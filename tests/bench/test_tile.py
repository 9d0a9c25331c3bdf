"""The tiled tables: as many rows as planned, under ids of their own, and they ingest."""

import duckdb
import pytest

from bench.tile import FORMS, ROWS_PER_PATIENT, tile
from engine.errors import WorkbenchError
from engine.records.ingest import ingest

PATIENTS = 200  # two tiles of 80 and a part of the third
TABLES = ("patients", *ROWS_PER_PATIENT)


@pytest.fixture(scope="module")
def tiled(sample_tables, tmp_path_factory):
    return tile(PATIENTS, tmp_path_factory.mktemp("tiled") / "tables", sample=sample_tables)


def query(folder, sql, **tables):
    """Return the rows of `sql`, in which each `{name}` stands for the table of that name."""
    names = {name: f"read_csv('{folder / name}.csv.gz', all_varchar = true)" for name in TABLES}
    return duckdb.sql(sql.format(**names)).fetchall()


def test_there_are_as_many_rows_as_in_mimic_iv(tiled):
    assert tiled.rows["patients"] == PATIENTS
    for name, rate in ROWS_PER_PATIENT.items():
        assert tiled.rows[name] == pytest.approx(rate * PATIENTS, rel=0.15), name
        assert query(tiled.folder, f"SELECT count(*) FROM {{{name}}}") == [(tiled.rows[name],)]


def test_every_patient_and_admission_has_an_id_of_its_own_and_every_patient_an_admission(tiled):
    assert query(
        tiled.folder,
        "SELECT (SELECT count(DISTINCT subject_id) FROM {patients}), count(DISTINCT subject_id), "
        "count(DISTINCT hadm_id) FROM {admissions}",
    ) == [(PATIENTS, PATIENTS, tiled.rows["admissions"])]


def test_the_columns_are_those_of_the_sample(tiled, sample_tables):
    for name in TABLES:
        columns = f"SELECT * FROM {{{name}}} LIMIT 0"
        headers = [
            duckdb.sql(
                columns.format(**{name: f"read_csv('{folder / name}.csv.gz', all_varchar = true)"})
            ).columns
            for folder in (sample_tables, tiled.folder)
        ]
        assert headers[0] == headers[1]


def test_some_drug_names_carry_a_strength_and_a_form(tiled):
    drawn, others = query(
        tiled.folder,
        f"SELECT count(*) FROM {{prescriptions}} GROUP BY "
        f"regexp_matches(drug, ' [0-9]+ mg ({'|'.join(FORMS)})$') ORDER BY 1",
    )
    assert 0.25 < drawn[0] / (drawn[0] + others[0]) < 0.4


def test_some_codes_are_none_of_the_samples(tiled, sample_tables):
    codes = "SELECT DISTINCT icd_version || ':' || icd_code FROM {diagnoses_icd}"
    known = {code for (code,) in query(sample_tables, codes)}
    there = {code for (code,) in query(tiled.folder, codes)}
    assert len(there - known) > 150


def test_the_tables_ingest_and_lose_only_what_is_expected(tiled, tmp_path):
    funnel = ingest(tiled.folder, tmp_path / "cohort")
    assert (funnel.patients, funnel.visits) == (PATIENTS, tiled.rows["admissions"])
    assert {reason for table in funnel.tables for reason in table.dropped} <= {
        "the code is there already for this admission",  # drawn twice
        "vehicle, flush, device or supply",
        "drug name not recognised",
    }
    assert funnel.recognised > 0.98
    assert not funnel.absent


def test_the_same_arguments_give_the_same_bytes_and_another_seed_other_rows(
    tiled, sample_tables, tmp_path
):
    again = tile(PATIENTS, tmp_path / "again", sample=sample_tables)
    other = tile(PATIENTS, tmp_path / "other", seed=1, sample=sample_tables)
    for name in TABLES:
        file = f"{name}.csv.gz"
        assert (again.folder / file).read_bytes() == (tiled.folder / file).read_bytes()
    assert other.rows["admissions"] > PATIENTS
    assert query(other.folder, "FROM {admissions}") != query(tiled.folder, "FROM {admissions}")


def test_tables_that_are_there_are_used_again(tiled, sample_tables):
    written = (tiled.folder / "patients.csv.gz").stat().st_mtime_ns
    assert tile(PATIENTS, tiled.folder, sample=sample_tables) == tiled
    assert (tiled.folder / "patients.csv.gz").stat().st_mtime_ns == written


def test_a_folder_with_other_files_is_left_alone(tiled, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for folder in (tmp_path, tiled.folder):
        with pytest.raises(WorkbenchError, match="holds other files"):
            tile(20, folder)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_number_of_patients_below_one_is_refused(tmp_path):
    with pytest.raises(WorkbenchError, match="--patients"):
        tile(0, tmp_path / "tables")
