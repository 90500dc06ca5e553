"""What the encoder makes of whole images."""

from collections.abc import Iterable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mae.data.loader import Batch
from mae.model import MaskedAutoencoderViT
from mae.train.device import autocast
from mae.train.stopping import Stop


@torch.inference_mode()
def features(
    model: MaskedAutoencoderViT,
    batches: Iterable[Batch],
    precision: torch.dtype,
    stop: Stop,
    pool: Literal["mean", "cls"] = "mean",
) -> tuple[Tensor, np.ndarray]:
    """Features (N, D) float32 of all images, and which samples (N,) they are of.

    The mean of the patch tokens: nothing in pretraining asks the class token to mean anything. Or
    that token all the same.
    """
    found: list[Tensor] = []
    samples: list[np.ndarray] = []
    for batch in batches:
        stop.check()
        with autocast(batch.imgs.device, precision):
            tokens = model.forward_features(batch.imgs)
        found.append(tokens[:, 1:].float().mean(dim=1) if pool == "mean" else tokens[:, 0].float())
        samples.append(batch.samples)
    return torch.cat(found), np.concatenate(samples)
