"""The folder of an installation is the one that the environment names."""

from pathlib import Path

from engine.installation import Installation


def test_the_environment_names_the_folder_and_the_queue(monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("WORKBENCH_JOBS_URL", "postgresql://jobs.example/workbench")
    installation = Installation.current()
    assert installation.database == tmp_path / "workbench.sqlite"
    assert installation.audit_key.parent == installation.database.parent
    assert {installation.models, installation.runs} == {tmp_path / "models", tmp_path / "runs"}
    assert installation.jobs_url == "postgresql://jobs.example/workbench"


def test_without_it_everything_lies_in_data(monkeypatch):
    monkeypatch.delenv("WORKBENCH_DATA", raising=False)
    monkeypatch.delenv("WORKBENCH_JOBS_URL", raising=False)
    installation = Installation.current()
    assert installation.folder == Path("data")
    queue = Path("data").resolve() / "jobs.sqlite"
    assert installation.jobs_url == f"sqlite:///{queue}"


def test_a_drug_map_is_found_beside_the_rest_or_named(monkeypatch, tmp_path):
    monkeypatch.delenv("WORKBENCH_DRUG_MAP", raising=False)
    assert Installation(tmp_path).drug_map is None
    (tmp_path / "rxnorm.sqlite").touch()
    assert Installation(tmp_path).drug_map == tmp_path / "rxnorm.sqlite"
    monkeypatch.setenv("WORKBENCH_DRUG_MAP", "elsewhere.sqlite")
    assert Installation(tmp_path).drug_map == Path("elsewhere.sqlite")


def test_nothing_is_made_by_looking(monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "data"))
    assert Installation.current().models
    assert not (tmp_path / "data").exists()
