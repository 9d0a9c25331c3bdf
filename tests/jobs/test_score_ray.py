"""Scores over a local Ray of two workers: the same bytes, also when a worker is killed."""

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from engine.errors import WorkbenchError
from engine.jobs import score_ray
from engine.jobs.score import score
from engine.jobs.score_ray import RayWorker
from engine.records.cohort import Cohort

ray = pytest.importorskip("ray", reason="Ray is optional: pip install -r requirements-ray.txt")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # Ray's own, about its next releases
]

SHARD = 16  # patients; the tiny cohort makes five such shards
KILLED_AT = 2  # the shard whose worker dies


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A Ray of two workers; yields a folder that they are told of."""
    told = tmp_path_factory.mktemp("told")
    environment = {"SCORE_TEST_FOLDER": str(told)}
    os.environ.update(environment)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # for the workers below
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield told
    ray.shutdown()
    for name in environment:
        del os.environ[name]


@pytest.fixture(scope="module")
def cohort(tiny_cohort) -> Cohort:
    return Cohort.open(tiny_cohort)


@pytest.fixture(scope="module")
def here(cohort, tiny_pair, tmp_path_factory) -> bytes:
    """The file that this process writes by itself."""
    file = tmp_path_factory.mktemp("here") / "scores.parquet"
    score(cohort, tiny_pair, file, ("student", "teacher"), shard_patients=SHARD)
    return file.read_bytes()


class KilledOnce(RayWorker):
    """A worker whose process is killed when it first meets a shard in the middle."""

    def _table(self, number: int) -> bytes:
        mark = Path(os.environ["SCORE_TEST_FOLDER"]) / "killed"
        if number == KILLED_AT and not mark.exists():
            mark.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._table(number)


class MissesWeights(RayWorker):
    """A worker on a machine where the pair's folder is not whole."""

    def _table(self, number: int) -> bytes:
        folder = self.order.pair
        shutil.move(folder / "student.safetensors", folder / "elsewhere")
        try:
            return super()._table(number)
        finally:
            shutil.move(folder / "elsewhere", folder / "student.safetensors")


def test_ray_writes_the_same_bytes(cluster, cohort, here, tiny_pair, tmp_path):
    file = tmp_path / "scores.parquet"
    score(cohort, tiny_pair, file, ("student", "teacher"), ray="local", shard_patients=SHARD)
    assert file.read_bytes() == here


def test_a_worker_killed_in_the_middle_is_survived(
    cluster, cohort, here, tiny_pair, tmp_path, monkeypatch
):
    monkeypatch.setattr(score_ray, "RayWorker", KilledOnce)
    file = tmp_path / "scores.parquet"
    score(cohort, tiny_pair, file, ("student", "teacher"), ray="local", shard_patients=SHARD)
    assert (cluster / "killed").exists()
    assert file.read_bytes() == here


def test_a_worker_that_misses_a_weight_file_is_one_line(
    cluster, cohort, tiny_pair, tmp_path, monkeypatch
):
    pair = tmp_path / "pair"
    shutil.copytree(tiny_pair, pair)
    monkeypatch.setattr(score_ray, "RayWorker", MissesWeights)
    with pytest.raises(WorkbenchError, match="student.safetensors: missing") as caught:
        score(cohort, pair, tmp_path / "scores.parquet", ray="local", workers=1)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "scores.parquet").exists()
