"""Untrained teachers of any shape, and what the machine's matrix products can do at best.

Speed does not depend on the weights: the shapes are the default base model's and a 7 B Llama's.
"""

import re
import time
from collections.abc import Callable, Hashable

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from torch import nn
from transformers import AutoModelForSequenceClassification, LlamaConfig, PreTrainedModel

from engine.teacher.model import Head

GROUPS = 150  # medication groups, about as many as a hospital gives
PAD_ID = 2
SHAPES = {
    "default base (SmolLM2-135M)": LlamaConfig(
        vocab_size=49_152,
        hidden_size=576,
        intermediate_size=1_536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
        pad_token_id=PAD_ID,
    ),
    "Llama 7 B": LlamaConfig(
        vocab_size=32_000,
        hidden_size=4_096,
        intermediate_size=11_008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
        pad_token_id=PAD_ID,
    ),
}


def untrained(
    shape: LlamaConfig, device: torch.device, precision: str = "fp32", mean: bool = False
) -> PreTrainedModel:
    """Return a classification network with random weights, as a loaded teacher would lie there.

    `precision` is of the linear layers' weights; everything else is fp32, as in the engine.
    """
    torch.manual_seed(0)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    with torch.device(device):
        model = AutoModelForSequenceClassification.from_config(shape, dtype=dtype)
        model.score = Head(shape.hidden_size, GROUPS, mean)
    for module in model.modules():
        if not isinstance(module, nn.Linear) and next(module.parameters(False), None) is not None:
            module.float()  # norms and embeddings; none of these holds a linear layer
    model.config.use_cache = False
    return model.eval()


def with_adapters(model: PreTrainedModel, top: int | None = None, rank: int = 16) -> PeftModel:
    """Return a trainable network: LoRA on the linear layers, of the `top` blocks only if given."""
    depth = model.config.num_hidden_layers
    lowest = depth - (top or depth)
    targets = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and (found := re.search(r"\.layers\.(\d+)\.", name))
        and int(found.group(1)) >= lowest
    ]
    options = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=rank,
        lora_alpha=2 * rank,
        target_modules=targets,
        modules_to_save=["score"],
    )
    return get_peft_model(model, options).train()


def operations(shape: LlamaConfig, length: int) -> float:
    """Return floating-point operations a token of one forward pass, at prompts of `length`.

    Two a weight of every linear layer, and four a channel for each of the tokens before it, of
    which there are half the prompt on average; embeddings, norms and the head cost next to nothing.
    """
    hidden, share = shape.hidden_size, shape.num_key_value_heads / shape.num_attention_heads
    weights = 2 * hidden**2 * (1 + share) + 3 * hidden * shape.intermediate_size
    return shape.num_hidden_layers * (2 * weights + 4 * hidden * length / 2)


def product_rate(device: torch.device) -> float:
    """Return floating-point operations a second of one large bf16 matrix product, the best of 5."""
    size = 8_192 if device.type == "cuda" else 2_048
    left = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    seconds = best_seconds({"product": lambda: left @ left}, device, rounds=5)["product"]
    return 2 * size**3 / seconds


def best_seconds(
    variants: dict[Hashable, Callable[[], object]], device: torch.device, rounds: int
) -> dict[Hashable, float]:
    """Return each variant's shortest time; they take turns, so that a busy moment hits all.

    Each is called once before, unmeasured.
    """
    best = dict.fromkeys(variants, float("inf"))
    for counted in [False] + [True] * rounds:
        for name, call in variants.items():
            seconds = _seconds(call, device)
            if counted:
                best[name] = min(best[name], seconds)
    return best


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
