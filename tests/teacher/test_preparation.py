"""The preparatory stage: it learns, is merged wherever a teacher is built, and is done once."""

import json
import shutil

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from engine.config import Recipe
from engine.errors import WorkbenchError
from engine.teacher import model as teacher_model
from engine.teacher import preparation
from engine.teacher.base_model import load_tokenizer

LABELS = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
IDS = torch.tensor([[5, 6, 7, 8]])


@pytest.fixture(scope="module")
def recipe(tiny_base) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "prepared",
            "teacher": {
                "base_model": str(tiny_base),
                "lora_rank": 2,
                "precision": "fp32",
                "preparation": {
                    "steps": 30,
                    "learning_rate": 1e-2,
                    "max_tokens": 32,
                    "lora_rank": 4,
                },
            },
        }
    )


@pytest.fixture(scope="module")
def prepared(recipe, tmp_path_factory):
    output = tmp_path_factory.mktemp("prepared")
    return preparation.prepare(recipe, output)


def test_held_out_sentences_surprise_the_prepared_model_less(prepared):
    record = json.loads((prepared / "preparation.json").read_text())
    reached = record["held_out_perplexity"]
    assert reached["after"] < 0.9 * reached["before"]
    lines = [json.loads(line) for line in (prepared.parent / "metrics.jsonl").open()]
    assert lines[-1]["held_out_perplexity"] == reached


def test_nothing_but_safetensors_and_json_is_kept(prepared):
    assert {file.name for file in prepared.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "preparation.json",
    }


def test_a_finished_preparation_is_not_repeated(recipe, prepared):
    written = (prepared / "adapter_model.safetensors").stat().st_mtime_ns
    assert preparation.prepare(recipe, prepared.parent) == prepared
    assert (prepared / "adapter_model.safetensors").stat().st_mtime_ns == written


def test_other_settings_or_a_damaged_file_prepare_again(recipe, prepared, tmp_path):
    other = recipe.model_copy(update={"seed": 1})
    assert preparation.is_finished(recipe, prepared.parent)
    assert not preparation.is_finished(other, prepared.parent)
    damaged = shutil.copytree(prepared, tmp_path / "preparation")
    (damaged / "adapter_model.safetensors").write_bytes(b"cut off")
    assert not preparation.is_finished(recipe, tmp_path)


def test_the_same_seed_gives_the_same_weights(recipe, prepared, tmp_path):
    again = preparation.prepare(recipe, tmp_path)
    weights = [(folder / "adapter_model.safetensors").read_bytes() for folder in (prepared, again)]
    assert weights[0] == weights[1]


def test_without_one_nothing_is_prepared(tiny_recipe, tmp_path):
    assert preparation.prepare(tiny_recipe, tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_the_teacher_starts_from_the_prepared_model(recipe, prepared, tiny_base):
    plain = teacher_model.build(recipe.teacher, LABELS, pad_id=1)
    ready = teacher_model.build(recipe.teacher, LABELS, pad_id=1, preparation=prepared)
    causal = preparation._base(str(tiny_base))
    preparation.merge(causal, prepared)
    states = []
    for network in (plain, ready):
        with teacher_model.head_input(network) as seen:
            network(input_ids=IDS)
        states.append(seen[0].detach())
    torch.testing.assert_close(states[1], causal.model(input_ids=IDS).last_hidden_state)
    assert not torch.allclose(states[0], states[1], atol=1e-3)


def test_a_saved_teacher_is_loaded_with_its_preparation(recipe, prepared, tiny_base, tmp_path):
    network = teacher_model.build(recipe.teacher, LABELS, pad_id=1, preparation=prepared).eval()
    torch.nn.init.normal_(teacher_model.head_of(network).linear.weight)
    network.save_pretrained(tmp_path)
    with torch.inference_mode():
        before = network(input_ids=IDS).logits
        loaded = teacher_model.load(recipe.teacher, tmp_path, 2, 1, prepared)
        torch.testing.assert_close(loaded(input_ids=IDS).logits, before, atol=1e-4, rtol=1e-4)
        without = teacher_model.load(recipe.teacher, tmp_path, 2, 1)
        assert not torch.allclose(without(input_ids=IDS).logits, before, atol=1e-3)


def test_another_architecture_is_prepared_too(recipe, tiny_base, tmp_path):
    base = tmp_path / "gpt2"
    load_tokenizer(str(tiny_base)).save_pretrained(base)
    shape = GPT2Config(vocab_size=400, n_embd=16, n_layer=1, n_head=2, n_positions=128)
    GPT2LMHeadModel(shape).save_pretrained(base)
    options = recipe.teacher.preparation.model_copy(update={"steps": 2})
    teacher = recipe.teacher.model_copy(update={"base_model": str(base), "preparation": options})
    folder = preparation.prepare(recipe.model_copy(update={"teacher": teacher}), tmp_path / "run")
    model = preparation._base(str(base))
    before = model(input_ids=IDS).logits
    preparation.merge(model, folder)
    assert not torch.equal(model(input_ids=IDS).logits, before)


def test_a_missing_or_misfitting_preparation_is_named(prepared, tiny_base, tmp_path):
    model = preparation._base(str(tiny_base))
    with pytest.raises(WorkbenchError, match="missing; restore"):
        preparation.merge(model, tmp_path)
    other = GPT2LMHeadModel(GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=1))
    with pytest.raises(WorkbenchError, match="does not fit the base model"):
        preparation.merge(other, prepared)
