"""How well masked patches are filled in, on held-out images with a fixed mask per image."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mae.data.loader import Batch
from mae.data.view import View
from mae.masking import held_out_noise
from mae.model import MaskedAutoencoderViT, patch_statistics
from mae.train.device import autocast
from mae.train.stopping import Stop

# A window of the similarity index (Wang et al., 2004) is this wide: smaller images have none.
SSIM_WINDOW = 11


class Reconstruction(NamedTuple):
    """A batch filled in. Images are (N, C, H, W) in 0..1."""

    imgs: Tensor
    masked: Tensor  # masked patches in grey
    output: Tensor  # what the network makes of every patch, visible ones as well
    pasted: Tensor  # predictions where masked, the input where visible
    errors: Tensor  # (M, p*q*C) predicted minus true pixels of the masked patches
    normalised_errors: Tensor  # (M, p*q*C) the same in deviations of each true patch
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
    mean, deviation = patch_statistics(patches)
    pred = pred.float()
    if model.norm_pix_loss:
        pred = pred * deviation + mean

    def pixels(values: Tensor) -> Tensor:
        return view.restore(model.unpatchify(values)) / 255.0

    hidden = mask.bool()
    output, truth = pixels(pred), pixels(patches)
    where = model.unpatchify(hidden[..., None].expand_as(patches).float()).bool()
    return Reconstruction(
        imgs=truth,
        masked=torch.where(where, 0.5, truth),
        output=output.clamp(0, 1),
        pasted=torch.where(where, output, truth).clamp(0, 1),
        errors=model.patchify(output - truth)[hidden],
        normalised_errors=((pred - patches) / deviation)[hidden],
        loss=loss,
    )


@dataclass
class ErrorSums:
    """Running sums of errors, in double precision, and what they come to."""

    count: int = 0
    total: float = 0.0
    absolute: float = 0.0
    squares: float = 0.0

    def add(self, errors: Tensor) -> None:
        errors = errors.double()
        self.count += errors.numel()
        self.total += errors.sum().item()
        self.absolute += errors.abs().sum().item()
        self.squares += errors.square().sum().item()

    def metrics(self, prefix: str) -> dict[str, float]:
        """Mean squared error, its root, mean absolute error and standard deviation."""
        mse = self.squares / self.count
        return {
            f"{prefix}_mse": mse,
            f"{prefix}_rmse": math.sqrt(mse),
            f"{prefix}_mae": self.absolute / self.count,
            f"{prefix}_sd": math.sqrt(max(0.0, mse - (self.total / self.count) ** 2)),
        }


def reconstruction_metrics(
    model: MaskedAutoencoderViT,
    batches: Iterable[Batch],
    view: View,
    mask_ratio: float,
    precision: torch.dtype,
    stop: Stop,
) -> dict[str, float]:
    """Errors over all masked pixels of all images, in 0..1 and in deviations of their patches.

    PSNR in dB; SSIM is the mean over images with the predictions pasted in.
    """
    errors, normalised = ErrorSums(), ErrorSums()
    images, loss, ssim = 0, 0.0, 0.0
    with_ssim = min(view.size) >= SSIM_WINDOW
    for batch in batches:
        stop.check()
        done = reconstruct(model, batch, view, mask_ratio, precision)
        errors.add(done.errors)
        normalised.add(done.normalised_errors)
        loss += done.loss.item() * len(batch.imgs)
        images += len(batch.imgs)
        if with_ssim:
            ssim += structural_similarity(done.pasted, done.imgs).double().sum().item()
    found = errors.metrics("reconstruction")
    mse = found["reconstruction_mse"]
    return {
        "reconstruction_loss": loss / images,
        **found,
        "reconstruction_psnr": 10 * math.log10(1 / mse) if mse else math.inf,
        **({"reconstruction_ssim": ssim / images} if with_ssim else {}),
        **normalised.metrics("reconstruction_normalised"),
    }


def structural_similarity(ours: Tensor, truth: Tensor) -> Tensor:
    """SSIM of each image (N,), at most 1: Gaussian windows of deviation 1.5 that lie within it."""
    # Loading it takes seconds.
    from torchmetrics.functional.image import structural_similarity_index_measure

    _, everywhere = structural_similarity_index_measure(
        ours, truth, data_range=1.0, reduction="none", return_full_image=True
    )
    # The library counts windows beyond the border as well, on the image mirrored there.
    edge = SSIM_WINDOW // 2
    return everywhere[..., edge:-edge, edge:-edge].mean(dim=(1, 2, 3))
