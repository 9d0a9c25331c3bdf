"""A trained student laid out for answering: what a code decides by itself is worked out once.

With one layer every set asks the same question, so the weight of a code before the softmax is a
number of its own, and attention over a set is a ratio of two sums over its codes,

    sum exp(score) * value / sum exp(score),

which are read from a table. The layers of the three set encoders are computed together, and the
gains of layer norms are multiplied into the weights behind them. Answers are those of
`Student.forward`, rounding apart.

It is all NumPy: the arrays of one patient are so small that the threads of PyTorch cost more than
they bring, and on a busy machine each step would wait for both of them.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
from operator import add

import numpy as np
import torch
from scipy.special import erf
from torch import nn

from engine.student.attention import scores_and_values
from engine.student.linear_path import LinearPath
from engine.student.model import SetEncoder, Student
from engine.student.tensors import Encoded

WIDEST = 60.0  # between a head's highest and lowest score: far beyond, exp would round to 0
HALF_ROOT = np.float32(0.5**0.5)


class Tables:
    """The look-up tables of one student; worth nothing once its weights change."""

    def __init__(self, student: Student) -> None:
        """Work the tables out, in memory, wherever the weights are."""
        encoders = (
            student.diagnosis_encoder,
            student.procedure_encoder,
            student.medication_encoder,
        )
        self._heads = student.visit_encoder.layers[0].self_attn.num_heads
        self._sets, widths = zip(*map(_set_table, encoders), strict=True)
        self.width = max(widths)
        self._starts = np.stack([_array(encoder.start) for encoder in encoders])[:, None]
        self._behind_sets = _BehindAttention([part.encoder.layers[0] for part in encoders])
        self._visits = _VisitAttention(student)
        fields = student.profile_embeddings
        self._profile = np.concatenate([_array(student.nobody)[None], *_tables(fields)])
        self._fields = [first + 1 for first in _firsts(fields)]
        self._profile_head = [_linear(student.profile_head[place]) for place in (0, 2)]
        self._features, self._score = _linear(student.features[0]), _linear(student.score)
        self._linear = student.linear_path and _LinearTable(student.linear_path)

    @classmethod
    def of(cls, student: Student) -> "Tables | None":
        """Return the tables of a student; None where it has several layers or scores too wide."""
        if len(student.visit_encoder.layers) > 1:
            return None
        tables = cls(student)
        return tables if tables.width < WIDEST else None

    def logits(self, visits: Sequence[Encoded]) -> np.ndarray:
        """Return (visits, groups) float32; the visits' own medications are not looked at."""
        logits = _after(self._score, self.features(visits))
        return logits if self._linear is None else logits + self._linear(visits)

    def features(self, visits: Sequence[Encoded]) -> np.ndarray:
        """Return (visits, 2 * hidden_size) float32: the head's penultimate layer."""
        profile = _sums(
            self._profile, [(0, *map(add, self._fields, visit.profile)) for visit in visits]
        )
        inner, outer = self._profile_head
        profile = _after(outer, _gelu(_after(inner, profile)))
        lengths = [len(visit.diagnoses) for visit in visits]
        encoded = self._visits(self._rows(visits), profile, lengths)
        return _gelu(_after(self._features, encoded))

    def _rows(self, visits: Sequence[Encoded]) -> np.ndarray:
        """Return (kinds, rows, size): each set of each visit and of its history."""
        kinds = (
            [codes for visit in visits for codes in visit.diagnoses],
            [codes for visit in visits for codes in visit.procedures],
            [codes for visit in visits for codes in (*visit.medications[:-1], ())],
        )
        sums = np.stack(
            [
                _sums(table, [(-1, *codes) for codes in sets])
                for table, sets in zip(self._sets, kinds, strict=True)
            ]
        )
        weights = sums[..., -self._heads :, None]
        seen = sums[..., : -self._heads].reshape(*weights.shape[:3], -1) / weights
        return self._behind_sets(self._starts, seen.reshape(*sums.shape[:2], -1))


class _VisitAttention:
    """The visit encoder, asked by the latest visit of each history."""

    def __init__(self, student: Student) -> None:
        layer = student.visit_encoder.layers[0]
        attention, size = layer.self_attn, len(student.nobody)
        weight, bias = _behind_norm(layer.norm1, attention.in_proj_weight, attention.in_proj_bias)
        self._ask, self._show = (weight[:, :size], bias[:size]), (weight[:, size:], bias[size:])
        self._eps, self._heads = layer.norm1.eps, attention.num_heads
        self._scale = np.float32(attention.head_dim**-0.5)
        self._recency = _array(student.recency.weight)[::-1]  # the visit at hand last
        self._behind = _BehindAttention([layer])

    def __call__(self, rows: np.ndarray, profile: np.ndarray, lengths: Sequence[int]) -> np.ndarray:
        """Map (kinds, rows, size) to (visits, kinds * size).

        Args:
            profile: (visits, size), in the place of the medications of the visits at hand.
            lengths: how many rows each visit has.
        """
        kinds, size, visits, longest = len(rows), rows.shape[2], len(lengths), max(lengths)
        back = np.arange(longest, 0, -1)
        absent = back > np.array(lengths)[:, None]
        places = np.array([*accumulate(lengths)])[:, None] - back
        tokens = rows[:, np.where(absent, 0, places)]  # (kinds, visits, longest, size)
        tokens[-1, :, -1] = profile
        tokens += self._recency[-longest:]
        normed = _normed(tokens, self._eps)
        queries = _after(self._ask, normed[:, :, -1:])
        shown = _after(self._show, normed)
        by_head = kinds, visits, longest, self._heads, size // self._heads
        products = (queries * shown[..., :size]).reshape(by_head)
        scores = products.sum(axis=4) * self._scale
        scores[:, absent] = -np.inf
        weights = np.exp(scores - scores.max(axis=2, keepdims=True))
        weights /= weights.sum(axis=2, keepdims=True)
        seen = (weights[..., None] * shown[..., size:].reshape(by_head)).sum(axis=2)
        answers = self._behind(
            tokens[:, :, -1].reshape(1, -1, size), seen.reshape(1, kinds * visits, size)
        )
        return answers.reshape(kinds, visits, size).transpose(1, 0, 2).reshape(visits, -1)


class _BehindAttention:
    """What follows attention in layers of one size, each on its own tokens, all together."""

    def __init__(self, layers: Sequence[nn.TransformerEncoderLayer]) -> None:
        self._out = _stacked(_linear(layer.self_attn.out_proj) for layer in layers)
        self._wide = _stacked(
            _behind_norm(layer.norm2, layer.linear1.weight, layer.linear1.bias) for layer in layers
        )
        self._narrow = _stacked(_linear(layer.linear2) for layer in layers)
        self._eps = layers[0].norm2.eps

    def __call__(self, asked: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Map what each of (layers, tokens, size) saw to what it becomes."""
        answer = asked + _after(self._out, seen)
        inner = _gelu(_after(self._wide, _normed(answer, self._eps)))
        return answer + _after(self._narrow, inner)


class _LinearTable:
    """The linear path as one table: a row of zeros, and its parts one below the other."""

    def __init__(self, path: LinearPath) -> None:
        parts = [path.diagnoses, path.procedures, path.past_diagnoses, path.ever, path.previous]
        tables = _tables([*parts, *path.profile])
        firsts = [first + 1 for first in _firsts([*parts, *path.profile])]
        self._firsts = [first + 1 for first in firsts[:5]]  # row 0 of a part stands for nothing
        self._fields = firsts[5:]
        self._table = np.concatenate([np.zeros_like(tables[0][:1]), *tables])

    def __call__(self, visits: Sequence[Encoded]) -> np.ndarray:
        """Return (visits, groups) to add to the logits."""
        return _sums(self._table, [(0, *self._entries(visit)) for visit in visits])

    def _entries(self, visit: Encoded) -> Iterable[int]:
        past = visit.medications[:-1]
        parts = (
            visit.diagnoses[-1],
            visit.procedures[-1],
            set(chain.from_iterable(visit.diagnoses[:-1])),
            set(chain.from_iterable(past)),
            next((given for given in reversed(past) if given), ()),
        )
        for first, codes in zip(self._firsts, parts, strict=True):
            for code in codes:
                yield first + code
        yield from map(add, self._fields, visit.profile)


def _set_table(encoder: SetEncoder) -> tuple[np.ndarray, float]:
    """Return exp(score) * value, then exp(score), of every head, for each code; the start is last.

    Also by how much the scores of a head differ at most.
    """
    layer = encoder.encoder.layers[0]
    with torch.no_grad():
        tokens = torch.cat([encoder.start.unsqueeze(0), encoder.embedding.weight])
        scores, values = map(_array, scores_and_values(layer, layer.norm1(tokens)))
    highest, heads = scores.max(axis=0), scores.shape[1]
    weights = np.exp(scores - highest)
    seen = values.reshape(len(values), heads, -1) * weights[:, :, None]
    table = np.concatenate([seen.reshape(values.shape), weights], axis=1)
    return np.roll(table, -1, axis=0), float((highest - scores.min(axis=0)).max())


def _sums(table: np.ndarray, bags: Sequence[Sequence[int]]) -> np.ndarray:
    """Return (bags, width): the sum of the rows of a table that each bag names; none is empty."""
    rows = np.fromiter(chain.from_iterable(bags), np.intp)
    starts = np.array([0, *accumulate(map(len, bags))][:-1])
    return np.add.reduceat(table[rows], starts, axis=0)


def _after(layer: tuple[np.ndarray, np.ndarray], inputs: np.ndarray) -> np.ndarray:
    return inputs @ layer[0] + layer[1]


def _normed(tokens: np.ndarray, eps: float) -> np.ndarray:
    """Return the layer norm without gain and shift."""
    centred = tokens - tokens.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + np.float32(eps))


def _gelu(inputs: np.ndarray) -> np.ndarray:
    return inputs * (np.float32(0.5) * (1 + erf(inputs * HALF_ROOT)))


def _array(values: torch.Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()


def _linear(layer: nn.Linear) -> tuple[np.ndarray, np.ndarray]:
    return np.ascontiguousarray(_array(layer.weight).T), _array(layer.bias)


def _behind_norm(
    norm: nn.LayerNorm, weight: torch.Tensor, bias: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Return weight and bias of a linear layer that does the gain and shift of the norm before."""
    gained, shifted = weight * norm.weight, bias + weight @ norm.bias
    return np.ascontiguousarray(_array(gained).T), _array(shifted)


def _stacked(layers: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    weights, biases = zip(*layers, strict=True)
    return np.stack(weights), np.stack(biases)[:, None]


def _tables(parts: Iterable[nn.Embedding | nn.EmbeddingBag]) -> list[np.ndarray]:
    return [_array(part.weight) for part in parts]


def _firsts(parts: Iterable[nn.Embedding | nn.EmbeddingBag]) -> list[int]:
    """Return the row where each begins when tables stand one below the other."""
    return [0, *accumulate(part.num_embeddings for part in parts)][:-1]
