import pytest

from engine.records.cohort import Cohort
from engine.records.ingest import ingest
from engine.records.options import IngestOptions
from tests.tables import write_tables


@pytest.fixture
def make_cohort(tmp_path):
    """Return a function that ingests the tiny hospital, some tables replaced, and opens it."""

    def make(name="cohort", suffix=".csv", options=None, **overrides):
        tables = write_tables(tmp_path / f"{name}-tables", suffix, **overrides)
        ingest(tables, tmp_path / name, options=options or IngestOptions())
        return Cohort.open(tmp_path / name)

    return make


@pytest.fixture
def demo_tables(demo_data):
    """The folder of the MIMIC-IV demo; skips the test where it is absent."""
    return demo_data / "mimic-iv-demo"
