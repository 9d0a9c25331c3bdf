"""What tests share: a small synthetic cohort and a pair of tiny but real models, made once."""

import os
from pathlib import Path

import pytest

from engine.config import Recipe
from engine.jobs import pipeline
from engine.records.cohort import Cohort
from engine.records.ingest import ingest
from sample_data.generate import generate
from sample_data.tables import write_tables
from tests.tiny_base import save_base

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def demo_data() -> Path:
    """The open MIMIC demos, which lie beside the project; the test is skipped without them."""
    folder = Path(os.environ.get("LEADER_DEMO_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no demo data in {folder}; set LEADER_DEMO_DATA")
    return folder


@pytest.fixture(scope="session")
def sample_tables(tmp_path_factory) -> Path:
    """MIMIC-IV tables of 80 synthetic patients."""
    folder = tmp_path_factory.mktemp("tables")
    write_tables(generate(patients=80, seed=7), folder)
    return folder


@pytest.fixture(scope="session")
def tiny_cohort(sample_tables, tmp_path_factory) -> Path:
    """The cohort folder of 80 synthetic patients."""
    folder = tmp_path_factory.mktemp("cohorts") / "tiny"
    ingest(sample_tables, folder)
    return folder


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory) -> Path:
    """A tiny language model with random weights and a tokenizer of a few hundred words."""
    folder = tmp_path_factory.mktemp("base")
    words = "The patient is a woman man aged diagnoses procedures medication groups given visit"
    save_base(folder, [words] * 4, tokens=400)
    return folder


@pytest.fixture(scope="session")
def tiny_recipe(tiny_base) -> Recipe:
    """A recipe that trains in seconds."""
    return Recipe.model_validate(
        {
            "name": "tiny",
            "prompt": {"max_tokens": 512},
            "teacher": {
                "base_model": str(tiny_base),
                "lora_rank": 2,
                "adapted_layers": 1,
                "cache_lower_layers": True,
                "max_steps": 4,
                "evaluations": 2,
                "precision": "fp32",
            },
            "student": {"hidden_size": 16, "heads": 2, "epochs": 2},
        }
    )


@pytest.fixture(scope="session")
def tiny_run(tiny_cohort, tiny_recipe, tmp_path_factory) -> Path:
    """The run folder of a whole training, teacher to finished pair."""
    output = tmp_path_factory.mktemp("run")
    pipeline.train_pair(Cohort.open(tiny_cohort), tiny_recipe, output, say=lambda text: None)
    return output


@pytest.fixture(scope="session")
def tiny_pair(tiny_run) -> Path:
    """The finished pair of that training."""
    return tiny_run / "pair"
