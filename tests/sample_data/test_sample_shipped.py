"""The shipped tables: their size, their provenance and how near they are to real marginals."""

import csv
import gzip
import hashlib
import statistics
from collections import Counter
from pathlib import Path

import pytest

import sample_data
from sample_data.compare import unseen_codes
from sample_data.generate import SHIPPED_PATIENTS, SHIPPED_SEED, generate
from sample_data.tables import COLUMNS, write_tables

FOLDER = Path(sample_data.__file__).parent / "hosp"
SIX_MEGABYTES = 6_000_000


def _rows(name):
    with gzip.open(FOLDER / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def admissions():
    return _rows("admissions")


@pytest.fixture(scope="module")
def diagnoses():
    return _rows("diagnoses_icd")


def _checksums(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob("*.csv.gz"))
    }


def _recorded():
    lines = (FOLDER / "SHA256SUMS.txt").read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def test_all_tables_are_there_and_small():
    files = list(FOLDER.glob("*.csv.gz"))
    assert {path.name for path in files} == {f"{name}.csv.gz" for name in COLUMNS}
    assert sum(path.stat().st_size for path in files) <= SIX_MEGABYTES


def test_the_files_are_the_recorded_ones():
    assert _checksums(FOLDER) == _recorded()


@pytest.mark.slow
def test_the_generator_still_makes_them_byte_for_byte(tmp_path):
    write_tables(generate(SHIPPED_PATIENTS, SHIPPED_SEED), tmp_path)
    assert _checksums(tmp_path) == _recorded()


def test_three_thousand_patients_about_half_with_one_admission(admissions):
    visits = Counter(row["subject_id"] for row in admissions)
    assert len(visits) == 3000
    assert 0.45 <= statistics.mean(count == 1 for count in visits.values()) <= 0.60


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [("diagnoses_icd", 14.5, 17.5), ("procedures_icd", 2.2, 3.0), ("prescriptions", 30, 45)],
)
def test_rows_a_visit_are_near_the_real_mean(admissions, table, low, high):
    assert low <= len(_rows(table)) / len(admissions) <= high


def test_medication_groups_a_visit():
    match = pytest.importorskip("engine.terminology.drugs").match
    found: dict[tuple, tuple] = {}
    groups: dict[str, set] = {}
    for row in _rows("prescriptions"):
        key = (row["drug"], row["route"], row["drug_type"])
        if key not in found:
            found[key] = match(row["drug"], row["route"] or None, row["drug_type"]).groups
        groups.setdefault(row["hadm_id"], set()).update(found[key])
    assert 20 <= statistics.mean(len(given) for given in groups.values()) <= 23
    assert len(set().union(*groups.values())) >= 120


def test_about_a_tenth_of_the_admissions_is_coded_in_icd_9(diagnoses):
    versions = {row["hadm_id"]: row["icd_version"] for row in diagnoses}
    share = statistics.mean(version == "9" for version in versions.values())
    assert 0.07 <= share <= 0.13


def test_a_realistic_share_of_test_codes_never_occurs_in_training(diagnoses):
    rows, distinct = unseen_codes(diagnoses)
    assert 0.08 <= rows <= 0.30
    assert 0.22 <= distinct <= 0.42


def test_fields_are_missing_as_in_real_files(admissions):
    def missing(field, absent=""):
        return statistics.mean(row[field] == absent for row in admissions)

    assert 0.02 <= missing("marital_status") <= 0.07
    assert 0.2 <= missing("edregtime") <= 0.45
    assert 0.05 <= missing("discharge_location") <= 0.2
    assert 0.03 <= missing("language", "?") <= 0.15
