"""A run from the queue to a candidate: real worker, real children, tiny models."""

import pytest

from engine.installation import Installation
from engine.jobs.client import Client
from engine.jobs.retraining import Request
from engine.permissions import SYSTEM
from tests.jobs.worker_process import WorkerProcess, until


@pytest.fixture
def installation(tmp_path) -> Installation:
    return Installation(tmp_path / "data")


def test_a_run_becomes_a_candidate(installation, tiny_cohort, tiny_recipe):
    client = Client(installation)
    request = Request(str(tiny_cohort), tiny_recipe.model_dump(mode="json"))
    run_id = client.submit(SYSTEM, request)
    assert client.run(run_id).status == "queued"
    assert client.run(run_id).position == 1
    worker = WorkerProcess(installation)
    try:
        run = until(lambda: (run := client.run(run_id)).status in ("finished", "failed") and run)
    finally:
        worker.stop()
    assert (run.status, run.reason) == ("finished", None)
    assert run.version.startswith("tiny-")
