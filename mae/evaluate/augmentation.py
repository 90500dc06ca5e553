"""RandAugment, random erasing, mixup and cutmix: timm's, with draws that depend on the step alone.

timm draws from the generators that all of a process shares. They are seeded for each image or
part of a batch, and given back as they were, so that nothing depends on what came before.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mae.data.view import View
from mae.draws import seed_for
from mae.recipes import Augmentation

# At 10, where a deviation of .5 around 9 ends up once in 40 draws, timm posterizes to no bits at
# all, which Pillow 13 refuses.
MOST = 9.99
TRANSLATION = 0.45  # of the shorter side at most, as timm's create_transform has it


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A block in which Python's and numpy's generators start from a seed of 32 bits."""
    before, before_numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(before_numpy)


@contextmanager
def all_seeded(seed: int, device: torch.device) -> Iterator[None]:
    """A block in which torch's generators on the CPU and `device` start from a seed as well."""
    devices = [device] if device.type == "cuda" else []
    with seeded(seed), torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@dataclass(frozen=True)
class RandAugment:
    """timm's RandAugment (Cubuk et al., 2019) of a training image: epoch, sample, pixels to pixels.

    Two operations an image, each done with probability .5, growing with the magnitude, as the
    published "rand-m9-mstd0.5-inc1".
    """

    seed: int
    magnitude: int
    deviation: float
    view: View

    def __call__(self, epoch: int, sample: int, pixels: Tensor) -> Tensor:
        """Pixels (C, h, w) uint8, grey or colour, as they are to be learnt from."""
        grey = len(pixels) == 1
        array = pixels.permute(1, 2, 0).numpy()
        image = Image.fromarray(np.ascontiguousarray(array[..., 0] if grey else array))
        with seeded(seed_for(self.seed, "rand-augment", epoch, sample)):
            image = (self._grey if grey else self._colour)(image)
        return torch.from_numpy(np.array(image).reshape(array.shape)).permute(2, 0, 1)

    @cached_property
    def _grey(self) -> Callable[[Image.Image], Image.Image]:
        return self._transform(_level(self.view.mean[0]))

    @cached_property
    def _colour(self) -> Callable[[Image.Image], Image.Image]:
        return self._transform(tuple(map(_level, self.view.mean)))

    def _transform(self, background: int | tuple[int, ...]) -> Callable[[Image.Image], Image.Image]:
        from timm.data.auto_augment import rand_augment_transform

        return rand_augment_transform(
            f"rand-m{self.magnitude}-mstd{self.deviation}-inc1",
            {
                "translate_const": int(TRANSLATION * min(self.view.size)),
                "img_mean": background,
                "interpolation": Image.Resampling.BICUBIC,
                "magnitude_max": MOST,
            },
        )


def _level(share: float) -> int:
    return min(255, round(255 * share))


def erased_and_mixed(
    imgs: Tensor, labels: Tensor, augmentation: Augmentation, classes: int
) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W), which are changed, and targets (N, K) as the recipe makes them.

    Erased pixels become noise; one draw of mixup or cutmix is for all N images. To be called
    with all generators seeded.
    """
    if augmentation.erase:
        from timm.data.random_erasing import RandomErasing

        imgs = RandomErasing(augmentation.erase, mode="pixel", device=imgs.device)(imgs)
    if augmentation.mixes:
        from timm.data.mixup import Mixup

        mix = Mixup(
            mixup_alpha=augmentation.mixup,
            cutmix_alpha=augmentation.cutmix,
            label_smoothing=augmentation.label_smoothing,
            num_classes=classes,
        )
        return mix(imgs, labels)
    smoothing = augmentation.label_smoothing
    return imgs, F.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
