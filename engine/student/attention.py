"""A transformer encoder of which one token's answer is read: no other is computed.

Its last layer asks one question for each sequence instead of one for each token, and its
feed-forward part sees one vector a sequence. Sequences are packed: tokens lie one after another
and `owner` says whose each is. Weights and numbers are those of `nn.TransformerEncoder`
(Vaswani et al. 2017, arXiv 1706.03762; layer norm first, Xiong et al. 2020, arXiv 2002.04745).
"""

import torch
from torch import nn
from torch.nn import functional

from engine.config import StudentRecipe


class ReadingEncoder(nn.TransformerEncoder):
    """Sequences of tokens in, the last layer's answer for one token of each out."""

    def __init__(self, recipe: StudentRecipe) -> None:
        layer = nn.TransformerEncoderLayer(
            recipe.hidden_size,
            recipe.heads,
            dim_feedforward=2 * recipe.hidden_size,
            dropout=recipe.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        super().__init__(layer, recipe.layers, enable_nested_tensor=False)

    def forward(
        self, tokens: torch.Tensor, owner: torch.Tensor, read: torch.Tensor
    ) -> torch.Tensor:
        """Map (tokens, size) to (sequences, size).

        Args:
            owner: (tokens,) int64, the number of the sequence that each token is in.
            read: (sequences,) int64, the place of the token of each that is read.
        """
        for layer in self.layers[:-1]:
            tokens = _every_token(layer, tokens, owner)
        last = self.layers[-1]
        (ask, show, tell), heads = projections(last), last.self_attn.num_heads
        normed = last.norm1(tokens)
        queries = functional.linear(normed[read], *ask)[owner]
        keys, values = functional.linear(normed, *show), functional.linear(normed, *tell)
        scores = (queries * keys).unflatten(1, (heads, -1)).sum(dim=2) * scale(last)
        return finish(last, tokens[read], attend(last, scores, values, owner, len(read)))

    def read_sets(
        self, start: torch.Tensor, codes: torch.Tensor, places: torch.Tensor, owner: torch.Tensor
    ) -> torch.Tensor:
        """Map sets of codes to what a start token, put before each, becomes.

        With one layer a code's key and value depend on nothing but the code, and every set asks
        the same question: both are worked out once for each code, and a key is one score a head.

        Args:
            start: (sets, size) the start token, repeated.
            codes: (codes, size) embeddings.
            places: (entries,) int64, which of the codes each entry of a set is.
            owner: (entries,) int64, the number of the set that each entry is in.
        """
        every = torch.arange(len(start), device=owner.device)
        owner = torch.cat([every, owner])
        if len(self.layers) > 1:
            return self(torch.cat([start, codes[places]]), owner, every)
        layer = self.layers[0]
        normed = layer.norm1(torch.cat([start[:1], codes]))
        scores, values = scores_and_values(layer, normed)
        places = torch.cat([torch.zeros_like(every), places + 1])
        scores, values = functional.embedding(places, scores), functional.embedding(places, values)
        return finish(layer, start, attend(layer, scores, values, owner, len(start)))


def projections(layer: nn.TransformerEncoderLayer) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return weight and bias of the queries, of the keys and of the values."""
    attention = layer.self_attn
    return list(
        zip(attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), strict=True)
    )


def scale(layer: nn.TransformerEncoderLayer) -> float:
    """Return what dot products are multiplied with: one over the root of a head's width."""
    return layer.self_attn.head_dim**-0.5


def scores_and_values(
    layer: nn.TransformerEncoderLayer, normed: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (tokens, heads) scores, by the question of the first token, and (tokens, size) values.

    The bias of the keys adds the same to every score, which the softmax does not see.
    """
    ask, show, tell = projections(layer)
    heads = layer.self_attn.num_heads
    query = functional.linear(normed[:1], *ask).view(heads, 1, -1)
    sight = (query @ show[0].unflatten(0, (heads, -1))).squeeze(1)  # (heads, size)
    return functional.linear(normed, sight * scale(layer)), functional.linear(normed, *tell)


def attend(
    layer: nn.TransformerEncoderLayer,
    scores: torch.Tensor,
    values: torch.Tensor,
    owner: torch.Tensor,
    sequences: int,
) -> torch.Tensor:
    """Return (sequences, size): the softmax within each sequence, and what it sees.

    Args:
        scores, values: (tokens, heads) scaled dot products and (tokens, size).
    """
    heads = scores.shape[1]
    with torch.no_grad():
        index = owner.unsqueeze(1).expand_as(scores)
        highest = scores.new_full((sequences, heads), -torch.inf)
        highest = highest.scatter_reduce(0, index, scores, "amax")[owner]
    weights = (scores - highest).exp()
    total = weights.new_zeros(sequences, heads).index_add(0, owner, weights)
    weights = functional.dropout(weights, layer.self_attn.dropout, layer.training)
    seen = (values.unflatten(1, (heads, -1)) * weights.unsqueeze(2)).flatten(1)
    seen = seen.new_zeros(sequences, seen.shape[1]).index_add(0, owner, seen)
    return (seen.unflatten(1, (heads, -1)) / total.unsqueeze(2)).flatten(1)


def finish(
    layer: nn.TransformerEncoderLayer, asked: torch.Tensor, seen: torch.Tensor
) -> torch.Tensor:
    """Return (sequences, size): what follows attention, for the token `asked` of each sequence."""
    answer = asked + layer.dropout1(layer.self_attn.out_proj(seen))
    inner = layer.dropout(layer.activation(layer.linear1(layer.norm2(answer))))
    return answer + layer.dropout2(layer.linear2(inner))


def _every_token(
    layer: nn.TransformerEncoderLayer, tokens: torch.Tensor, owner: torch.Tensor
) -> torch.Tensor:
    """Run a whole layer: the sequences are padded for it and packed again."""
    lengths = torch.bincount(owner)
    order = owner.argsort(stable=True)
    starts = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))[:-1]
    place = torch.empty_like(owner)
    place[order] = torch.arange(len(owner), device=owner.device) - starts[owner[order]]
    padded = tokens.new_zeros(len(lengths), int(lengths.max()), tokens.shape[1])
    padded = padded.index_put((owner, place), tokens)
    columns = torch.arange(padded.shape[1], device=owner.device)
    absent = columns >= lengths.unsqueeze(1)
    return layer(padded, src_key_padding_mask=absent)[owner, place]
