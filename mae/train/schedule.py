"""The learning rate of each step, and which weights decay."""

import math
from collections.abc import Iterable
from typing import Any

from torch import nn


def learning_rate(at: float, total: float, warmup: float, peak: float, floor: float = 0.0) -> float:
    """Learning rate after `at` of `total`: linear from 0 to `peak`, then half a cosine.

    All three in steps, or all in epochs. Changes with every step, as published, and so is 0 at
    step 0 if there is a warm-up.
    """
    if at < warmup:
        return peak * at / warmup
    # An epoch that another batch size cut short may end beyond the total by a part of a step.
    done = min(1.0, (at - warmup) / (total - warmup)) if total > warmup else 1.0
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
