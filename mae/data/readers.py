"""Training images a batch at a time, ahead of their use: decoded files, and cuts of a store."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from mae.data.augment import central_boxes, random_boxes, random_flips
from mae.data.crop import AS_IT_LIES, UNREADABLE, Box, Turn, cut, opened, resized, turn_of
from mae.data.sources import Files
from mae.data.store import Packed
from mae.data.view import View

OPEN_FILES = 64


class Place(NamedTuple):
    """A sample in an epoch; without an epoch it is seen plainly: central crop, no flip."""

    epoch: int | None
    sample: int


Seen = tuple[Place, Tensor | None]
# The batches to come: an epoch, or None for a plain view, and the samples (N,) of each.
Plan = Iterable[tuple[int | None, NDArray[np.int64]]]
# What else is done to a training image: epoch, sample and cropped pixels (C, h, w) uint8 to pixels.
Augment = Callable[[int, int, Tensor], Tensor]


def crops(
    view: View, seed: int, epoch: int | None, samples: NDArray[np.int64], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Boxes (N, 4) and flips (N,) of samples whose heights and widths are `sizes` (N, 2)."""
    if epoch is None:
        return central_boxes(sizes, view.aspect, view.central), np.zeros(len(samples), dtype=bool)
    boxes = random_boxes(seed, epoch, samples, sizes, view.crop_scale, view.crop_ratio)
    return boxes, random_flips(seed, epoch, samples) & view.flip


class Decoder(Dataset[list[Seen]]):
    """Decodes, crops and resizes files: (C, h, w) uint8, or None where that is impossible."""

    def __init__(
        self, images: Files, view: View, seed: int, augment: Augment | None = None
    ) -> None:
        self.images, self.view, self.seed, self.augment = images, view, seed, augment
        # Not the paths: to look at one is to write to its page, and each process that reads ahead
        # would come to have a copy of them all.
        names = [os.fsencode(path) for path in images.paths]
        self.names = b"".join(names)
        self.ends = np.cumsum([len(name) for name in names])
        self.mode = "L" if view.channels == 1 else "RGB"

    def __getitems__(self, places: list[Place]) -> list[Seen]:
        """A batch, all of one epoch; a few files at a time are open."""
        parts = (places[n : n + OPEN_FILES] for n in range(0, len(places), OPEN_FILES))
        return _augmented([seen for part in parts for seen in self._decoded(part)], self.augment)

    def _decoded(self, places: list[Place]) -> Iterator[Seen]:
        with ExitStack() as files:
            # Opening reads sizes only. Then all crops are drawn at once: one alone takes as long.
            images = [_opened(self._name(place.sample), files) for place in places]
            turns = [turn_of(i) if i and self.view.upright else AS_IT_LIES for i in images]
            both = list(zip(images, turns, strict=True))
            sizes = np.array([turn.sides(i.size[::-1]) if i else (1, 1) for i, turn in both])
            samples = np.array([place.sample for place in places])
            boxes, flips = crops(self.view, self.seed, places[0].epoch, samples, sizes)
            for place, (image, turn), box, flip in zip(
                places, both, boxes.tolist(), flips, strict=True
            ):
                yield place, image and self._pixels(image, turn, box, bool(flip))

    def _name(self, sample: int) -> bytes:
        return self.names[self.ends[sample - 1] if sample else 0 : self.ends[sample]]

    def _pixels(self, image: Image.Image, turn: Turn, box: Box, flip: bool) -> Tensor | None:
        size = self.view.size
        try:
            part, edges = cut(image, box, size, self.mode, turn)
        except UNREADABLE:
            return None
        if edges == (0, 0, *part.size):
            pixels = resize(torch.from_numpy(np.array(part).reshape(*part.size[::-1], -1)), size)
        else:
            pixels = torch.from_numpy(np.array(resized(part, edges, size).transpose(2, 0, 1)))
        return pixels.flip(2) if flip else pixels


def _opened(name: bytes, files: ExitStack) -> Image.Image | None:
    try:
        return files.enter_context(opened(os.fsdecode(name)))
    except UNREADABLE:
        return None


class Cutter:
    """Crops and resizes images of a packed store, a batch at a time."""

    def __init__(self, images: Packed, view: View, seed: int) -> None:
        self.images, self.view, self.seed = images, view, seed

    def cut(self, epoch: int | None, samples: NDArray[np.int64], into: Tensor) -> None:
        """Write the samples (N,) to `into`: (N, C, h, w) uint8 with the store's channels."""
        sizes = self.images.sizes[samples]
        boxes, flips = crops(self.view, self.seed, epoch, samples, sizes)
        for place, sample, box, flip in zip(
            into.numpy(), samples.tolist(), boxes.tolist(), flips.tolist(), strict=True
        ):
            top, left, height, width = box
            part = self.images.image(sample)[top : top + height, left : left + width]
            seen = resize(torch.from_numpy(part), self.view.size).numpy()
            place[:] = seen[..., ::-1] if flip else seen


def _augmented(seen: list[Seen], augment: Augment | None) -> list[Seen]:
    if augment is None:
        return seen
    return [
        (place, pixels if pixels is None else augment(place.epoch or 0, place.sample, pixels))
        for place, pixels in seen
    ]


def resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels (H, W, C) uint8 as (C, h, w) of `size`, bicubic.

    On bytes torch has vector code of its own: four times Pillow's speed, and at most two grey
    levels beside it.
    """
    return F.interpolate(pixels.permute(2, 0, 1)[None], size, mode="bicubic", antialias=True)[0]
