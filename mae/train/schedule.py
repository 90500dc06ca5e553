"""The learning rate of each step, and which weights decay."""

import math
from collections.abc import Iterable
from typing import Any

from torch import nn


def learning_rate(step: int, total: int, warmup: float, peak: float, floor: float = 0.0) -> float:
    """Learning rate of `step` (from 0) of `total`: linear from 0 to `peak`, then half a cosine.

    Changes with every step, as published, and so is 0 at step 0 if there is a warm-up.
    """
    if step < warmup:
        return peak * step / warmup
    done = (step - warmup) / (total - warmup)
    return floor + (peak - floor) * 0.5 * (1.0 + math.cos(math.pi * done))


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]], weight_decay: float
) -> list[dict[str, Any]]:
    """AdamW's groups: only 1-D weights (biases and norms) are spared from decay.

    The class and mask tokens have three dimensions, and so decay, as published.
    """
    trained = [weight for _, weight in named if weight.requires_grad]
    return [
        {"params": [w for w in trained if w.ndim <= 1], "weight_decay": 0.0},
        {"params": [w for w in trained if w.ndim > 1], "weight_decay": weight_decay},
    ]
