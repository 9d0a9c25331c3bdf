"""Frozen lower layers, run once: training then starts at the first adapted layer.

With adapters on the top layers only, what the lower ones put out for a prompt never changes. It is
computed once, kept in a memory-mapped file (about 1 kB a token), and handed to the first adapted
layer; the lower ones become pass-throughs. Names and indices of the layers stay, so the trained
adapter fits the whole model. The trained teacher starts from the same files when it reads the same
prompts once more for the student (`Kept`).
"""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import nn
from torch.utils.hooks import RemovableHandle
from tqdm import tqdm
from transformers import PreTrainedModel

from engine.errors import WorkbenchError
from engine.teacher.data import Collator, Examples

KEY = "lower_output"  # name under which a batch carries the lower layers' output
PROMPTS = ".prompts.safetensors"  # beside an output: which prompts it belongs to


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
        width = padded["input_ids"].shape[1]
        return {**padded, KEY: together([example[KEY] for example in batch], width)}


class Kept:
    """The lower layers' output for every prompt of a training, found by the prompt."""

    def __init__(self, below: int, parts: Sequence[tuple[Sequence, LowerOutput]]) -> None:
        """`below` is the number of lower layers; of each part the prompts and their output."""
        self.below = below
        self._places = {
            _bytes(ids): (output, row)
            for prompts, output in parts
            for row, ids in enumerate(prompts)
        }

    def has(self, ids: Sequence[int]) -> bool:
        """Whether a prompt was part of the training."""
        return _bytes(ids) in self._places

    def of(self, ids: Sequence[int]) -> torch.Tensor:
        """Return (length, hidden_size) float16 for a prompt of the training."""
        output, row = self._places[_bytes(ids)]
        return output.of(row)


def together(outputs: Sequence[torch.Tensor], width: int) -> torch.Tensor:
    """Return (prompts, width, hidden_size) float32 of outputs (length, hidden_size), padded."""
    padded = torch.zeros(len(outputs), width, outputs[0].shape[1])
    for row, output in enumerate(outputs):
        padded[row, : len(output)] = output.float()
    return padded


def compute(
    model: PreTrainedModel, below: int, examples: Examples, path: Path, batch_size: int, bf16: bool
) -> LowerOutput:
    """Run the lowest `below` layers over every prompt and keep the result in the file `path`.

    A finished file of the same prompts and layers is used again, so that a stopped training goes
    on at once.
    """
    lengths = [len(ids) for ids in examples.input_ids]
    hidden_size = model.config.hidden_size
    made_from = _key(model, below, examples.input_ids, bf16)
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
    prompts = {
        "ids": np.concatenate([np.array(ids, np.int32) for ids in examples.input_ids]),
        "lengths": np.array(lengths, np.int32),
    }
    save_file(prompts, path.with_suffix(PROMPTS))
    record.write_text(made_from, encoding="utf-8")
    return lower


def kept(model: PreTrainedModel, below: int, folder: Path, bf16: bool) -> Kept | None:
    """Open what trainings kept in `folder` for this base model; None when there is nothing."""
    parts = []
    for record in sorted(folder.glob("*.sha256")):
        path = record.with_suffix("")
        try:
            stored = load_file(path.with_suffix(PROMPTS))
            made_from = record.read_text(encoding="utf-8")
        except (OSError, SafetensorError):
            continue
        lengths = stored["lengths"]
        prompts = np.split(stored["ids"], np.cumsum(lengths)[:-1])
        if made_from == _key(model, below, prompts, bf16):
            output = LowerOutput(path, lengths, model.config.hidden_size, mode="c")
            parts.append((prompts, output))
    return Kept(below, parts) if parts else None


def skip(model: PreTrainedModel, below: int) -> None:
    """Make the lowest `below` layers pass-throughs and take their output from the batch."""
    blocks = _blocks(model)
    handed_in: list[torch.Tensor] = []

    def take_from_batch(module: nn.Module, inputs: tuple, named: dict) -> tuple[tuple, dict]:
        handed_in[:] = [named.pop(KEY)]
        return inputs, named

    model.register_forward_pre_hook(take_from_batch, with_kwargs=True)
    _hand_in(blocks[below], handed_in)
    for index in range(below):
        blocks[index] = _PassThrough()


@contextlib.contextmanager
def skipped(model: nn.Module, below: int, output: torch.Tensor) -> Iterator[None]:
    """Let one forward pass start above the lowest `below` layers, from their `output`."""
    blocks = _blocks(model)
    lowest = list(blocks[:below])
    hook = _hand_in(blocks[below], [output])
    for index in range(below):
        blocks[index] = _PassThrough()
    try:
        yield
    finally:
        hook.remove()
        for index, block in enumerate(lowest):
            blocks[index] = block


def _hand_in(block: nn.Module, waiting: list[torch.Tensor]) -> RemovableHandle:
    """Let a layer take what is `waiting` for it instead of what the layer below puts out."""

    def take(module: nn.Module, inputs: tuple, named: dict) -> tuple[tuple, dict]:
        if inputs:
            return (waiting.pop(), *inputs[1:]), named
        return inputs, {**named, "hidden_states": waiting.pop()}

    return block.register_forward_pre_hook(take, with_kwargs=True)


def _key(model: PreTrainedModel, below: int, prompts: Sequence, bf16: bool) -> str:
    """Name what a file is made from: base model, layers, precision and prompts."""
    digest = hashlib.sha256(f"{model.name_or_path} {below} {bf16}".encode())
    for weight in _blocks(model)[below - 1].parameters():  # a preparation changes every layer
        weight = weight.detach().to(torch.bfloat16 if bf16 else torch.float32)  # as it is used
        digest.update(weight.float().cpu().numpy().tobytes())
    for ids in prompts:
        digest.update(np.array(ids, np.int64).tobytes() + b"|")
    return digest.hexdigest()


def _bytes(ids: Sequence[int]) -> bytes:
    return np.asarray(ids, np.int32).tobytes()


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
