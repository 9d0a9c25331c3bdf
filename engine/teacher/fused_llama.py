"""Read prompts through a Llama-shaped language model in fewer, larger steps.

    body = fused(body)      the same answers; a model of another shape comes back as it is

On a processor a small model spends more time between its matrix products than in them: on norms,
rotations and conversions, each a pass over memory. Here queries, keys and values come from one
product, a norm is one step, a rotation one complex product, and sums go where their first term
lies. Weights are shared with the model, which stays usable by itself.
"""

import torch
from torch import nn
from torch.nn import functional
from transformers import DynamicCache, LlamaModel
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.models.llama.modeling_llama import LlamaAttention


def fused(body: nn.Module) -> nn.Module:
    """Return a reader of `body`'s weights that gives the same hidden states, or `body` itself.

    Only what is exactly a Llama model of plain linear layers is read in this way: another
    architecture may look alike and differ in a detail.
    """
    if type(body) is not LlamaModel:
        return body
    projections = [module for name, module in body.layers.named_modules() if name.endswith("_proj")]
    plain = all(type(projection) is nn.Linear for projection in projections)
    return FusedLlama(body) if plain else body


class FusedLlama(nn.Module):
    """A Llama model for inference: no gradients, no dropout, no padding on the left."""

    def __init__(self, body: LlamaModel) -> None:
        super().__init__()
        self.body = body
        self.config = body.config
        self._joint = [_join(layer.self_attn) for layer in body.layers]

    def forward(
        self,
        input_ids: torch.Tensor,
        past_key_values: DynamicCache | None = None,
        use_cache: bool = False,
        below: int = 0,
        lower_output: torch.Tensor | None = None,
    ) -> BaseModelOutputWithPast:
        """Return the last layer's output (prompts, length, hidden_size) for (prompts, length) ids.

        With `past_key_values` the tokens follow those of the cache, which grows by them. With
        `lower_output`, of the lowest `below` layers, the pass starts there and overwrites it.
        """
        states = self.body.embed_tokens(input_ids) if lower_output is None else lower_output
        before = past_key_values.get_seq_length() if past_key_values is not None else 0
        places = torch.arange(before, before + input_ids.shape[1], device=states.device)
        turns = self._turns(states, places)
        with torch.autocast(states.device.type, enabled=False):  # every conversion is below
            for layer, joint in zip(self.body.layers[below:], self._joint[below:], strict=True):
                attention, mlp = layer.self_attn, layer.mlp
                seen = _norm(layer.input_layernorm, states, joint[0].dtype)
                seen = _attend(attention, functional.linear(seen, *joint), turns, past_key_values)
                states += attention.o_proj(seen)
                seen = _norm(layer.post_attention_layernorm, states, mlp.gate_proj.weight.dtype)
                states += mlp.down_proj(mlp.act_fn(mlp.gate_proj(seen)).mul_(mlp.up_proj(seen)))
            states = _norm(self.body.norm, states, states.dtype)
        return BaseModelOutputWithPast(
            last_hidden_state=states, past_key_values=past_key_values if use_cache else None
        )

    def _turns(self, states: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Return (length, 1, head_dim / 2) complex: each place's rotation of each pair."""
        cosine, sine = self.body.rotary_emb(states, position_ids=places.unsqueeze(0))
        half = cosine.shape[-1] // 2  # the model lists every angle twice, once for each of a pair
        return torch.complex(cosine[0, :, :half].float(), sine[0, :, :half].float()).unsqueeze(1)


def _attend(
    attention: LlamaAttention, joint: torch.Tensor, turns: torch.Tensor, past: DynamicCache | None
) -> torch.Tensor:
    """Return (prompts, length, heads · head_dim): each token's look at the tokens up to it.

    `joint` is (prompts, length, (heads + 2 · key heads) · head_dim): queries, keys, values.
    """
    heads, key_heads = attention.config.num_attention_heads, attention.config.num_key_value_heads
    joint = joint.unflatten(-1, (-1, attention.head_dim))
    turned = _rotate(joint[:, :, : heads + key_heads], turns).transpose(1, 2)
    queries, keys = turned[:, :heads], turned[:, heads:]
    values = joint[:, :, heads + key_heads :].transpose(1, 2)
    if past is not None:
        keys, values = past.update(keys, values, attention.layer_idx)
    length, up_to = queries.shape[2], keys.shape[2]
    mask = None
    if length < up_to:  # behind a cache: a token sees everything up to its own place
        mask = torch.ones(length, up_to, dtype=torch.bool, device=keys.device)
        mask = mask.tril(up_to - length)
    seen = functional.scaled_dot_product_attention(
        queries,
        keys,
        values,
        attn_mask=mask,
        is_causal=mask is None,
        scale=attention.scaling,
        enable_gqa=True,
    )
    return seen.transpose(1, 2).flatten(2)


def _rotate(vectors: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Turn each head's pairs (i, i + head_dim / 2) by their angles, as rotary embeddings do.

    A pair comes out side by side. Queries and keys are both so ordered: their products are equal.
    """
    first, second = vectors.float().chunk(2, dim=-1)
    turned = torch.complex(first, second).mul_(turns)
    return torch.view_as_real(turned).flatten(-2).to(vectors.dtype)


def _norm(norm: nn.Module, states: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return each vector over its root mean square, times the norm's weights, as `dtype`.

    `torch.nn.functional.rms_norm` takes twice as long on a processor: it keeps every square.
    """
    length = torch.linalg.vector_norm(states, dim=-1, keepdim=True)
    scale = length.square_().div_(states.shape[-1]).add_(norm.variance_epsilon).rsqrt_()
    normed = torch.empty(states.shape, dtype=dtype, device=states.device)
    return torch.mul(states * scale, norm.weight, out=normed)


def _join(attention: LlamaAttention) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Lay query, key and value weights in one matrix, of which the layers keep their parts."""
    layers = attention.q_proj, attention.k_proj, attention.v_proj
    weight = torch.cat([layer.weight.data for layer in layers])
    parts = weight.split([layer.out_features for layer in layers])
    for layer, part in zip(layers, parts, strict=True):
        layer.weight.data = part
    if attention.q_proj.bias is None:
        return weight, None
    return weight, torch.cat([layer.bias.data for layer in layers])
