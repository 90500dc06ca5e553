"""The paper's formulas in plain loops and float64: slow, obvious, and independent of mae."""

import math

import numpy as np


def masking(noise: np.ndarray, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Mask (N, L), 1 where masked, and ids_restore: the lowest noise stays visible."""
    count, length = noise.shape
    keep = int(length * (1 - ratio))
    mask, restore = np.ones((count, length)), np.zeros((count, length), int)
    for n in range(count):
        ranked = sorted(range(length), key=lambda patch: noise[n, patch])
        for place, patch in enumerate(ranked):
            restore[n, patch] = place
            if place < keep:
                mask[n, patch] = 0
    return mask, restore


def patchify(img: np.ndarray, p: int, q: int) -> np.ndarray:
    """One image (C, H, W) as (L, p*q*C): patches row by row, in each row, column, channel."""
    channels, height, width = img.shape
    patches = []
    for top in range(0, height, p):
        for left in range(0, width, q):
            patches.append(
                [
                    img[c, top + i, left + j]
                    for i in range(p)
                    for j in range(q)
                    for c in range(channels)
                ]
            )
    return np.array(patches)


def position(width: int, rows: int, columns: int) -> np.ndarray:
    """(1 + rows * columns, width): zeros, then half the channels for x and half for y."""
    quarter = width // 4
    table = [[0.0] * width]
    for y in range(rows):
        for x in range(columns):
            line = []
            for coordinate in (x, y):
                angles = [coordinate / 10000 ** (k / quarter) for k in range(quarter)]
                line += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
            table.append(line)
    return np.array(table)


def unpatchify(patches: np.ndarray, channels: int, rows: int, p: int, q: int) -> np.ndarray:
    """Patches (L, p*q*C) of one image, `rows` of them in a column, as (C, H, W)."""
    columns = len(patches) // rows
    img = np.zeros((channels, rows * p, columns * q))
    for number, patch in enumerate(patches):
        top, left = number // columns * p, number % columns * q
        for place, value in enumerate(patch):
            pixel, channel = place // channels, place % channels
            img[channel, top + pixel // q, left + pixel % q] = value
    return img


def pixel_loss(
    imgs: np.ndarray, pred: np.ndarray, mask: np.ndarray, p: int, q: int, normalised: bool
) -> float:
    """Loss of images (N, C, H, W) with prediction (N, L, p*q*C) and mask (N, L): section 3.

    The mean over the masked patches of all images together, each the mean over its pixels.
    """
    total = count = 0.0
    for img, guesses, masked in zip(imgs, pred, mask, strict=True):
        for patch, guess, counts in zip(patchify(img, p, q), guesses, masked, strict=True):
            target = list(patch)
            if normalised:
                mean = sum(patch) / len(patch)
                variance = sum((v - mean) ** 2 for v in patch) / (len(patch) - 1)
                target = [(v - mean) / math.sqrt(variance + 1e-6) for v in patch]
            error = sum((g - t) ** 2 for g, t in zip(guess, target, strict=True)) / len(patch)
            total += error * counts
            count += counts
    return total / count


def learning_rate(
    epoch: float, epochs: float, warmup: float, peak: float, floor: float = 0.0
) -> float:
    """The published schedule, as a function of the (fractional) epoch."""
    if epoch < warmup:
        return peak * epoch / warmup
    share = (1 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup))) / 2
    return floor + (peak - floor) * share


def decayed(shapes: dict[str, tuple[int, ...]], frozen: set[str]) -> tuple[set[str], set[str]]:
    """Names of the weights that decay, and of those spared: biases and norms, all 1-D."""
    shrinking, spared = set(), set()
    for name, shape in shapes.items():
        if name in frozen:
            continue
        (spared if len(shape) == 1 else shrinking).add(name)
    return shrinking, spared


def bicubic_axis(line: np.ndarray, after: int) -> np.ndarray:
    """One axis resized as Pillow's documentation has it: a = -0.5, widened when it shrinks."""
    scale = len(line) / after
    stretch = max(scale, 1.0)
    out = []
    for k in range(after):
        centre = (k + 0.5) * scale
        weights = []
        for place in range(len(line)):
            x = abs(place + 0.5 - centre) / stretch
            if x < 1:
                weights.append(1.5 * x**3 - 2.5 * x**2 + 1)
            elif x < 2:
                weights.append(-0.5 * x**3 + 2.5 * x**2 - 4 * x + 2)
            else:
                weights.append(0.0)
        out.append(sum(w * v for w, v in zip(weights, line, strict=True)) / sum(weights))
    return np.array(out)


def structural_similarity(x: np.ndarray, y: np.ndarray) -> float:
    """SSIM of two images (C, H, W) in 0..1 (Wang et al., 2004): the mean over whole windows."""
    radius, sigma = 5, 1.5
    offsets = np.arange(-radius, radius + 1)
    line = np.exp(-(offsets**2) / (2 * sigma**2))
    weights = np.outer(line, line) / line.sum() ** 2
    c1, c2 = 0.01**2, 0.03**2
    found = []
    for channel in range(x.shape[0]):
        for row in range(radius, x.shape[1] - radius):
            for column in range(radius, x.shape[2] - radius):
                window = (
                    channel,
                    slice(row - radius, row + radius + 1),
                    slice(column - radius, column + radius + 1),
                )
                a, b = x[window].astype(np.float64), y[window].astype(np.float64)
                mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
                var_a = (weights * (a - mean_a) ** 2).sum()
                var_b = (weights * (b - mean_b) ** 2).sum()
                both = (weights * (a - mean_a) * (b - mean_b)).sum()
                found.append(
                    (2 * mean_a * mean_b + c1)
                    * (2 * both + c2)
                    / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
                )
    return float(np.mean(found))
