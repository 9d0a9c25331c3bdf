"""A run from the queue to a candidate, with real training of tiny models and a kill on the way."""

import json
import re

import pytest

from engine.audit import Audit
from engine.installation import Installation
from engine.jobs.client import Client
from engine.jobs.progress import Progress
from engine.jobs.retraining import Request
from engine.permissions import SYSTEM
from engine.records.cohort import Cohort
from engine.registry.versions import Registry
from tests.jobs.worker_process import WorkerProcess, ended, until

REASON = "the first one here, trained for tests"


@pytest.fixture(scope="module")
def installation(tmp_path_factory, tiny_pair) -> Installation:
    """An installation whose champion is a tiny pair."""
    installation = Installation(tmp_path_factory.mktemp("hospital") / "data")
    registry = Registry(installation)
    version = registry.register(SYSTEM, tiny_pair, {})
    registry.promote(SYSTEM, version, registry.champion().version, REASON)
    return installation


@pytest.fixture(scope="module")
def champion(installation) -> str:
    return Registry(installation).champion().version


@pytest.fixture(scope="module")
def seen(installation, champion, tiny_cohort, tiny_recipe) -> tuple[str, Progress]:
    """A run whose worker was killed while it taught; its id, and the progress shown just before."""
    client = Client(installation)
    steps = {"max_steps": 30, "evaluations": 15, "patience": 15}
    teacher = tiny_recipe.teacher.model_copy(update=steps)
    recipe = tiny_recipe.model_copy(update={"name": "second", "teacher": teacher})
    run_id = client.submit(SYSTEM, Request(str(tiny_cohort), recipe.model_dump(mode="json")))
    worker = WorkerProcess(installation, stand_in=False)
    try:
        shown = until(lambda: training(client, run_id))
        worker.kill()
        assert client.run(run_id).status == "interrupted"
        with WorkerProcess(installation, stand_in=False):
            assert ended(client, run_id).reason is None
    finally:
        worker.kill()
    return run_id, shown


def training(client: Client, run_id: str) -> Progress | None:
    """Return the progress of a run once its teacher has been measured."""
    assert client.run(run_id).status != "failed", client.run(run_id).reason
    progress = client.progress(run_id)
    return progress if progress.validation and progress.step else None


def test_a_run_becomes_a_candidate_beside_its_champion(installation, champion, seen):
    run = Client(installation).run(seen[0])
    assert run.status == "finished"
    versions = {version.version: version for version in Registry(installation).versions()}
    assert versions[run.version].status == "candidate"
    assert versions[run.version].run["run_id"] == run.run_id
    assert versions[run.version].comparison["champion"]["version"] == champion
    assert Registry(installation).champion().version == champion
    assert Registry(installation).verify(run.version).recipe.name == "second"
    assert {version.status for version in versions.values()} <= {
        *("champion", "previous", "candidate", "retired")
    }


def test_a_killed_teacher_goes_on_from_its_checkpoint(installation, seen):
    folder = installation.runs / seen[0]
    assert (folder / "log.txt").read_text().count("teacher: started") == 2
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    steps = [line["step"] for line in lines if line["stage"] == "teacher"]
    assert steps == sorted(steps)  # what was logged after the checkpoint came again, and once
    assert steps[-1] == 30


def test_progress_shows_stage_step_loss_and_time_left(seen):
    shown = seen[1]
    assert (shown.stage, shown.part, shown.steps, shown.device) == ("teacher", "teacher", 30, "cpu")
    assert shown.stages[0][:2] == ("snapshot", "done")
    assert shown.stages[1][:2] == ("teacher", "running")
    assert shown.loss_curve
    assert all(0 <= prauc <= 1 for _, prauc in shown.validation)
    assert shown.memory["rss"] > 1e7
    assert shown.log_tail[0] == "teacher: started"


def test_the_audit_tells_of_the_run_and_verifies(installation, seen):
    audit = Audit(installation.database, installation.audit_key)
    audit.verify()
    told = [entry.action for entry in audit.rows(SYSTEM)]
    assert told.count("retraining submitted") == 1
    assert told.count("version registered") == 2


def test_nothing_that_is_kept_names_a_patient(installation, seen, tiny_cohort):
    """The run's own copy of the cohort is gone when it is registered."""
    kept = [path for path in (installation.runs / seen[0]).rglob("*") if path.is_file()]
    kept += [installation.folder / "jobs.sqlite", installation.folder / "worker-a.txt"]
    text = "\n".join(path.read_bytes().decode("latin-1") for path in kept)
    assert {path.stem for path in kept} >= {*("snapshot", "register", "log", "comparison")}
    cohort = Cohort.open(tiny_cohort)
    canaries = {*cohort.patient_ids(), *(visit.visit_id for visit in cohort.all_visits())}
    assert all(canary.isdigit() for canary in canaries)
    assert canaries.isdisjoint(re.findall(r"(?<![\d.])\d+", text))
