"""`engine registry`: what it prints, whom the audit names, and how it fails."""

import getpass
import json
import shutil

import pytest

from engine.audit import Audit
from engine.cli import main
from engine.installation import Installation
from engine.permissions import SYSTEM
from engine.registry.pair import MANIFEST, seal
from engine.registry.versions import Registry

SHIPPED, OTHER = "shipped-20260101-00000000", "tiny-20260202-11111111"
REASON = ["--reason", "seen by the pharmacists"]


@pytest.fixture
def registry(tiny_pair, tmp_path, monkeypatch) -> Registry:
    """An installation with a shipped champion and one candidate."""
    for name in (SHIPPED, OTHER):
        folder = tmp_path / "pretrained" / name
        shutil.copytree(tiny_pair, folder)
        manifest = json.loads((folder / MANIFEST).read_text())
        del manifest["files"]
        seal(folder, {**manifest, "version": name})
    (tmp_path / "pretrained" / "aliases.json").write_text(json.dumps({"champion": SHIPPED}))
    (tmp_path / "pretrained" / OTHER).rename(tmp_path / "pair")
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    registry = Registry(Installation.current())
    comparison = {"champion": {"version": SHIPPED}, "worse_on": ["worse for first visits: −0.012"]}
    registry.register(SYSTEM, tmp_path / "pair", {"run_id": "run-1", "comparison": comparison})
    return registry


def prints(capsys, *words) -> str:
    assert main(["registry", *[str(word) for word in words]]) == 0
    return capsys.readouterr().out


def fails(capsys, *words) -> str:
    assert main(["registry", *[str(word) for word in words]]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert len(said.strip().splitlines()) == 1
    return said


def test_the_list_shows_the_champion_first_and_where_each_stands(registry, capsys):
    head, first, second, _ = prints(capsys, "list").splitlines()
    assert head.split()[:2] == ["version", "status"]
    assert first.split()[:2] == [SHIPPED, "champion"]
    assert second.split()[:2] == [OTHER, "candidate"]
    assert "came with the workbench" in first
    listed = json.loads(prints(capsys, "list", "--json"))
    assert [version["status"] for version in listed] == ["champion", "candidate"]


def test_a_version_is_shown_with_its_run_and_what_speaks_against_it(registry, capsys):
    shown = prints(capsys, "show", OTHER)
    assert "run-1" in shown
    assert "worse for first visits" in shown
    assert json.loads(prints(capsys, "show", OTHER, "--json"))["version"] == OTHER


def test_a_promotion_that_owes_a_reason_is_done_with_one_and_audited_by_name(registry, capsys):
    assert "first visits" in fails(capsys, "promote", OTHER)
    assert f"in use now: {OTHER}" in prints(capsys, "promote", OTHER, *REASON)
    assert registry.champion().version == OTHER
    audit = Audit(registry.installation.database, registry.installation.audit_key)
    assert audit.rows(SYSTEM)[0].account == f"cli:{getpass.getuser()}"
    assert f"in use again: {SHIPPED}" in prints(capsys, "rollback", *REASON)
    assert registry.champion().version == SHIPPED


def test_who_expects_another_champion_is_told_which_it_is(registry, capsys):
    said = fails(capsys, "promote", OTHER, *REASON, "--expected", "yesterday")
    assert SHIPPED in said
    assert "no version before" in fails(capsys, "rollback")


def test_a_rejected_candidate_says_why_in_one_line(registry, capsys):
    prints(capsys, "reject", OTHER, "--reason", "too many\n\x1b[31mantibiotics")
    assert registry.version(OTHER).status == "rejected"
    assert "too many [31mantibiotics" in prints(capsys, "list")


def test_damage_is_found_and_named(registry, capsys):
    assert prints(capsys, "verify").count("as they were sealed") == 2
    with (registry.folder(OTHER) / "student.safetensors").open("ab") as file:
        file.write(b"noise")
    assert "student.safetensors" in fails(capsys, "verify")
    assert "student.safetensors" in fails(capsys, "verify", OTHER)
    assert "as they were sealed" in prints(capsys, "verify", SHIPPED)
    assert "student.safetensors" in fails(capsys, "promote", OTHER, *REASON)


def test_an_exported_version_is_imported_elsewhere(registry, capsys, tmp_path, monkeypatch):
    path = tmp_path / "version.tar.gz"
    assert str(path) in prints(capsys, "export", OTHER, "--output", path)
    assert "exists already" in fails(capsys, "export", OTHER, "--output", path)
    assert "here already" in fails(capsys, "import", path)
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "elsewhere"))
    assert f"candidate: {OTHER}" in prints(capsys, "import", path)
    assert "never compared" in fails(capsys, "promote", OTHER)
    assert f"in use now: {OTHER}" in prints(capsys, "promote", OTHER, *REASON)


def test_what_is_not_there_is_named(registry, capsys, tmp_path):
    for action in ("show", "verify", "promote", "reject"):
        assert "registry list" in fails(capsys, action, "nobody")
    assert "no such file" in fails(capsys, "import", tmp_path / "nothing.tar.gz")
