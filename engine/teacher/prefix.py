"""What the model made of the last prompts, so that an edit costs only the tokens behind it.

    states = PrefixCache(body).read(token_ids)

In a causal model the keys and values of a token depend on the tokens up to it alone. A prompt that
begins as an earlier one did takes them from there and runs the rest. Prompts put the history first
and the present visit last, so that most of a returning patient's prompt outlives an edit.
"""

import copy
import inspect
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import DynamicCache

MEMORY = 512 * 2**20  # bytes of keys and values kept: about 35 prompts of the default base model
LEAST = 1 / 8  # of a prompt; a shorter beginning is not worth its own way through the model


@dataclass(frozen=True)
class _Kept:
    """What the model made of one prompt."""

    layers: DynamicCache  # keys and values of every token
    states: torch.Tensor  # (length, hidden_size), the last layer's output

    @property
    def bytes(self) -> int:
        held = (tensor for layer in self.layers.layers for tensor in _tensors(layer))
        return self.states.nbytes + sum(tensor.nbytes for tensor in held)


class PrefixCache:
    """Keys and values of the last prompts; not thread-safe, the owner of the model locks.

    In fp32 the answer is that of a fresh run within 1e-5. In bf16 a tail by itself is rounded
    otherwise than within its prompt, as one batch is otherwise than another: logits of the default
    base model differ by up to 0.1, probabilities by about 0.01.
    """

    def __init__(self, body: nn.Module, memory: int = MEMORY) -> None:
        """`body` maps token ids to hidden states; `memory` bounds what is kept, in bytes."""
        self.body = body
        self.memory = memory
        self.read_tokens = 0  # run through the model so far: what was saved is seen by it
        self._kept: OrderedDict[tuple[int, ...], _Kept] = OrderedDict()  # the latest used last
        self._config = body.config
        self._takes_layers = "past_key_values" in inspect.signature(body.forward).parameters

    @property
    def bytes(self) -> int:
        """Return the size of what is kept."""
        return sum(kept.bytes for kept in self._kept.values())

    def read(self, ids: Sequence[int]) -> torch.Tensor:
        """Return (length, hidden_size): the last layer's output for a prompt's tokens."""
        prompt = tuple(ids)
        if prompt in self._kept:
            self._kept.move_to_end(prompt)
            return self._kept[prompt].states
        if not self._takes_layers:
            return self._run(prompt)
        beginning, start = self._beginning(prompt)
        layers = _cut(beginning.layers, start) if beginning else DynamicCache(config=self._config)
        states = self._run(prompt[start:], past_key_values=layers, use_cache=True)
        if beginning:
            states = torch.cat([beginning.states[:start], states])
        self._keep(prompt, _Kept(layers, states))
        return states

    def _run(self, ids: tuple[int, ...], **options) -> torch.Tensor:
        self.read_tokens += len(ids)
        tokens = torch.tensor([ids], device=next(self.body.parameters()).device)
        return self.body(input_ids=tokens, **options).last_hidden_state[0]

    def _beginning(self, prompt: tuple[int, ...]) -> tuple[_Kept | None, int]:
        """Return the kept prompt that shares most of its start, and how many tokens.

        The last token is always run: a prompt that ends within a kept one shares all but that.
        """
        shared = {ids: min(_shared(ids, prompt), len(prompt) - 1) for ids in self._kept}
        best = max(shared, key=shared.get, default=None)
        if best is None or shared[best] < LEAST * len(prompt):
            return None, 0
        self._kept.move_to_end(best)
        return self._kept[best], shared[best]

    def _keep(self, prompt: tuple[int, ...], kept: _Kept) -> None:
        if not all(_is_whole(layer, len(prompt)) for layer in kept.layers.layers):
            return
        self._kept[prompt] = kept
        while self.bytes > self.memory:
            self._kept.popitem(last=False)


def _shared(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Return how many tokens two prompts have in common from their start."""
    for place, (mine, yours) in enumerate(zip(one, other, strict=False)):
        if mine != yours:
            return place
    return min(len(one), len(other))


def _cut(layers: DynamicCache, length: int) -> DynamicCache:
    """Return the first `length` tokens' keys and values; the given ones stay, nothing is copied.

    A layer grows by making new tensors, so both may be used from here on.
    """
    beginning = copy.copy(layers)
    beginning.layers = [copy.copy(layer) for layer in layers.layers]
    beginning.crop(length - layers.get_seq_length())  # what is taken off, as a negative number
    return beginning


def _is_whole(layer, tokens: int) -> bool:
    """Whether a layer can be cut anywhere: it has every token's keys, and no running state.

    Attention over a window forgets, once past it; recurrent layers have a state of the end only.
    """
    return layer.is_croppable and (layer.keys is None or layer.keys.shape[-2] == tokens)


def _tensors(layer) -> list[torch.Tensor]:
    return [value for value in vars(layer).values() if isinstance(value, torch.Tensor)]
