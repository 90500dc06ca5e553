"""Layers of timm's blocks, computed with less memory or in less time, to the same numbers.

A layer becomes one of these, and what it was again, by its class alone: its weights and their
names stay as they are.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from timm.layers import Mlp
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class LeanMlp(Mlp):
    """timm's, that keeps its hidden layer before the activation only, not after it as well.

    The backward pass computes the activation anew: a hundredth of a step's time for a fifth of
    what a block keeps.
    """

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.fc1(x)
        if not torch.is_grad_enabled():
            return self._activated(hidden)
        result: Tensor = checkpoint(
            self._activated, hidden, use_reentrant=False, preserve_rng_state=False
        )
        return result

    def _activated(self, hidden: Tensor) -> Tensor:
        result: Tensor = self.fc2(self.act(hidden))
        return result


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
    pixels = x.reshape(1, 1, -1, x.shape[-1]).permute(0, 3, 1, 2)  # [1, I, 1, tokens], no copy
    result = F.conv2d(pixels, weight[:, :, None, None], bias)
    return result.permute(0, 2, 3, 1).reshape(*x.shape[:-1], len(weight))
