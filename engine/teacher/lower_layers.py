"""Frozen lower layers, run once: training then starts at the first adapted layer.

With adapters on the top layers only, what the lower ones put out for a prompt never changes. It is
computed once, kept in a memory-mapped file (about 1 kB a token), and handed to the first adapted
layer; the lower ones become pass-throughs. Names and indices of the layers stay, so the trained
adapter fits the whole model.
"""

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedModel

from engine.errors import WorkbenchError
from engine.teacher.data import Collator, Examples

KEY = "lower_output"  # name under which a batch carries the lower layers' output


class LowerOutput:
    """The output of the lower layers for a set of prompts, (tokens, hidden_size), on disk."""

    def __init__(self, path: Path, lengths: Sequence[int], hidden_size: int, mode: str) -> None:
        self.starts = np.concatenate([[0], np.cumsum(lengths)])
        shape = (int(self.starts[-1]), hidden_size)
        self.values = np.memmap(path, dtype=np.float16, mode=mode, shape=shape)

    def of(self, row: int) -> torch.Tensor:
        """Return (length, hidden_size) float16 of one prompt."""
        return torch.from_numpy(self.values[self.starts[row] : self.starts[row + 1]])


class CachedExamples(Examples):
    """Examples that bring the lower layers' output along."""

    lower: LowerOutput

    @classmethod
    def of(cls, examples: Examples, lower: LowerOutput) -> "CachedExamples":
        cached = cls(examples.input_ids, examples.labels)
        object.__setattr__(cached, "lower", lower)
        return cached

    def __getitem__(self, index: int) -> dict:
        return {**super().__getitem__(index), KEY: self.lower.of(index)}


class CachedCollator(Collator):
    """Pads the lower layers' output as the prompts are padded."""

    def __call__(self, batch: Sequence[dict]) -> dict[str, torch.Tensor]:
        padded = super().__call__(batch)
        rows, width = padded["input_ids"].shape
        lower = torch.zeros(rows, width, batch[0][KEY].shape[1])
        for row, example in enumerate(batch):
            lower[row, : len(example[KEY])] = example[KEY].float()
        return {**padded, KEY: lower}


def compute(
    model: PreTrainedModel, below: int, examples: Examples, path: Path, batch_size: int, bf16: bool
) -> LowerOutput:
    """Run the lowest `below` layers over every prompt and keep the result in the file `path`.

    A finished file of the same prompts and layers is used again, so that a stopped training goes
    on at once.
    """
    lengths = [len(ids) for ids in examples.input_ids]
    hidden_size = model.config.hidden_size
    made_from = _key(model, below, examples, bf16)
    record = path.with_suffix(".sha256")
    if record.exists() and record.read_text(encoding="utf-8") == made_from:
        return LowerOutput(path, lengths, hidden_size, mode="c")
    lower = LowerOutput(path, lengths, hidden_size, mode="w+")
    collate = Collator(model.config.pad_token_id)
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    block = _blocks(model)[below]
    device = next(model.parameters()).device
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        for start in tqdm(range(0, len(order), batch_size), desc="lower layers", unit="batch"):
            rows = order[start : start + batch_size]
            batch = collate([{"input_ids": examples.input_ids[row]} for row in rows])
            output = _input_of(block, model, batch, device)
            for place, row in enumerate(rows):
                values = output[place, : lengths[row]].to(torch.float16).cpu().numpy()
                if not np.isfinite(values).all():
                    raise WorkbenchError(
                        "cache_lower_layers: this base model's values are too large to keep; "
                        "set cache_lower_layers: false in the recipe"
                    )
                lower.values[lower.starts[row] : lower.starts[row + 1]] = values
    lower.values.flush()
    record.write_text(made_from, encoding="utf-8")
    return lower


def skip(model: PreTrainedModel, below: int) -> None:
    """Make the lowest `below` layers pass-throughs and take their output from the batch."""
    blocks = _blocks(model)
    handed_in: list[torch.Tensor] = []

    def take_from_batch(module: nn.Module, inputs: tuple, named: dict) -> tuple[tuple, dict]:
        handed_in[:] = [named.pop(KEY)]
        return inputs, named

    def hand_in(module: nn.Module, inputs: tuple, named: dict) -> tuple[tuple, dict]:
        if inputs:
            return (handed_in.pop(), *inputs[1:]), named
        return inputs, {**named, "hidden_states": handed_in.pop()}

    model.register_forward_pre_hook(take_from_batch, with_kwargs=True)
    blocks[below].register_forward_pre_hook(hand_in, with_kwargs=True)
    for index in range(below):
        blocks[index] = _PassThrough()


def _key(model: PreTrainedModel, below: int, examples: Examples, bf16: bool) -> str:
    """Name what a file is made from: base model, layers, precision and prompts."""
    digest = hashlib.sha256(f"{model.name_or_path} {below} {bf16}".encode())
    for weight in _blocks(model)[below - 1].parameters():  # a preparation changes every layer
        digest.update(weight.detach().float().cpu().numpy().tobytes())
    for ids in examples.input_ids:
        digest.update(np.array(ids, np.int64).tobytes() + b"|")
    return digest.hexdigest()


class _PassThrough(nn.Module):
    """Stands where a lower layer was."""

    def forward(self, hidden_states: torch.Tensor, *_, **__) -> torch.Tensor:
        return hidden_states


class _Reached(Exception):
    """Raised to stop a forward pass once the wanted layer's input is known."""


def _input_of(block: nn.Module, model: nn.Module, batch: dict, device) -> torch.Tensor:
    seen: list[torch.Tensor] = []

    def catch(module: nn.Module, inputs: tuple, named: dict) -> None:
        seen.append(inputs[0] if inputs else named["hidden_states"])
        raise _Reached

    hook = block.register_forward_pre_hook(catch, with_kwargs=True)
    try:
        with contextlib.suppress(_Reached):
            model(**{name: tensor.to(device) for name, tensor in batch.items()})
    finally:
        hook.remove()
    return seen[0]


def _blocks(model: PreTrainedModel) -> nn.ModuleList:
    """Find the list of layers, whatever the architecture calls it."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    wanted = getattr(model.config, "num_hidden_layers", None)
    for blocks in lists:
        if len(blocks) == wanted:
            return blocks
    raise WorkbenchError(
        "cache_lower_layers: this base model keeps its layers in an unknown place; "
        "set cache_lower_layers: false in the recipe"
    )
