"""An installation with a shipped champion, and pairs to register in it."""

import json
import shutil
from pathlib import Path

import pytest

from engine.audit import Audit
from engine.installation import Installation
from engine.permissions import SYSTEM
from engine.registry.pair import MANIFEST, seal
from engine.registry.versions import Registry

SHIPPED, CANDIDATE = "shipped-20260101-00000000", "tiny-20260202-11111111"


def compared(champion=SHIPPED, worse_on=()) -> dict:
    """A comparison, as far as the registry reads it."""
    return {"champion": {"version": champion}, "worse_on": list(worse_on)}


@pytest.fixture
def make_pair(tiny_pair, tmp_path):
    """Make the pair folder of a version; `temperature` makes it another model."""

    def make(version: str, temperature: float | None = None, folder: Path | None = None) -> Path:
        folder = folder or tmp_path / f"run of {version} {temperature}" / "pair"
        shutil.copytree(tiny_pair, folder)
        if temperature is not None:
            stored = json.loads((folder / "calibration.json").read_text())
            stored["student"]["temperature"] = temperature
            (folder / "calibration.json").write_text(json.dumps(stored))
        manifest = json.loads((folder / MANIFEST).read_text())
        del manifest["files"]
        seal(folder, {**manifest, "version": version})
        return folder

    return make


@pytest.fixture
def installation(tmp_path, make_pair, monkeypatch) -> Installation:
    """An empty installation, beside a folder of shipped pairs with one champion."""
    pretrained = tmp_path / "pretrained"
    make_pair(SHIPPED, folder=pretrained / SHIPPED)
    (pretrained / "aliases.json").write_text(json.dumps({"champion": SHIPPED}))
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)  # where the command line looks for pretrained/
    return Installation.current()


@pytest.fixture
def registry(installation, tmp_path) -> Registry:
    return Registry(installation, tmp_path / "pretrained")


@pytest.fixture
def candidate(registry, make_pair) -> str:
    """A registered candidate that is nowhere worse than the champion."""
    run = {"run_id": "run", "comparison": compared()}
    return registry.register(SYSTEM, make_pair(CANDIDATE), run)


@pytest.fixture
def audited(installation):
    """Return what the audit says, oldest first: (account, action, details)."""

    def read() -> list[tuple[str, str, dict]]:
        audit = Audit(installation.database, installation.audit_key)
        rows = audit.rows(SYSTEM, limit=1000)
        return [(row.account, row.action, json.loads(row.details)) for row in reversed(rows)]

    return read
