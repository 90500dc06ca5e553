"""What a training step costs in arithmetic, and how much of the machine's it gets out."""

import math
import re
import time

import torch
import torch.nn.functional as F

from mae.config import ModelConfig
from mae.layers import convolved

FORWARD_AND_BACKWARD = 6  # two operations a multiply-add; the backward pass costs two forward ones
# Dense bf16 or fp16 operations a second, from NVIDIA's data sheets; the first name that fits.
PEAKS = {
    "GH200": 989e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A40": 150e12,
    "A10": 125e12,
    "RTX A6000": 155e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}
SIDE, REPEATS = 1024, 4  # of the matrix product that is timed elsewhere


def training_flops(model: ModelConfig, mask_ratio: float) -> float:
    """Operations that training on one image takes in the plain formulation, norms left out.

    A block of width d on n tokens costs 12·n·d² + 2·n²·d multiply-adds. The lean graph does a few
    percent less; the plain count is what other implementations report, too.
    """
    keep = int(model.patches * (1 - mask_ratio))
    visible, every = 1 + keep, 1 + model.patches
    pixels = math.prod(model.patch) * model.channels
    encoder = model.depth * _block(visible, model.width, model.mlp_ratio)
    decoder = model.decoder_depth * _block(every, model.decoder_width, model.mlp_ratio)
    embedding = model.patches * pixels * model.width
    between = visible * model.width * model.decoder_width
    prediction = every * model.decoder_width * pixels
    multiply_adds = encoder + decoder + embedding + between + prediction
    return FORWARD_AND_BACKWARD * multiply_adds


def _block(tokens: int, width: int, mlp_ratio: float) -> float:
    return (4 + 2 * mlp_ratio) * tokens * width**2 + 2 * tokens**2 * width


def peak_flops(device: torch.device, precision: torch.dtype) -> float:
    """Operations a second at best: by the data sheet of a known GPU, else of a matrix product.

    The latter is timed, which takes some milliseconds.
    """
    known = None
    if device.type == "cuda" and precision != torch.float32:
        known = known_peak(torch.cuda.get_device_name(device))
    return known or _matrix_product(device, precision)


def known_peak(name: str) -> float | None:
    """Operations a second by the data sheet of the GPU of this name, if it is known."""
    # Whole words: an RTX A1000 is no A100, an RTX A4000 no A40, an L40 no L4.
    fits = (peak for known, peak in PEAKS.items() if re.search(rf"\b{known}\b", name))
    return next(fits, None)


def _matrix_product(device: torch.device, precision: torch.dtype) -> float:
    a = torch.ones(SIDE, SIDE, dtype=precision, device=device)
    best = float("inf")
    for product in (F.linear, convolved) * REPEATS:  # whichever way the network is computed
        start = time.perf_counter()
        product(a, a)[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - start)
    return 2 * SIDE**3 / best
