"""Which crop and flip a training image gets: pure functions of (seed, epoch, sample)."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mae.draws import uniforms

ATTEMPTS = 10


def random_boxes(
    seed: int,
    epoch: int,
    samples: ArrayLike,
    sizes: NDArray[np.integer],
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> NDArray[np.int64]:
    """Random crops, one an image: (N, 4) top, left, height, width.

    `sizes` (N, 2) are the images' heights and widths, `scale` the range of the crop's share of the
    area, `ratio` that of its width over its height. An area and a log-uniform ratio are drawn up to
    ten times until the crop fits; else the widest central crop within `ratio` is taken. The same
    distribution as torchvision's RandomResizedCrop.
    """
    draws = uniforms(seed, "crop", epoch, samples, 2 * ATTEMPTS + 2)
    height, width = sizes[:, :1].astype(float), sizes[:, 1:].astype(float)
    areas = height * width * (scale[0] + draws[:, :ATTEMPTS] * (scale[1] - scale[0]))
    logs = math.log(ratio[0]) + draws[:, ATTEMPTS : 2 * ATTEMPTS] * math.log(ratio[1] / ratio[0])
    widths = np.rint(np.sqrt(areas * np.exp(logs)))
    heights = np.rint(np.sqrt(areas / np.exp(logs)))
    fits = (widths >= 1) & (widths <= width) & (heights >= 1) & (heights <= height)

    first = fits.argmax(axis=1)[:, None]
    boxes = central_boxes(sizes, ratio)
    found = fits.any(axis=1)
    chosen_height = np.take_along_axis(heights, first, axis=1)
    chosen_width = np.take_along_axis(widths, first, axis=1)
    top = np.floor(draws[:, -2:-1] * (height - chosen_height + 1))
    left = np.floor(draws[:, -1:] * (width - chosen_width + 1))
    drawn = np.concatenate([top, left, chosen_height, chosen_width], axis=1).astype(np.int64)
    boxes[found] = drawn[found]
    return boxes


def central_boxes(
    sizes: NDArray[np.integer], ratio: tuple[float, float], share: float = 1.0
) -> NDArray[np.int64]:
    """The largest central crops whose width over height is within `ratio`: (N, 4).

    Of both their sides, only the central `share` is taken.
    """
    height, width = sizes[:, 0], sizes[:, 1]
    widths = np.clip(np.minimum(width, np.rint(height * ratio[1])), 1, None)
    heights = np.clip(np.minimum(height, np.rint(width / ratio[0])), 1, None)
    if share < 1:
        heights, widths = (np.clip(np.rint(side * share), 1, None) for side in (heights, widths))
    top, left = (height - heights) // 2, (width - widths) // 2
    return np.stack([top, left, heights, widths], axis=1).astype(np.int64)


def random_flips(seed: int, epoch: int, samples: ArrayLike) -> NDArray[np.bool_]:
    """Whether each training image is mirrored: (N,), half of them."""
    return uniforms(seed, "flip", epoch, samples, 1)[:, 0] < 0.5
