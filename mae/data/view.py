"""How images become the network's input: its size and channels, the crops, the normalisation."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=16)
def _by_channel(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers (C, 1, 1) on a device, sent there once: each time a GPU would be waited for."""
    with torch.inference_mode(False):  # the first to ask must not decide what others can do
        return torch.tensor(values, dtype=dtype, device=device).view(-1, 1, 1)


@dataclass(frozen=True)
class View:
    """How images become the network's input."""

    size: tuple[int, int]  # height, width
    channels: int
    crop_scale: tuple[float, float]
    crop_ratio: tuple[float, float]
    flip: bool
    mean: tuple[float, ...]  # per channel, for pixels in 0..1
    std: tuple[float, ...]
    upright: bool = False  # files are turned as their EXIF says
    central: float = 1.0  # the share of an image's sides that a plain crop takes

    @property
    def aspect(self) -> tuple[float, float]:
        """Width over height, as the range that a plain crop keeps within."""
        aspect = self.size[1] / self.size[0]
        return aspect, aspect

    def normalise(self, pixels: Tensor) -> Tensor:
        """Network input (N, C, H, W) float32 of pixels in 0..255, bytes or whole floats."""
        mean, std = (
            _by_channel(values, torch.float32, pixels.device) for values in (self.mean, self.std)
        )
        # In place, but for the first: a batch's fresh memory costs more than its arithmetic.
        return (pixels / 255.0).sub_(mean).div_(std)

    def restore(self, imgs: Tensor) -> Tensor:
        """Pixels (N, C, H, W) in 0..255, as floats, of network input: the inverse."""
        mean, std = (_by_channel(v, imgs.dtype, imgs.device) for v in (self.mean, self.std))
        return (imgs * std + mean) * 255.0
