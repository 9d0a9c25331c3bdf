"""LoRA's linear layers in one step each, for training.

    replace_forward(network)

PEFT works out `W x`, `B A x`, the scaled `B A x` and the sum one after another, and rounds an input
again for each of the layers that read it. On a CPU most of a training step is spent moving such
copies. Here the low rank is added where `W x` lies, and an input is rounded once.

    y = W x + s B A x                                     Hu et al., arXiv 2106.09685, section 4.1
    dL/dx = Wᵀ g + Aᵀ s Bᵀ g,  dL/dA = s Bᵀ g xᵀ,  dL/dB = s g (A x)ᵀ,  with g = dL/dy
"""

from functools import partial

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


def replace_forward(network: nn.Module) -> None:
    """Give the network's plain LoRA layers the short way.

    Layers with dropout, a LoRA variant or quantized weights keep PEFT's. Call `round_once` before:
    the products are done in the frozen weights' type.
    """
    rounded = _Rounded()
    for module in network.modules():
        if _is_plain(module):
            module.forward = partial(_forward, module, rounded)


def _is_plain(module: nn.Module) -> bool:
    return (
        isinstance(module, LoraLinear)
        and type(module.base_layer) is nn.Linear
        and len(module.active_adapters) == 1
        and not module.lora_variant
        and not any(isinstance(part, nn.Dropout) for part in module.lora_dropout.values())
    )


class _Rounded:
    """The last input that was rounded: query, key and value layers read the same one."""

    def __init__(self) -> None:
        self.given: torch.Tensor | None = None
        self.rounded: torch.Tensor | None = None

    def of(self, given: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Return `given` as `dtype`; its gradient is the sum over all who asked."""
        if given.dtype == dtype:
            return given
        known = self.given is given and self.rounded.dtype == dtype
        if not known or self.rounded.requires_grad != _is_learning(given):
            self.given, self.rounded = given, given.to(dtype)
        return self.rounded


def _is_learning(given: torch.Tensor) -> bool:
    return given.requires_grad and torch.is_grad_enabled()


def _forward(module: LoraLinear, rounded: _Rounded, given: torch.Tensor) -> torch.Tensor:
    if module.merged or module.disable_adapters:
        return type(module).forward(module, given)
    base, (name,) = module.base_layer, module.active_adapters
    inputs = rounded.of(given, base.weight.dtype)
    low, high = module.lora_A[name].weight, module.lora_B[name].weight
    return _AdaptedLinear.apply(inputs, base.weight, base.bias, low, high, module.scaling[name])


class _AdaptedLinear(torch.autograd.Function):
    """y = W x + bias + s B A x, for frozen W (out, in) and bias, A (rank, in) and B (out, rank)."""

    @staticmethod
    def forward(ctx, inputs, weight, bias, low, high, scaling):
        rows = inputs.reshape(-1, inputs.shape[-1])
        low, scaled = low.to(rows.dtype), (high * scaling).to(rows.dtype)
        between = rows @ low.T
        output = functional.linear(rows, weight, bias).addmm_(between, scaled.T)
        ctx.save_for_backward(rows, weight, low, scaled, between)
        ctx.scaling = scaling
        return output.view(*inputs.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        rows, weight, low, scaled, between = ctx.saved_tensors
        shape = gradient.shape[:-1]
        gradient = gradient.reshape(-1, gradient.shape[-1])
        behind = gradient @ scaled
        to_inputs = None
        if ctx.needs_input_grad[0]:
            to_inputs = (gradient @ weight).addmm_(behind, low).view(*shape, -1)
        to_low = (behind.T @ rows).float()
        to_high = (gradient.T @ between).float() * ctx.scaling
        return to_inputs, None, None, to_low, to_high, None
