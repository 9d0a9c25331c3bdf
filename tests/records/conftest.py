import os
from pathlib import Path

import pytest

from engine.records.cohort import Cohort
from engine.records.ingest import ingest
from tests.tables import write_tables


@pytest.fixture
def make_cohort(tmp_path):
    """Return a function that ingests the tiny hospital, some tables replaced, and opens it."""

    def make(name="cohort", seed=0, suffix=".csv", **overrides):
        tables = write_tables(tmp_path / f"{name}-tables", suffix, **overrides)
        ingest(tables, tmp_path / name, seed=seed)
        return Cohort.open(tmp_path / name)

    return make


@pytest.fixture
def demo_tables():
    """The folder of the MIMIC-IV demo; skips the test where it is absent."""
    root = Path(os.environ.get("LEADER_DEMO_DATA", "../shared/data"))
    folder = root / "mimic-iv-demo"
    if not folder.is_dir():
        pytest.skip(f"the MIMIC-IV demo is not at {folder}; LEADER_DEMO_DATA names its parent")
    return folder
