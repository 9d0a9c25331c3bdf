"""The counting behind the README's table."""

import gzip

import pytest

from sample_data import compare
from sample_data.compare import marginals, unseen_codes
from sample_data.tables import COLUMNS


def test_unseen_codes_counts_rows_and_distinct_codes_of_test_patients():
    shared = [{"subject_id": str(n), "icd_version": "10", "icd_code": "I10"} for n in range(20)]
    own = [{"subject_id": str(n), "icd_version": "10", "icd_code": f"X{n}"} for n in range(20)]
    assert unseen_codes(shared) == (0.0, 0.0)
    rows, distinct = unseen_codes(shared + own)
    assert rows == pytest.approx(0.5)  # two test patients: two shared rows, two of their own
    assert distinct == pytest.approx(2 / 3)  # the shared code is one code


def test_the_same_code_in_another_version_is_another_code():
    rows = [
        {"subject_id": str(n), "icd_version": "9" if n % 2 else "10", "icd_code": "V10"}
        for n in range(40)
    ]
    assert unseen_codes(rows) == (0.0, 0.0)
    alone = [{"subject_id": "0", "icd_version": "9", "icd_code": "E10"}]
    assert unseen_codes(alone + rows[1:])[1] >= 0.0


def test_marginals_of_a_small_folder(sample_tables):
    figures = marginals(sample_tables, groups_of=lambda drug, route, drug_type: (drug[:1],))
    assert figures["patients"] == "80"
    assert figures["patients with a single admission"].endswith(" %")
    assert float(figures["medication groups in use"]) <= 40


def test_a_folder_without_tables_is_named(tmp_path, capsys):
    with gzip.open(tmp_path / "patients.csv.gz", "wt") as file:
        file.write(",".join(COLUMNS["patients"]))
    assert compare.main([str(tmp_path), str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "admissions.csv.gz" in error and error.count("\n") == 1
