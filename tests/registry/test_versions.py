"""Versions: what may be done to them by whom, one at a time, and never by halves."""

import json
import multiprocessing
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from engine.audit import Audit
from engine.errors import WorkbenchError
from engine.installation import Installation
from engine.permissions import SYSTEM, Actor, NotAllowed
from engine.registry.pair import champion_folder, open_pair, reseal
from engine.registry.versions import Conflict, Registry
from tests.registry.conftest import CANDIDATE, SHIPPED, compared

ROOT = Path(__file__).resolve().parents[2]
ADMINISTRATOR = Actor("ada", "administrator")
REASON = "seen by the pharmacists"


def statuses(registry: Registry) -> dict[str, str]:
    return {version.version: version.status for version in registry.versions()}


def refused(action, *arguments, by=WorkbenchError) -> str:
    """Do what must fail as the user can mend it; returns its one line."""
    with pytest.raises(by) as error:
        action(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


# ---------------------------------------------------------------- reading


def test_a_new_installation_has_the_shipped_champion_and_reading_makes_no_file(
    registry, installation
):
    assert registry.champion().version == SHIPPED
    assert registry.champion().shipped
    assert [version.status for version in registry.versions()] == ["champion"]
    assert registry.collect() == []
    assert not installation.folder.exists()


def test_a_registered_pair_is_a_candidate_with_its_run_and_comparison(registry, candidate, audited):
    version = registry.version(candidate)
    assert (version.status, version.shipped) == ("candidate", False)
    assert version.run == {"run_id": "run"}
    assert version.comparison == compared()
    assert "student" in version.metrics
    assert version.doubts == ()
    assert version.folder == registry.installation.models / candidate
    assert open_pair(version.folder).manifest["version"] == CANDIDATE
    assert [action for _, action, _ in audited()] == ["version registered"]


def test_an_unknown_version_is_named(registry):
    for name in ("nobody", "../../etc", ""):
        assert "registry list" in refused(registry.version, name)


# ---------------------------------------------------------------- registering


def test_registering_again_changes_nothing(registry, candidate, make_pair, audited):
    again = make_pair(CANDIDATE, folder=registry.installation.folder.parent / "again")
    assert registry.register(SYSTEM, again, {}) == candidate
    assert list(statuses(registry)) == [SHIPPED, candidate]
    assert len(audited()) == 1


def test_another_model_of_the_same_name_gets_a_number(registry, candidate, make_pair):
    other = registry.register(SYSTEM, make_pair(CANDIDATE, temperature=2.0), {})
    assert other == f"{CANDIDATE}-2"
    assert registry.verify(other).calibration["student"].temperature == 2.0
    assert json.loads((registry.folder(other) / "manifest.json").read_text())["version"] == other
    assert statuses(registry)[candidate] == "candidate"


def test_a_deposited_pair_is_collected_once_with_its_comparison(registry, make_pair, audited):
    run = {"run_id": "far", "requested_by": "ada", "comparison": compared()}
    version = registry.deposit(make_pair(CANDIDATE), run)
    assert list(statuses(registry)) == [SHIPPED]
    assert registry.collect() == [version]
    assert registry.collect() == []
    assert registry.version(version).comparison == compared()
    [(account, _, details)] = audited()
    assert account == "system"
    assert details == {"version": version, "run_id": "far", "requested_by": "ada"}


def test_a_damaged_deposit_is_shown_as_such_and_never_registered(registry, make_pair):
    version = registry.deposit(make_pair(CANDIDATE), {})
    (registry.folder(version) / "student.safetensors").write_bytes(b"noise")
    assert registry.collect() == []
    damaged = registry.versions()[-1]
    assert (damaged.version, damaged.status) == (version, "damaged")
    assert "student.safetensors" in damaged.reason
    refused(registry.promote, ADMINISTRATOR, version, SHIPPED, REASON)


def test_a_damaged_pair_is_not_registered(registry, make_pair):
    pair = make_pair(CANDIDATE)
    (pair / "student.safetensors").write_bytes(b"noise")
    assert "SHA-256" in refused(registry.register, SYSTEM, pair, {})
    assert list(statuses(registry)) == [SHIPPED]


KILLED = """
import os, sys
from pathlib import Path
from engine.installation import Installation
from engine.permissions import SYSTEM
from engine.registry import archive, deposits, versions
where, source, moment = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
registry = versions.Registry(Installation(Path(where) / "data"), Path(where) / "pretrained")
if moment == "copying":
    seal = deposits.write_json
    deposits.write_json = lambda *_: os._exit(9)
else:
    versions.Registry._enter = lambda *_: os._exit(9)
if source.is_dir():
    registry.register(SYSTEM, source, {"run_id": "killed"})
else:
    registry.import_(SYSTEM, source)
"""


@pytest.mark.parametrize("moment", ["copying", "entering"])
@pytest.mark.parametrize("what", ["register", "import"])
def test_a_process_killed_on_the_way_leaves_no_half_version(
    registry, make_pair, tmp_path, monkeypatch, moment, what
):
    source = make_pair(CANDIDATE)
    if what == "import":
        other = Registry(Installation(tmp_path / "elsewhere"), registry.pretrained)
        other.register(SYSTEM, source, {})
        other.export(SYSTEM, CANDIDATE, tmp_path / "version.tar.gz")
        source = tmp_path / "version.tar.gz"
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(source), moment]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 9

    assert list(statuses(registry)) == [SHIPPED]
    monkeypatch.setattr("engine.files.LEFT_BEHIND", 0)
    if moment == "entering":  # whole, and only its row is missing
        assert registry.collect() == [CANDIDATE]
    elif what == "register":
        assert registry.register(SYSTEM, source, {}) == CANDIDATE
    else:
        assert registry.import_(SYSTEM, source) == CANDIDATE
    assert registry.verify(CANDIDATE)
    registry.collect()
    left = {path.name for path in registry.installation.models.iterdir()}
    assert left == {CANDIDATE, f"{CANDIDATE}.json"}


# ---------------------------------------------------------------- promoting


def test_a_promoted_version_is_in_use_at_once_and_the_former_is_the_previous(
    registry, candidate, audited, monkeypatch, tmp_path
):
    registry.promote(ADMINISTRATOR, candidate, SHIPPED)
    assert registry.champion().version == candidate
    assert registry.champion_folder() == registry.installation.models / candidate
    assert champion_folder() == registry.champion_folder()  # what the commands ask
    assert statuses(registry) == {candidate: "champion", SHIPPED: "previous"}
    account, action, details = audited()[-1]
    assert (account, action) == ("ada", "version promoted")
    assert (details["version"], details["replaced"]) == (candidate, SHIPPED)


def test_the_version_before_the_previous_one_is_retired(registry, candidate, make_pair):
    registry.promote(ADMINISTRATOR, candidate, SHIPPED)
    comparison = {"comparison": compared(candidate)}
    third = registry.register(SYSTEM, make_pair("third-20260303-22222222"), comparison)
    registry.promote(ADMINISTRATOR, third, candidate)
    assert statuses(registry) == {third: "champion", candidate: "previous", SHIPPED: "retired"}


def test_who_believes_in_another_champion_is_told_which_it_is(registry, candidate, audited):
    said = refused(registry.promote, ADMINISTRATOR, candidate, "old-champion", by=Conflict)
    assert SHIPPED in said
    assert registry.champion().version == SHIPPED
    assert len(audited()) == 1


def test_the_champion_cannot_be_promoted_again(registry):
    assert "already" in refused(registry.promote, ADMINISTRATOR, SHIPPED, SHIPPED)


def promote_in_a_process(folder, pretrained, version, name, barrier, results):
    registry = Registry(Installation(Path(folder)), Path(pretrained))
    barrier.wait(timeout=60)
    try:
        registry.promote(Actor(name, "administrator"), version, SHIPPED)
        results.put((version, None))
    except Conflict as error:
        results.put((version, str(error)))


def test_of_two_administrators_who_promote_at_once_exactly_one_wins(
    registry, candidate, make_pair, audited
):
    run = {"comparison": compared()}
    other = registry.register(SYSTEM, make_pair("other-20260303-22222222"), run)
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    shared = str(registry.installation.folder), str(registry.pretrained)
    processes = [
        context.Process(
            target=promote_in_a_process, args=(*shared, version, name, barrier, results)
        )
        for version, name in ((candidate, "ada"), (other, "bert"))
    ]
    for process in processes:
        process.start()
    outcome = dict(results.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(timeout=60)

    champion = registry.champion().version
    [loser] = [version for version, error in outcome.items() if error]
    assert {champion, loser} == {candidate, other}
    assert champion in outcome[loser]
    promoted = [details["version"] for _, action, details in audited() if "promoted" in action]
    assert promoted == [champion]
    assert registry._audit.verify()


def test_without_an_audit_nothing_is_promoted(registry, candidate, monkeypatch):
    def unwritable(*_):
        raise WorkbenchError("audit: cannot be written")

    monkeypatch.setattr(Audit, "record", unwritable)
    assert "audit" in refused(registry.promote, ADMINISTRATOR, candidate, SHIPPED)
    assert statuses(registry) == {SHIPPED: "champion", candidate: "candidate"}
    refused(registry.reject, ADMINISTRATOR, candidate, REASON)
    assert statuses(registry) == {SHIPPED: "champion", candidate: "candidate"}


def test_with_a_database_that_refuses_audit_rows_nothing_is_promoted(registry, candidate):
    with sqlite3.connect(registry.installation.database) as database:
        database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    assert "full" in refused(registry.promote, ADMINISTRATOR, candidate, SHIPPED)
    assert registry.champion().version == SHIPPED


@pytest.mark.parametrize("change", ["changed", "missing", "added", "resealed", "gone"])
def test_a_damaged_candidate_is_refused_and_the_champion_still_answers(
    registry, candidate, tiny_cohort, change
):
    folder = registry.folder(candidate)
    if change == "changed":
        with (folder / "student.safetensors").open("r+b") as file:
            file.seek(200)
            file.write(b"\xff")
    elif change == "missing":
        (folder / "vocabulary.json").unlink()
    elif change == "added":
        (folder / "adapter" / "adapter_model.bin").write_bytes(b"\x80\x04")
    elif change == "resealed":
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**manifest, "created": "2020-01-01"}))
    else:
        shutil.rmtree(folder)
    said = refused(registry.promote, ADMINISTRATOR, candidate, SHIPPED)
    assert candidate in said
    refused(registry.verify, candidate)
    refused(registry.export, ADMINISTRATOR, candidate, folder.parent / "version.tar.gz")

    from engine.recommender import Recommender
    from engine.records.cohort import Cohort

    cohort = Cohort.open(tiny_cohort)
    visit = cohort.samples("test")[0]
    answer = Recommender.load(registry.champion_folder()).recommend(cohort, visit, "student")
    assert answer.versions["student"].startswith(SHIPPED)


def test_a_champion_that_was_replaced_on_the_disk_is_not_opened(registry, candidate):
    registry.promote(ADMINISTRATOR, candidate, SHIPPED)
    manifest = registry.folder(candidate) / "manifest.json"
    manifest.write_text(manifest.read_text().replace("tiny", "tony"))
    assert "not the one that was registered" in refused(registry.champion_folder)
    registry.roll_back(ADMINISTRATOR, candidate, REASON)
    assert registry.champion_folder() == registry.pretrained / SHIPPED


@pytest.mark.parametrize(
    ("comparison", "doubt"),
    [
        (compared(worse_on=["Student, PRAUC: worse for first visits: −0.012"]), "first visits"),
        (compared("some-other-champion"), "some-other-champion"),
        (None, "never compared"),
        ({"nonsense": 1}, "never compared"),
    ],
)
def test_a_doubtful_candidate_needs_a_written_reason(
    registry, make_pair, audited, comparison, doubt
):
    version = registry.register(SYSTEM, make_pair(CANDIDATE), {"comparison": comparison})
    for reason in (None, "", "  short   ", "         \n          "):
        said = refused(registry.promote, ADMINISTRATOR, version, SHIPPED, reason)
        assert doubt in said
        assert "10 characters" in said
    assert registry.champion().version == SHIPPED
    registry.promote(ADMINISTRATOR, version, SHIPPED, REASON)
    assert registry.champion().version == version
    assert registry.champion().reason == REASON
    assert audited()[-1][2]["reason"] == REASON
    assert any(doubt in line for line in audited()[-1][2]["doubts"])


# ---------------------------------------------------------------- rolling back, rejecting


def test_rolling_back_exchanges_champion_and_previous(registry, candidate, audited):
    registry.promote(ADMINISTRATOR, candidate, SHIPPED)
    assert refused(registry.roll_back, ADMINISTRATOR, SHIPPED, REASON, by=Conflict)
    assert registry.roll_back(ADMINISTRATOR, candidate, REASON) == SHIPPED
    assert statuses(registry) == {SHIPPED: "champion", candidate: "previous"}
    assert audited()[-1][1] == "version rolled back"
    assert audited()[-1][2]["reason"] == REASON


def test_without_a_version_before_there_is_nothing_to_roll_back_to(registry):
    assert "no version before" in refused(registry.roll_back, ADMINISTRATOR, SHIPPED, REASON)


def test_a_rejected_candidate_keeps_its_files_and_is_promoted_only_with_a_reason(
    registry, candidate, audited
):
    registry.reject(ADMINISTRATOR, candidate, "too many antibiotics")
    version = registry.version(candidate)
    assert (version.status, version.reason) == ("rejected", "too many antibiotics")
    assert registry.verify(candidate)
    assert audited()[-1][1] == "version rejected"
    assert "too many antibiotics" in refused(registry.promote, ADMINISTRATOR, candidate, SHIPPED)
    registry.promote(ADMINISTRATOR, candidate, SHIPPED, REASON)
    assert registry.champion().version == candidate


def test_only_a_candidate_can_be_rejected(registry, candidate):
    registry.promote(ADMINISTRATOR, candidate, SHIPPED)
    assert "champion" in refused(registry.reject, ADMINISTRATOR, candidate, REASON)
    assert "previous" in refused(registry.reject, ADMINISTRATOR, SHIPPED, REASON)


def test_a_registered_version_never_changes(registry, candidate):
    pair = open_pair(registry.folder(candidate))
    assert "never changes" in refused(reseal, pair, {}, "# card")
    assert registry.verify(candidate)


# ---------------------------------------------------------------- who may

ACTIONS = {
    "register": lambda registry, actor, pair, to: registry.register(actor, pair, {}),
    "promote": lambda registry, actor, *_: registry.promote(actor, CANDIDATE, SHIPPED, REASON),
    "reject": lambda registry, actor, *_: registry.reject(actor, CANDIDATE, REASON),
    "roll back": lambda registry, actor, *_: registry.roll_back(actor, SHIPPED, REASON),
    "export": lambda registry, actor, pair, to: registry.export(actor, CANDIDATE, to / "out"),
    "import": lambda registry, actor, pair, to: registry.import_(actor, to / "in.tar.gz"),
}


@pytest.mark.parametrize("actor", [Actor("c", "clinician"), Actor("a", "auditor"), None], ids=str)
@pytest.mark.parametrize("action", ACTIONS)
def test_who_is_no_administrator_changes_nothing(
    registry, candidate, make_pair, tmp_path, audited, action, actor
):
    registry.promote(SYSTEM, candidate, SHIPPED)  # so that there is a way back
    registry.roll_back(SYSTEM, candidate, REASON)
    third = make_pair("third-20260303-22222222")
    other = Registry(Installation(tmp_path / "elsewhere"), registry.pretrained)
    other.export(SYSTEM, other.register(SYSTEM, third, {}), tmp_path / "in.tar.gz")
    before = registry.versions(), audited(), list(registry.installation.models.iterdir())
    with pytest.raises(NotAllowed):
        ACTIONS[action](registry, actor, third, tmp_path)
    after = registry.versions(), audited(), list(registry.installation.models.iterdir())
    assert after == before
    assert not (tmp_path / "out").exists()
