"""How well masked patches are filled in, on held-out images with a fixed mask per image."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from mae.data.loader import Batch
from mae.data.view import View
from mae.masking import held_out_noise
from mae.model import MaskedAutoencoderViT, patch_statistics
from mae.train.device import autocast
from mae.train.stopping import Stop


class Reconstruction(NamedTuple):
    """A batch filled in. Images are (N, C, H, W) in 0..1."""

    imgs: Tensor
    masked: Tensor  # masked patches in grey
    pasted: Tensor  # predictions where masked, the input where visible
    errors: Tensor  # (M, p*q*C) predicted minus true pixels of the masked patches
    loss: Tensor  # the training loss


@torch.inference_mode()
def reconstruct(
    model: MaskedAutoencoderViT, batch: Batch, view: View, mask_ratio: float, precision: torch.dtype
) -> Reconstruction:
    """Fill in a batch. Each image's mask is its own, the same for every checkpoint and campaign.

    With norm_pix_loss the network predicts normalised patches; the true patch's mean and deviation
    turn them into pixels again, as in the paper's pictures.
    """
    device = batch.imgs.device
    noise = held_out_noise(batch.samples, model.patch_embed.num_patches).to(device)
    with autocast(device, precision):
        loss, pred, mask = model(batch.imgs, mask_ratio, noise)
    patches = model.patchify(batch.imgs)
    pred = pred.float()
    if model.norm_pix_loss:
        mean, deviation = patch_statistics(patches)
        pred = pred * deviation + mean

    def pixels(values: Tensor) -> Tensor:
        return view.restore(model.unpatchify(values)) / 255.0

    hidden = mask.bool()
    filled = pixels(torch.where(hidden[..., None], pred, patches))
    truth = pixels(patches)
    errors = model.patchify(filled - truth)[hidden]
    where = model.unpatchify(hidden[..., None].expand_as(patches).float()).bool()
    return Reconstruction(truth, torch.where(where, 0.5, truth), filled.clamp(0, 1), errors, loss)


def reconstruction_metrics(
    model: MaskedAutoencoderViT,
    batches: Iterable[Batch],
    view: View,
    mask_ratio: float,
    precision: torch.dtype,
    stop: Stop,
) -> dict[str, float]:
    """Errors over all masked pixels of all images, pixels being in 0..1; PSNR in dB."""
    count, images = 0, 0
    loss = total = absolute = squares = 0.0
    for batch in batches:
        stop.check()
        done = reconstruct(model, batch, view, mask_ratio, precision)
        errors = done.errors.double()
        count += errors.numel()
        total += errors.sum().item()
        absolute += errors.abs().sum().item()
        squares += errors.square().sum().item()
        loss += done.loss.item() * len(batch.imgs)
        images += len(batch.imgs)
    return {"reconstruction_loss": loss / images, **summarise(count, total, absolute, squares)}


def summarise(count: int, total: float, absolute: float, squares: float) -> dict[str, float]:
    """Metrics of `count` errors from the sums of them, their sizes and their squares."""
    mse = squares / count
    return {
        "reconstruction_mse": mse,
        "reconstruction_rmse": math.sqrt(mse),
        "reconstruction_mae": absolute / count,
        "reconstruction_sd": math.sqrt(max(0.0, mse - (total / count) ** 2)),
        "reconstruction_psnr": 10 * math.log10(1 / mse) if mse else math.inf,
    }
