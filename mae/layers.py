"""Layers of timm's blocks, computed with less memory or in less time, to the same numbers.

A layer becomes one of these, and what it was again, by its class alone: its weights and their
names stay as they are.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import Mlp
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class LeanMlp(Mlp):
    """timm's, that keeps its hidden layer before the activation only, not after it as well.

    The backward pass computes the activation anew: a hundredth of a step's time for a fifth of
    what a block keeps. The activation is GELU, and nothing is dropped.
    """

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.fc1(x)
        result: Tensor
        # The compiler sees through a function of ours, and would keep the activation.
        if torch.compiler.is_compiling():
            result = checkpoint(
                self._activated, hidden, use_reentrant=False, preserve_rng_state=False
            )
        else:
            convolve = isinstance(self.fc2, ConvolvedLinear)
            result = _GeluLinear.apply(hidden, self.fc2.weight, self.fc2.bias, convolve)
        return result

    def _activated(self, hidden: Tensor) -> Tensor:
        result: Tensor = self.fc2(self.act(hidden))
        return result


class _GeluLinear(torch.autograd.Function):
    """A linear layer (O, I) on the activation of tokens (…, I), of which the tokens are kept."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, weight: Tensor, bias: Tensor, convolve: bool) -> Tensor:
        weight, bias = weight.to(tokens.dtype), bias.to(tokens.dtype)
        ctx.save_for_backward(tokens, weight)
        ctx.convolve = convolve
        return (convolved if convolve else F.linear)(F.gelu(tokens), weight, bias)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        tokens, weight = ctx.saved_tensors
        active = F.gelu(tokens).flatten(0, -2)
        grad = grad.flatten(0, -2)
        if ctx.convolve:
            of_active, of_weight, of_bias = _convolved_backward(grad, active, weight)
        else:
            of_weight, of_bias = grad.t() @ active, grad.sum(0)
            del active  # before another of its size is made
            of_active = grad @ weight
        of_tokens = torch.ops.aten.gelu_backward(of_active.view_as(tokens), tokens)
        return of_tokens, of_weight, of_bias, None


class ConvolvedLinear(nn.Linear):
    """`nn.Linear`, computed as a convolution of 1 × 1 over as many pixels as there are tokens.

    On CPUs PyTorch hands products in float32 to MKL, whose kernels for AMD's processors leave half
    of wide vector units idle, and convolutions to oneDNN, whose kernels do not.
    """

    def forward(self, x: Tensor) -> Tensor:
        return convolved(x, self.weight, self.bias)


def change_layers(model: nn.Module, before: type[nn.Module], after: type[nn.Module]) -> None:
    """Let all layers of a model that are exactly of one class be of the other."""
    for module in model.modules():
        if type(module) is before:
            module.__class__ = after


def product_of(layer: nn.Module) -> Product:
    """How a linear layer computes tokens (…, I), weight (O, I) and bias (O): (…, O)."""
    return convolved if isinstance(layer, ConvolvedLinear) else F.linear


def convolved(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """What `F.linear` gives, from a convolution: tokens (…, I), weight (O, I), bias (O): (…, O)."""
    result = F.conv2d(_pixels(x), weight[:, :, None, None], bias)
    return result.permute(0, 2, 3, 1).reshape(*x.shape[:-1], len(weight))


def _convolved_backward(grad: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of tokens (T, I), weight (O, I) and bias, from that of `convolved` (T, O)."""
    of_pixels, of_weight, of_bias = torch.ops.aten.convolution_backward(
        _pixels(grad), _pixels(x), weight[:, :, None, None], [len(weight)],
        [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [True, True, True],
    )  # fmt: skip
    return of_pixels.permute(0, 2, 3, 1).reshape(x.shape), of_weight.flatten(1), of_bias


def _pixels(x: Tensor) -> Tensor:
    """Tokens (…, I) as an image of one row, whose channels are next to each other: no copy."""
    return x.reshape(1, 1, -1, x.shape[-1]).permute(0, 3, 1, 2)  # [1, I, 1, tokens]
