"""Scores in bulk: one file that says the same as the recommender, whoever wrote it."""

import fcntl
import json
import multiprocessing
import os
import shutil
import sys

import numpy as np
import pandas
import pyarrow.parquet
import pytest
import torch

from engine.errors import WorkbenchError
from engine.jobs import score as score_module
from engine.jobs import score_file
from engine.jobs.score import score
from engine.jobs.score_shards import ShardScorer
from engine.recommender import Recommender
from engine.records.cohort import Cohort

SHARD = 16  # patients; the tiny cohort makes five such shards


@pytest.fixture(scope="module")
def cohort(tiny_cohort) -> Cohort:
    return Cohort.open(tiny_cohort)


@pytest.fixture(scope="module")
def everything(cohort, tiny_pair, tmp_path_factory):
    """The file of every visit by both models."""
    file = tmp_path_factory.mktemp("scores") / "scores.parquet"
    score(cohort, tiny_pair, file, ("student", "teacher"), shard_patients=SHARD)
    return file


def test_every_visit_has_its_row_in_the_cohorts_order(cohort, everything):
    table = pandas.read_parquet(everything)
    expected = [(visit.patient_id, visit.visit_id) for visit in cohort.all_visits()]
    assert list(zip(table.patient_id, table.visit_id, strict=True)) == expected
    assert any(not visit.is_labelled for visit in cohort.all_visits())


@pytest.mark.parametrize("model", ["student", "teacher"])
def test_a_probability_is_the_recommenders_own(model, cohort, everything, tiny_pair):
    recommender = Recommender.load(tiny_pair)
    table = pandas.read_parquet(everything).set_index("visit_id")
    visits = [visit for visit in cohort.all_visits() if visit.history][:6]
    expected = (
        recommender.student_probabilities(visits)
        if model == "student"
        else recommender.teacher_probabilities(cohort, visits)
    )
    columns = [f"{model}_{group}" for group in recommender.vocabulary.medications]
    found = table.loc[[visit.visit_id for visit in visits], columns].to_numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_file_names_versions_thresholds_and_cohort(cohort, everything, tiny_pair):
    recommender = Recommender.load(tiny_pair)
    stored = pyarrow.parquet.read_metadata(everything).metadata
    stated = {name.decode(): value.decode() for name, value in stored.items()}
    assert stated["cohort_fingerprint"] == cohort.fingerprint
    assert stated["split"] == "all"
    for model in ("student", "teacher"):
        assert stated[f"{model}_version"] == recommender.versions[model]
        assert float(stated[f"{model}_threshold"]) == recommender.thresholds[model]
    assert list(json.loads(stated["group_names"])) == list(recommender.vocabulary.medications)


def test_duckdb_reads_a_column_and_the_metadata_at_once(everything):
    import duckdb

    column = next(name for name in pandas.read_parquet(everything) if name.startswith("student_"))
    rows = duckdb.sql(f"SELECT visit_id, {column} FROM '{everything}'").fetchall()
    assert len(rows) == len(pandas.read_parquet(everything))
    keys = duckdb.sql(f"SELECT key FROM parquet_kv_metadata('{everything}')").fetchall()
    assert (b"student_threshold",) in keys


def test_a_split_holds_its_patients_alone_and_all_splits_make_the_whole(
    cohort, everything, tiny_pair, tmp_path
):
    parts = []
    for split in ("train", "validation", "test"):
        file = tmp_path / f"{split}.parquet"
        scored = score(cohort, tiny_pair, file, split=split)
        part = pandas.read_parquet(file)
        assert {cohort.split_of(patient) for patient in part.patient_id} == {split}
        assert (len(part), part.patient_id.nunique()) == (scored.visits, scored.patients)
        parts.append(part)
    whole = pandas.concat(parts).sort_values(["patient_id", "visit_id"])
    expected = pandas.read_parquet(everything).sort_values(["patient_id", "visit_id"])
    assert whole.visit_id.tolist() == expected.visit_id.tolist()
    np.testing.assert_allclose(whole.iloc[:, 2:], expected[whole.columns[2:]], atol=1e-5)


def test_threads_and_row_groups_leave_the_file_as_it_is(
    cohort, everything, tiny_pair, tmp_path, monkeypatch
):
    before = torch.get_num_threads()
    torch.set_num_threads(2 if before == 1 else 1)
    try:
        again = tmp_path / "again.parquet"
        score(cohort, tiny_pair, again, ("student", "teacher"), shard_patients=SHARD)
    finally:
        torch.set_num_threads(before)
    assert again.read_bytes() == everything.read_bytes()
    monkeypatch.setattr(score_file, "ROW_GROUP", 40)
    several = tmp_path / "several.parquet"
    score(cohort, tiny_pair, several, ("student", "teacher"), shard_patients=SHARD)
    assert pyarrow.parquet.read_metadata(several).num_row_groups > 1
    assert pyarrow.parquet.read_table(several) == pyarrow.parquet.read_table(everything)


@pytest.mark.slow
def test_processes_write_the_same_bytes(cohort, everything, tiny_pair, tmp_path):
    file = tmp_path / "processes.parquet"
    score(cohort, tiny_pair, file, ("student", "teacher"), workers=2, shard_patients=SHARD)
    assert file.read_bytes() == everything.read_bytes()


def die(order, number):
    """Stands in for a worker that the system killed for want of memory."""
    if multiprocessing.parent_process() is not None:
        os._exit(9)


@pytest.mark.slow
def test_a_dead_process_is_one_line_and_leaves_nothing(cohort, tiny_pair, tmp_path, monkeypatch):
    monkeypatch.setattr(score_module, "_score_in_process", die)
    with pytest.raises(WorkbenchError, match="--workers 2: a worker process died") as caught:
        score(cohort, tiny_pair, tmp_path / "scores.parquet", workers=2, shard_patients=SHARD)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_failure_half_way_keeps_the_former_file(cohort, tiny_pair, tmp_path, monkeypatch):
    file = tmp_path / "scores.parquet"
    file.write_text("former")
    table = ShardScorer.table

    def fails_late(self, number):
        if number == 3:
            raise WorkbenchError("no more")
        return table(self, number)

    monkeypatch.setattr(ShardScorer, "table", fails_late)
    with pytest.raises(WorkbenchError, match="no more"):
        score(cohort, tiny_pair, file, shard_patients=SHARD)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.parquet"]
    assert file.read_text() == "former"


def test_what_a_killed_run_left_behind_is_removed_and_a_living_ones_file_is_not(
    cohort, tiny_pair, tmp_path
):
    left, written = (tmp_path / f".scores.parquet.{mark}.partial" for mark in ("0", "1"))
    for file in (left, written):
        file.write_text("half")
        os.utime(file, (0, 0))
    with written.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        score(cohort, tiny_pair, tmp_path / "scores.parquet")
    assert sorted(tmp_path.iterdir()) == [written, tmp_path / "scores.parquet"]


def test_memory_is_bounded_by_shards_not_by_the_cohort(cohort, tiny_pair, tmp_path, monkeypatch):
    monkeypatch.setattr(score_file, "ROW_GROUP", 1)
    scored, written = [], []
    table, write = ShardScorer.table, pyarrow.parquet.ParquetWriter.write_table

    def counted(self, number):
        assert len(written) == number, "a shard was scored before the last one was written"
        scored.append(number)
        return table(self, number)

    def noted(self, *arguments, **options):
        written.append(arguments)
        return write(self, *arguments, **options)

    monkeypatch.setattr(ShardScorer, "table", counted)
    monkeypatch.setattr(pyarrow.parquet.ParquetWriter, "write_table", noted)
    score(cohort, tiny_pair, tmp_path / "scores.parquet", shard_patients=SHARD)
    assert scored == [0, 1, 2, 3, 4]


def test_a_patient_without_visits_is_told_without_naming_anyone(tiny_cohort, tiny_pair, tmp_path):
    folder = tmp_path / "cohort"
    shutil.copytree(tiny_cohort, folder)
    visits = pyarrow.parquet.read_table(folder / "visits.parquet")
    gone = visits["patient_id"][0].as_py()
    pyarrow.parquet.write_table(
        visits.filter(pyarrow.compute.field("patient_id") != gone), folder / "visits.parquet"
    )
    with pytest.raises(WorkbenchError, match="has no visit of 1 patients") as caught:
        score(Cohort.open(folder), tiny_pair, tmp_path / "scores.parquet")
    assert gone not in str(caught.value)


def test_visits_of_patients_outside_the_splits_are_not_lost_in_silence(
    tiny_cohort, tiny_pair, tmp_path
):
    folder = tmp_path / "cohort"
    shutil.copytree(tiny_cohort, folder)
    splits = json.loads((folder / "splits.json").read_text())
    del splits[max(splits)]
    (folder / "splits.json").write_text(json.dumps(splits))
    with pytest.raises(WorkbenchError, match="visits.parquet: has .* visits, but"):
        score(Cohort.open(folder), tiny_pair, tmp_path / "scores.parquet")
    assert not (tmp_path / "scores.parquet").exists()


@pytest.mark.parametrize("folder", ["cohort", "pair"])
def test_an_output_among_the_inputs_is_refused(folder, tiny_cohort, tiny_pair, tmp_path):
    copy = tmp_path / folder
    shutil.copytree({"cohort": tiny_cohort, "pair": tiny_pair}[folder], copy)
    inputs = {"cohort": tiny_cohort, "pair": tiny_pair} | {folder: copy}
    before = sorted(copy.rglob("*"))
    with pytest.raises(WorkbenchError, match="would lie among the files"):
        score(Cohort.open(inputs["cohort"]), inputs["pair"], copy / "visits.parquet")
    assert sorted(copy.rglob("*")) == before


def test_ray_that_is_not_installed_is_one_line_with_the_cure(
    cohort, tiny_pair, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(WorkbenchError, match="pip install -r requirements-ray.txt"):
        score(cohort, tiny_pair, tmp_path / "scores.parquet", ray="local")
    assert not list(tmp_path.iterdir())


def test_ray_is_not_imported_unless_asked(cohort, tiny_pair, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    score(cohort, tiny_pair, tmp_path / "scores.parquet")
    assert (tmp_path / "scores.parquet").exists()
