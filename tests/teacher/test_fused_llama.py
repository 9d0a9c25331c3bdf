"""Reading in fewer steps: the same answers, the same weights, other architectures left alone."""

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    Qwen2Config,
)

from engine.teacher.fused_llama import FusedLlama, fused
from engine.teacher.inference import Reader, body_of
from engine.teacher.model import Head
from engine.teacher.prefix import PrefixCache

SMALL = {"vocab_size": 100, "num_labels": 3, "pad_token_id": 1}
SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3}
SHAPE |= {"num_attention_heads": 4, "num_key_value_heads": 2}
STRETCHED = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
STRETCHED |= {"original_max_position_embeddings": 32, "rope_theta": 10_000.0}
LLAMAS = {
    "grouped heads": LlamaConfig(**SMALL, **SHAPE),
    "one key head a head": LlamaConfig(**SMALL, **SHAPE | {"num_key_value_heads": 4}),
    "wide heads": LlamaConfig(**SMALL, **SHAPE, head_dim=16),
    "biases": LlamaConfig(**SMALL, **SHAPE, attention_bias=True, mlp_bias=True),
    "stretched rotations": LlamaConfig(**SMALL, **SHAPE, rope_parameters=STRETCHED),
    "growing rotations": LlamaConfig(
        **SMALL,
        **SHAPE,
        max_position_embeddings=16,
        rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0},
    ),
    "another activation": LlamaConfig(**SMALL, **SHAPE, hidden_act="gelu"),
}
OTHERS = {
    "qwen2": Qwen2Config(**SMALL, **SHAPE),
    "mistral": MistralConfig(**SMALL, **SHAPE),
    "gpt2": GPT2Config(**SMALL, n_embd=32, n_layer=3, n_head=4, bos_token_id=1, eos_token_id=1),
}


def body(configuration: PretrainedConfig) -> nn.Module:
    """A small model whose norms and biases are not those of a fresh one."""
    torch.manual_seed(0)
    model = body_of(AutoModelForSequenceClassification.from_config(configuration).eval())
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 1:
                weight += 0.3 * torch.randn_like(weight)
    return model


@pytest.mark.parametrize("name", LLAMAS)
@torch.inference_mode()
def test_the_states_are_those_of_the_model(name):
    network = body(LLAMAS[name])
    reader = fused(network)
    assert isinstance(reader, FusedLlama)
    for prompts, length in ((1, 1), (1, 40), (3, 17)):
        ids = torch.randint(2, 100, (prompts, length))
        expected = network(input_ids=ids, use_cache=False).last_hidden_state
        states = reader(input_ids=ids).last_hidden_state
        torch.testing.assert_close(states, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", sorted(LLAMAS.keys() - {"growing rotations"}))
@torch.inference_mode()
def test_a_tail_behind_a_cache_is_read_as_part_of_its_prompt(name):
    network = body(LLAMAS[name])
    cache = PrefixCache(fused(network))
    prompt = list(range(2, 42))
    for edit in (prompt, [*prompt[:30], 90, 91], [*prompt, 7], prompt[:25]):
        expected = network(input_ids=torch.tensor([edit]), use_cache=False).last_hidden_state[0]
        torch.testing.assert_close(cache.read(edit), expected, rtol=1e-4, atol=1e-5)
    assert cache.read_tokens == 40 + 2 + 1 + 1


@pytest.mark.parametrize("name", OTHERS)
def test_another_architecture_is_left_as_it_is(name):
    network = body(OTHERS[name])
    assert fused(network) is network


def test_layers_that_are_not_plain_are_left_as_they_are():
    """Such as those in four bits, or with adapters that were not merged."""

    class Quantized(nn.Linear):
        pass

    network = body(LLAMAS["grouped heads"])
    network.layers[1].mlp.up_proj = Quantized(32, 64, bias=False)
    assert fused(network) is network


@torch.inference_mode()
def test_the_weights_are_shared_with_a_model_that_stays_usable():
    network = body(LLAMAS["biases"])
    ids = torch.randint(2, 100, (2, 9))
    before = network(input_ids=ids, use_cache=False).last_hidden_state
    reader = fused(network)
    torch.testing.assert_close(
        network(input_ids=ids, use_cache=False).last_hidden_state, before, rtol=0, atol=0
    )
    first = network.layers[0].self_attn
    first.k_proj.weight.zero_()
    changed = network(input_ids=ids, use_cache=False).last_hidden_state
    torch.testing.assert_close(
        reader(input_ids=ids).last_hidden_state, changed, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_reader_on_the_processor_reads_in_this_way(precision):
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(LLAMAS["grouped heads"]).eval()
    model.score = Head(32, 3)
    nn.init.normal_(model.score.linear.weight)
    reader = Reader(model, 1, precision, torch.device("cpu"))
    assert isinstance(reader.body, FusedLlama)
    prompts = [list(range(2, 30)), list(range(5, 20))]
    fast = reader.read(prompts)
    reader.body = body_of(model)
    tolerance = {"fp32": 1e-5, "bf16": 0.05}[precision]  # bf16 rounds to a hundredth of a state
    for mine, theirs in zip(fast, reader.read(prompts), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=tolerance)
