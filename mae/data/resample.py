"""Crop, flip and resize a batch of images at once, each by its own box, as matrix products.

Resizing along one axis is linear, so a crop, a mirror image and an antialiased bicubic resize of an
image are `rows @ pixels @ columns.T`, with two small matrices an image. The numbers follow
Pillow's: the kernel widens with the reduction, and sees nothing beyond the crop's edge.
"""

import torch
from torch import Tensor


def resample(pixels: Tensor, boxes: Tensor, flips: Tensor, size: tuple[int, int]) -> Tensor:
    """Resized crops (N, C, h, w) float32, whole grey levels, of pixels (N, C, H, W) uint8.

    `boxes` (N, 4) are top, left, height, width in pixels; `flips` (N,) bool mirrors left to right;
    `size` is (h, w). Levels are rounded and clipped after each axis, as Pillow's bytes are; rows
    are narrowed first (Pillow chooses which axis goes first, by version and size).
    """
    boxes = boxes.to(torch.float32)
    rows = weights(boxes[:, 0], boxes[:, 2], pixels.shape[2], size[0])
    columns = weights(boxes[:, 1], boxes[:, 3], pixels.shape[3], size[1])
    columns = torch.where(flips[:, None, None], columns.flip(1), columns)
    narrowed = (pixels.to(torch.float32) @ columns.mT[:, None]).round().clamp(0, 255)
    return (rows[:, None] @ narrowed).round().clamp(0, 255)


def weights(starts: Tensor, lengths: Tensor, before: int, after: int) -> Tensor:
    """How much each pixel of an axis counts for each resized one: (N, after, before).

    `starts` and `lengths` (N,) are the crops on an axis of `before` pixels. Rows sum to 1.
    """
    device = starts.device
    scale = lengths / after  # [n]
    stretch = scale.clamp(min=1.0)
    centres = (torch.arange(after, device=device) + 0.5) * scale[:, None] + starts[:, None]
    places = torch.arange(before, device=device) + 0.5
    distances = (places - centres[:, :, None]) / stretch[:, None, None]  # [n, after, before]
    inside = (places > starts[:, None]) & (places < (starts + lengths)[:, None])
    weight = bicubic(distances) * inside[:, None, :]
    return weight / weight.sum(dim=-1, keepdim=True)


def bicubic(distance: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = -0.5, the one that Pillow uses."""
    x = distance.abs()
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
