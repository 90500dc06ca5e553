"""Batches of images on a device: which samples, cropped how, decoded where."""

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mae.data.augment import central_boxes, random_boxes, random_flips
from mae.data.resample import resample
from mae.data.sources import Arrays, Files, Images
from mae.draws import order
from mae.errors import BadInput


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

    def normalise(self, pixels: Tensor) -> Tensor:
        """Network input of pixels (N, C, H, W) in 0..255."""
        mean, std = (pixels.new_tensor(v).view(-1, 1, 1) for v in (self.mean, self.std))
        return (pixels / 255.0 - mean) / std

    def restore(self, imgs: Tensor) -> Tensor:
        """Pixels (N, C, H, W) in 0..255, as floats, of network input: the inverse."""
        mean, std = (imgs.new_tensor(v).view(-1, 1, 1) for v in (self.mean, self.std))
        return (imgs * std + mean) * 255.0


class Batch(NamedTuple):
    """Images ready for the network, and which ones they are."""

    epoch: int
    samples: np.ndarray  # (N,) indices into the split
    imgs: Tensor  # (N, C, H, W) float32, normalised, on the device
    unreadable: tuple[Path, ...] = ()


class Place(NamedTuple):
    """A sample in an epoch; without an epoch it is seen plainly: central crop, no flip."""

    epoch: int | None
    sample: int


def steps_per_epoch(images: Images, batch_size: int) -> int:
    """Whole batches in an epoch; what is left over waits for another epoch's order."""
    if len(images) < batch_size:
        raise BadInput(
            f"recipe.batch_size {batch_size} is larger than the {len(images)} training images; "
            "lower it"
        )
    return len(images) // batch_size


def training_batches(
    images: Images, view: View, seed: int, batch_size: int, steps: range, device: torch.device,
    workers: int,
) -> Iterator[Batch]:  # fmt: skip
    """The batches of these steps: a pure function of the arguments, whatever the workers."""
    per_epoch = steps_per_epoch(images, batch_size)
    shuffled = lru_cache(maxsize=2)(lambda epoch: order(seed, epoch, len(images)))

    def plan() -> Iterator[tuple[int, np.ndarray]]:
        for step in steps:
            epoch, position = divmod(step, per_epoch)
            yield epoch, shuffled(epoch)[position * batch_size : (position + 1) * batch_size]

    if isinstance(images, Arrays):
        store = _store(images, view, device)
        sizes = np.tile(images.pixels.shape[2:], (batch_size, 1))
        for epoch, samples in plan():
            boxes = random_boxes(seed, epoch, samples, sizes, view.crop_scale, view.crop_ratio)
            flips = random_flips(seed, epoch, samples) & view.flip
            yield Batch(epoch, samples, _cropped(store, samples, boxes, flips, view))
    else:
        places = ([Place(epoch, int(s)) for s in samples] for epoch, samples in plan())
        yield from _decoded(Decoder(images, view, seed), places, device, workers)


def plain_batches(
    images: Images, view: View, batch_size: int, device: torch.device, workers: int
) -> Iterator[Batch]:
    """All images in order, centrally cropped; unreadable ones are left out of their batch."""
    chunks = np.split(np.arange(len(images)), range(batch_size, len(images), batch_size))
    if isinstance(images, Arrays):
        store = _store(images, view, device)
        box = central_boxes(np.array([images.pixels.shape[2:]]), _aspect(view))
        for samples in chunks:
            boxes = np.repeat(box, len(samples), axis=0)
            flips = np.zeros(len(samples), dtype=bool)
            yield Batch(0, samples, _cropped(store, samples, boxes, flips, view))
    else:
        places = ([Place(None, int(s)) for s in samples] for samples in chunks)
        yield from _decoded(Decoder(images, view, seed=0), places, device, workers)


def reporting(
    batches: Iterable[Batch], note: Callable[[str], None], seen: set[Path] | None = None
) -> Iterator[Batch]:
    """The same batches; every unreadable image that is not in `seen` is noted once."""
    seen = set() if seen is None else seen
    for batch in batches:
        for path in sorted(set(batch.unreadable) - seen):
            note(f"{path}: not a readable image; left out")
        seen.update(batch.unreadable)
        yield batch


class Decoder(Dataset[tuple[Place, np.ndarray | None]]):
    """Decodes, crops and resizes files: (C, h, w) uint8, or None where that is impossible."""

    def __init__(self, images: Files, view: View, seed: int) -> None:
        if view.channels not in (1, 3):
            raise BadInput(
                f"model.channels is {view.channels}, but image files have 1 or 3; change it"
            )
        self.images, self.view, self.seed = images, view, seed

    def __getitem__(self, place: Place) -> tuple[Place, np.ndarray | None]:
        try:
            with Image.open(self.images.paths[place.sample]) as file:
                image = file.convert("L" if self.view.channels == 1 else "RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return place, None
        (top, left, height, width), flip = self._crop(place, np.array([image.size[::-1]]))
        image = image.crop((left, top, left + width, top + height))
        image = image.resize(self.view.size[::-1], Image.Resampling.BICUBIC)
        pixels = np.asarray(image).reshape(*self.view.size, -1).transpose(2, 0, 1)
        return place, np.ascontiguousarray(pixels[:, :, ::-1] if flip else pixels)

    def _crop(self, place: Place, size: np.ndarray) -> tuple[list[int], bool]:
        if place.epoch is None:
            return central_boxes(size, _aspect(self.view))[0].tolist(), False
        key = (self.seed, place.epoch, [place.sample])
        boxes = random_boxes(*key, size, self.view.crop_scale, self.view.crop_ratio)
        return boxes[0].tolist(), bool(random_flips(*key)[0]) and self.view.flip


def _decoded(
    decoder: Decoder, places: Iterator[list[Place]], device: torch.device, workers: int
) -> Iterator[Batch]:
    loader = DataLoader(
        decoder,
        batch_sampler=places,
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_ignore_signals,
        pin_memory=device.type == "cuda",
    )
    for epoch, samples, pixels, bad in loader:
        imgs = decoder.view.normalise(pixels.to(device, non_blocking=True).float())
        yield Batch(epoch, samples, imgs, tuple(decoder.images.paths[s] for s in bad))


def _collate(
    items: Sequence[tuple[Place, np.ndarray | None]],
) -> tuple[int, np.ndarray, Tensor, list[int]]:
    epoch = items[0][0].epoch
    good = [(place.sample, pixels) for place, pixels in items if pixels is not None]
    bad = [place.sample for place, pixels in items if pixels is None]
    if not good:
        raise BadInput(f"none of {len(bad)} images in a batch can be read; check the data folder")
    if epoch is not None:
        # Another image stands in for an unreadable one, so that batches keep their size.
        good = [good[i % len(good)] for i in range(len(items))]
    samples = np.array([sample for sample, _ in good])
    return epoch or 0, samples, torch.from_numpy(np.stack([p for _, p in good])), bad


def _ignore_signals(_worker: int) -> None:
    # A supervisor signals the whole process group; the parent alone decides when to stop.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _store(images: Arrays, view: View, device: torch.device) -> Tensor:
    channels = images.pixels.shape[1]
    if channels not in (1, view.channels):
        raise BadInput(
            f"model.channels is {view.channels}, but the images have {channels}; change it"
        )
    # Copied: pixels read from a file are not writable, which torch warns of.
    return torch.from_numpy(images.pixels.copy()).to(device)


def _cropped(
    store: Tensor, samples: np.ndarray, boxes: np.ndarray, flips: np.ndarray, view: View
) -> Tensor:
    chosen, where, mirrored = (
        torch.from_numpy(a).to(store.device) for a in (samples, boxes, flips)
    )
    crops = resample(store[chosen], where, mirrored, view.size)
    return view.normalise(crops.expand(-1, view.channels, -1, -1))


def _aspect(view: View) -> tuple[float, float]:
    aspect = view.size[1] / view.size[0]
    return aspect, aspect
