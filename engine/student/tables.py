"""A trained student laid out for answering: what a code decides by itself is worked out once.

With one layer every set asks the same question, so the weight of a code before the softmax is a
number of its own, and attention over a set is a ratio of two sums over its codes,

    sum exp(score) * value / sum exp(score),

which one `embedding_bag` reads from a table. The layers of the three set encoders are computed
together, and the gains of layer norms are multiplied into the weights behind them. Answers are
those of `Student.forward`, rounding apart.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
from operator import add

import torch
from torch import nn
from torch.nn import functional

from engine.student.attention import scores_and_values
from engine.student.linear_path import LinearPath
from engine.student.model import SetEncoder, Student
from engine.student.tensors import Encoded

WIDEST = 60.0  # between a head's highest and lowest score: far beyond, exp would round to 0


class Tables:
    """The look-up tables of one student; worth nothing once its weights change."""

    def __init__(self, student: Student) -> None:
        """Work the tables out, on the device where the weights are."""
        encoders = (
            student.diagnosis_encoder,
            student.procedure_encoder,
            student.medication_encoder,
        )
        with torch.no_grad():
            tables, widths = zip(*map(_set_table, encoders), strict=True)
            self.width = max(widths)
            self._starts = torch.stack([table[:1] for table in tables])
            self._codes = [table[1:].contiguous() for table in tables]
            self._start_tokens = torch.stack([encoder.start for encoder in encoders]).unsqueeze(1)
            self._behind_sets = _BehindAttention([part.encoder.layers[0] for part in encoders])
            self._visits = _VisitAttention(student)
            self._profile = torch.cat(
                [table.weight for table in student.profile_embeddings]
                or [student.nobody.new_zeros(1, len(student.nobody))]
            )
            self._fields = _firsts(student.profile_embeddings)
            self._linear = student.linear_path and _LinearTable(student.linear_path)
        self._nobody, self._profile_head = student.nobody, student.profile_head
        self._features, self._score = student.features[0], student.score
        self._heads = student.visit_encoder.layers[0].self_attn.num_heads

    @classmethod
    def of(cls, student: Student) -> "Tables | None":
        """Return the tables of a student; None where it has several layers or scores too wide."""
        if len(student.visit_encoder.layers) > 1:
            return None
        tables = cls(student)
        return tables if tables.width < WIDEST else None

    @torch.inference_mode()
    def logits(self, visits: Sequence[Encoded]) -> torch.Tensor:
        """Return (visits, groups); the visits' own medications are not looked at."""
        device = self._score.weight.device
        rows = self._rows(visits, device)
        values = [list(map(add, self._fields, visit.profile)) for visit in visits]
        profile = self._nobody + _bag(self._profile, values, device)
        encoded = self._visits(rows, self._profile_head(profile), _lengths(visits))
        logits = self._score(functional.gelu(self._features(encoded)))
        if self._linear is not None:
            logits += self._linear(visits, device)
        return logits

    def _rows(self, visits: Sequence[Encoded], device: torch.device) -> torch.Tensor:
        """Return (kinds, rows, size): each set of each visit and of its history."""
        kinds = (
            [codes for visit in visits for codes in visit.diagnoses],
            [codes for visit in visits for codes in visit.procedures],
            [codes for visit in visits for codes in (*visit.medications[:-1], ())],
        )
        sums = self._starts + torch.stack(
            [_bag(table, sets, device) for table, sets in zip(self._codes, kinds, strict=True)]
        )
        seen, weights = sums[..., : -self._heads], sums[..., -self._heads :]
        seen = (seen.unflatten(2, (self._heads, -1)) / weights.unsqueeze(3)).flatten(2)
        return self._behind_sets(self._start_tokens, seen)


class _VisitAttention:
    """The visit encoder, asked by the latest visit of each history."""

    def __init__(self, student: Student) -> None:
        layer = student.visit_encoder.layers[0]
        attention, size = layer.self_attn, len(student.nobody)
        weight, bias = _behind_norm(layer.norm1, attention.in_proj_weight, attention.in_proj_bias)
        self._ask, self._show = (weight[:size], bias[:size]), (weight[size:], bias[size:])
        self._norm, self._heads = layer.norm1, attention.num_heads
        self._recency = student.recency.weight.flip(0)  # the visit at hand last
        self._behind = _BehindAttention([layer])

    def __call__(
        self, rows: torch.Tensor, profile: torch.Tensor, lengths: Sequence[int]
    ) -> torch.Tensor:
        """Map (kinds, rows, size) to (visits, kinds * size).

        Args:
            profile: (visits, size), in the place of the medications of the visits at hand.
            lengths: how many rows each visit has.
        """
        kinds, size, longest = len(rows), rows.shape[2], max(lengths)
        mask = None
        if longest * len(lengths) > rows.shape[1]:
            places, present = _padded(lengths, longest, rows.device)
            rows = rows[:, places]
            mask = present.repeat(kinds, 1)[:, None, None]
        tokens = rows.reshape(kinds, len(lengths), longest, size)
        tokens[-1, :, -1] = profile
        tokens = tokens + self._recency[-longest:]
        normed = functional.layer_norm(tokens, (size,), eps=self._norm.eps)
        queries = functional.linear(normed[:, :, -1], *self._ask)
        shown = functional.linear(normed, *self._show)
        keys, values = shown.view(-1, longest, 2, self._heads, size // self._heads).unbind(2)
        seen = functional.scaled_dot_product_attention(
            queries.view(-1, self._heads, 1, size // self._heads),
            keys.transpose(1, 2),
            values.transpose(1, 2),
            attn_mask=mask,
        )
        asked = tokens[:, :, -1].reshape(1, -1, size)
        answers = self._behind(asked, seen.reshape(1, -1, size)).view(kinds, len(lengths), size)
        return answers.transpose(0, 1).flatten(1)


class _BehindAttention:
    """What follows attention in layers of one size, each on its own tokens, all together."""

    def __init__(self, layers: Sequence[nn.TransformerEncoderLayer]) -> None:
        out = [layer.self_attn.out_proj for layer in layers]
        wide = [
            _behind_norm(layer.norm2, layer.linear1.weight, layer.linear1.bias) for layer in layers
        ]
        narrow = [layer.linear2 for layer in layers]
        self._out, self._out_bias = _stacked((part.weight, part.bias) for part in out)
        self._wide, self._wide_bias = _stacked(wide)
        self._narrow, self._narrow_bias = _stacked((part.weight, part.bias) for part in narrow)
        self._eps = layers[0].norm2.eps

    def __call__(self, asked: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Map what each of (layers, tokens, size) saw to what it becomes."""
        answer = torch.baddbmm(asked + self._out_bias, seen, self._out)
        normed = functional.layer_norm(answer, answer.shape[2:], eps=self._eps)
        inner = functional.gelu(torch.baddbmm(self._wide_bias, normed, self._wide))
        return torch.baddbmm(answer + self._narrow_bias, inner, self._narrow)


class _LinearTable:
    """The linear path as one table: its parts one below the other."""

    def __init__(self, path: LinearPath) -> None:
        parts = [path.diagnoses, path.procedures, path.past_diagnoses, path.ever, path.previous]
        firsts = _firsts([*parts, *path.profile])
        self._firsts = [first + 1 for first in firsts[:5]]  # row 0 of a part stands for nothing
        self._fields = firsts[5:]
        self._table = torch.cat([part.weight for part in (*parts, *path.profile)])

    def __call__(self, visits: Sequence[Encoded], device: torch.device) -> torch.Tensor:
        """Return (visits, groups) to add to the logits."""
        return _bag(self._table, [list(self._entries(visit)) for visit in visits], device)

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


def _set_table(encoder: SetEncoder) -> tuple[torch.Tensor, float]:
    """Return exp(score) * value, then exp(score), of every head, for the start and each code.

    Also by how much the scores of a head differ at most.
    """
    layer, heads = encoder.encoder.layers[0], encoder.encoder.layers[0].self_attn.num_heads
    tokens = torch.cat([encoder.start.unsqueeze(0), encoder.embedding.weight])
    scores, values = scores_and_values(layer, layer.norm1(tokens))
    highest = scores.amax(dim=0)
    weights = (scores - highest).exp()
    seen = values.unflatten(1, (heads, -1)) * weights.unsqueeze(2)
    return torch.cat([seen.flatten(1), weights], 1), float((highest - scores.amin(dim=0)).max())


def _behind_norm(
    norm: nn.LayerNorm, weight: torch.Tensor, bias: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight and bias of a linear layer that does the gain and shift of the norm before."""
    return weight * norm.weight, bias + weight @ norm.bias


def _stacked(
    layers: Iterable[tuple[torch.Tensor, torch.Tensor]],
) -> tuple[torch.Tensor, torch.Tensor]:
    weights, biases = zip(*layers, strict=True)
    return torch.stack([weight.T for weight in weights]), torch.stack(biases).unsqueeze(1)


def _firsts(tables: Iterable[nn.Embedding | nn.EmbeddingBag]) -> list[int]:
    """Return the row where each begins when tables stand one below the other."""
    return [0, *accumulate(table.num_embeddings for table in tables)][:-1]


def _bag(
    table: torch.Tensor, entries: Sequence[Sequence[int]], device: torch.device
) -> torch.Tensor:
    """Return (bags, width): the sum of the table's rows for each list of entries."""
    flat = torch.tensor(list(chain.from_iterable(entries)), dtype=torch.long, device=device)
    starts = [0, *accumulate(map(len, entries))][:-1]
    return functional.embedding_bag(flat, table, torch.tensor(starts, device=device), mode="sum")


def _lengths(visits: Sequence[Encoded]) -> list[int]:
    return [len(visit.diagnoses) for visit in visits]


def _padded(
    lengths: Sequence[int], longest: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (visits * longest,) rows, right-aligned, and (visits, longest) which are there."""
    ends = torch.tensor(list(accumulate(lengths)), device=device).unsqueeze(1)
    back = torch.arange(longest, 0, -1, device=device)
    present = back <= torch.tensor(lengths, device=device).unsqueeze(1)
    return (ends - back).clamp_min(0).flatten(), present
