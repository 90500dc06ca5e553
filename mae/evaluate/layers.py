"""How fast each layer of a classifier learns, and what of it decays."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from mae.recipes import Learning

TRUST = 0.001  # LARS' trust coefficient, as published
SPARED = ("cls_token", "pos_embed")  # from weight decay, as timm's no_weight_decay has them


def layer_of(name: str, depth: int) -> int:
    """The layer that a weight belongs to, of an encoder with `depth` blocks.

    0 is the embedding, 1 to `depth` are the blocks, `depth + 1` is the head with its norm.
    """
    if name in SPARED or name.startswith("patch_embed."):
        return 0
    return int(name.split(".")[1]) + 1 if name.startswith("blocks.") else depth + 1


def layer_scales(depth: int, decay: float) -> list[float]:
    """Factor of the learning rate of each layer, 0 to `depth + 1`: decay^(depth + 1 - layer).

    Layer-wise decay as in BEiT (Bao et al., 2021), which the paper's table 9 refers to.
    """
    return [decay ** (depth + 1 - layer) for layer in range(depth + 2)]


def optimiser_of(
    named: Iterable[tuple[str, nn.Parameter]], depth: int, learning: Learning
) -> torch.optim.Optimizer:
    """The recipe's optimiser of the weights that learn; `set_rate` gives it its rate.

    Biases and norms do not decay, nor do class token and positions, nor does LARS adapt its rate
    to any weight with one dimension.
    """
    groups: dict[tuple[int, bool, bool], list[nn.Parameter]] = {}
    for name, weight in named:
        if weight.requires_grad:
            key = (layer_of(name, depth), weight.ndim > 1, name not in SPARED)
            groups.setdefault(key, []).append(weight)
    scales, lars = layer_scales(depth, learning.layer_decay), learning.optimiser == "lars"
    told: list[dict[str, Any]] = [
        {
            "params": weights,
            "scale": scales[layer],
            "weight_decay": learning.weight_decay if matrix and decays else 0.0,
            **({"always_adapt": matrix} if lars else {}),
        }
        for (layer, matrix, decays), weights in groups.items()
    ]
    if lars:
        from timm.optim import Lars

        return Lars(told, lr=0.0, momentum=learning.momentum, trust_coeff=TRUST)
    return torch.optim.AdamW(told, lr=0.0, betas=learning.betas, fused=True)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give each group its share of a learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["scale"]
