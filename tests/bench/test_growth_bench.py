"""The benchmark of growth: every size is there, and histories are as long as said."""

import json

import pytest
from transformers import LlamaConfig

from bench import growth
from bench.__main__ import main
from bench.teacher_network import PAD_ID
from engine.records.cohort import Cohort

TINY = LlamaConfig(
    vocab_size=200,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    pad_token_id=PAD_ID,
)


def test_every_size_is_measured(tiny_pair, tiny_cohort, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(growth, "champion_folder", lambda: tiny_pair)
    monkeypatch.setattr(growth, "sizes", lambda: {"tiny": TINY})
    monkeypatch.setattr(growth, "TRAINING_VISITS", (4, 8))
    monkeypatch.setattr(growth, "TOKENS", (16, 32))
    monkeypatch.setattr(growth, "BATCH_TOKENS", 64)
    file = tmp_path / "growth.json"
    assert main(["growth", str(tiny_cohort), "--json", str(file)]) == 0
    figures = json.loads(file.read_text())
    assert list(figures["student"]["history_ms"]) == ["1", "5", "20"]
    assert list(figures["student"]["training_patients_per_second"]) == ["4", "8"]
    assert list(figures["tokens"]) == ["16", "32"]
    assert all(value > 0 for value in figures["base_model"]["tiny"].values())
    printed = capsys.readouterr().out
    assert "20 earlier visits" in printed
    assert "tiny parameters" in printed


@pytest.mark.parametrize("earlier", growth.EARLIER_VISITS)
def test_a_history_has_so_many_visits_of_others(tiny_cohort, earlier):
    visits = Cohort.open(tiny_cohort).samples("train")[:3]
    made = growth.with_history(visits, earlier)
    assert [len(visit.history) for visit in made] == [earlier] * 3
    assert all(not past.history for visit in made for past in visit.history)
