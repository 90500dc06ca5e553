"""Batches of images on a device: which samples, in which order, cropped where."""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mae.data.ahead import ahead, pieces_of, results_ahead
from mae.data.course import Course
from mae.data.pieces import read_ahead
from mae.data.readers import Augment, Cutter, Decoder, Plan, crops
from mae.data.resample import resample
from mae.data.sources import Arrays, Files, Images
from mae.data.store import Packed
from mae.data.view import View
from mae.draws import order
from mae.errors import BadInput


class Batch(NamedTuple):
    """Images ready for the network, and which ones they are."""

    epoch: int
    samples: np.ndarray  # (N,) indices into the split
    imgs: Tensor  # (N, C, H, W) float32, normalised, on the device
    unreadable: tuple[Path, ...] = ()


def check_view(images: Images, view: View) -> None:
    """Raise BadInput unless images of this kind can be seen so; grey ones fit any network."""
    if isinstance(images, Files):
        fits, have = view.channels in (1, 3), "image files have 1 or 3"
    else:
        fits, have = images.channels in (1, view.channels), f"the images have {images.channels}"
    if not fits:
        raise BadInput(f"model.channels is {view.channels}, but {have}; change it")
    if isinstance(images, Packed) and images.upright != view.upright:
        how = "with" if images.upright else "without"
        raise BadInput(
            f"{images.root}: packed {how} --upright, and data.upright is "
            f"{str(view.upright).lower()}; pack it anew, or set that otherwise in a new campaign"
        )


def training_batches(
    images: Images, view: View, seed: int, course: Course, steps: Iterable[int],
    device: torch.device, workers: int, share: slice = slice(None), parts: int = 1,
    augment: Augment | None = None,
) -> Iterator[Batch]:  # fmt: skip
    """The batches of these steps, or a share of each: a pure function, whatever the workers.

    Each comes in so many equal parts, one after the other.
    """
    shuffled = lru_cache(maxsize=2)(lambda epoch: order(seed, epoch, len(images)))

    def plan() -> Iterator[tuple[int | None, np.ndarray]]:
        for step in steps:
            epoch, offset = course.place(step)
            samples = shuffled(epoch)[offset : offset + course.batch_size][share]
            yield from ((epoch, part) for part in np.split(samples, parts))

    yield from _batches(images, view, seed, plan(), device, workers, augment)


def plain_batches(
    images: Images, view: View, batch_size: int, device: torch.device, workers: int
) -> Iterator[Batch]:
    """All images in order, centrally cropped; unreadable ones are left out of their batch.

    One may be left with none: `reporting` passes over it.
    """
    chunks = np.split(np.arange(len(images)), range(batch_size, len(images), batch_size))
    yield from _batches(images, view, 0, ((None, samples) for samples in chunks), device, workers)


def reporting(
    batches: Iterable[Batch], note: Callable[[str], None], seen: set[Path] | None = None
) -> Iterator[Batch]:
    """The same batches but empty ones; every unreadable image that is not in `seen` is noted once.

    Raises BadInput where no image at all can be read.
    """
    seen = set() if seen is None else seen
    unreadable, readable = 0, False
    for batch in batches:
        for path in sorted(set(batch.unreadable) - seen):
            note(f"{path}: not a readable image; left out")
        seen.update(batch.unreadable)
        unreadable += len(batch.unreadable)
        if len(batch.samples):
            readable = True
            yield batch
    if unreadable and not readable:
        raise BadInput(f"none of {unreadable} images can be read; check the data folder")


def _batches(
    images: Images, view: View, seed: int, plan: Plan, device: torch.device, workers: int,
    augment: Augment | None = None,
) -> Iterator[Batch]:  # fmt: skip
    check_view(images, view)
    if isinstance(images, Files):
        yield from _decode(Decoder(images, view, seed, augment), plan, device, workers)
    elif isinstance(images, Packed) and not images.small:
        yield from _cut_ahead(Cutter(images, view, seed), plan, device, workers, augment)
    else:
        yield from _cut_on_device(images, view, seed, plan, device, augment)


def _cut_on_device(
    images: Arrays | Packed, view: View, seed: int, plan: Plan, device: torch.device,
    augment: Augment | None,
) -> Iterator[Batch]:  # fmt: skip
    """Small images, all alike: cut a batch at a time, where it will be used."""
    if isinstance(images, Arrays):
        # Copied: pixels read from a file are not writable, which torch warns of.
        store = torch.from_numpy(images.pixels.copy()).to(device)
    for epoch, samples in plan:
        sizes = np.tile(images.shape, (len(samples), 1))
        boxes, flips = crops(view, seed, epoch, samples, sizes)
        chosen, where, mirrored = (
            sent(torch.from_numpy(array), device) for array in (samples, boxes, flips)
        )
        if isinstance(images, Arrays):
            pixels = store[chosen]
        else:
            pixels = sent(torch.from_numpy(images.batch(samples)), device)
        imgs = resample(pixels, where, mirrored, view.size)
        if augment is not None:
            pixels = imgs.to("cpu", torch.uint8)
            imgs = sent(_augmented(augment, epoch or 0, samples, pixels), device)
        yield Batch(epoch or 0, samples, view.normalise(imgs.expand(-1, view.channels, -1, -1)))


def _cut_ahead(
    cutter: Cutter, plan: Plan, device: torch.device, workers: int, augment: Augment | None
) -> Iterator[Batch]:
    """Batches that threads cut ahead of time, as bytes; normalised on the device.

    Nothing of a cut holds Python's lock for long, and what processes would have to hand over stays
    where it is. All threads are at work on the next batch, each on a piece of it.
    """
    todo = iter(plan)
    first = list(islice(todo, 1))
    shape = (cutter.images.channels, *cutter.view.size)

    def pieces() -> Iterator[tuple[int | None, np.ndarray, Tensor, slice]]:
        for epoch, samples in chain(first, todo):
            whole = torch.empty(
                len(samples), *shape, dtype=torch.uint8, pin_memory=device.type == "cuda"
            )
            yield from ((epoch, samples, whole, part) for part in pieces_of(len(samples)))

    def cut(
        epoch: int | None, samples: np.ndarray, whole: Tensor, part: slice
    ) -> tuple[int, np.ndarray, Tensor] | None:
        cutter.cut(epoch, samples[part], whole[part])
        return (epoch or 0, samples, whole) if part.stop == len(samples) else None

    lying = results_ahead(max((len(samples) for _, samples in first), default=1), workers)
    for done in ahead(cut, pieces(), workers, lying):
        if done is None:
            continue
        epoch, samples, pixels = done
        del done  # what is done with must not lie beside what is being cut
        if augment is not None:
            # Not in the threads: timm draws from generators that all of them would share.
            pixels = _augmented(augment, epoch, samples, pixels)
        yield Batch(epoch, samples, _on_device(pixels, cutter.view, device))


def _augmented(augment: Augment, epoch: int, samples: np.ndarray, pixels: Tensor) -> Tensor:
    """Pixels (N, C, h, w) uint8 of samples (N,) as they are to be learnt from."""
    seen = zip(samples.tolist(), pixels, strict=True)
    return torch.stack([augment(epoch, *each) for each in seen])


def _decode(decoder: Decoder, plan: Plan, device: torch.device, workers: int) -> Iterator[Batch]:
    """Batches that processes read ahead of time, as bytes; normalised on the device."""
    for epoch, pieces in read_ahead(decoder, plan, workers, pinned=device.type == "cuda"):
        samples = np.concatenate([piece.samples for piece in pieces])
        bad = [sample for piece in pieces for sample in piece.bad]
        unreadable = tuple(decoder.images.paths[sample] for sample in bad)
        if epoch is not None and not len(samples):
            raise BadInput(
                f"none of {len(bad)} images in a batch can be read, {unreadable[0]} for one; "
                "check the data folder"
            )
        # Joined as bytes: normalised, the pieces and the whole would take the room of two batches.
        read = [sent(piece.pixels, device) for piece in pieces if len(piece.samples)]
        pixels = torch.cat(read) if len(read) > 1 else (read or [pieces[0].pixels])[0]
        if bad and epoch is not None:
            # Another image stands in for an unreadable one, so that batches keep their size.
            chosen = np.arange(len(samples) + len(bad)) % len(samples)
            samples, pixels = samples[chosen], pixels[sent(torch.from_numpy(chosen), device)]
        yield Batch(epoch or 0, samples, _on_device(pixels, decoder.view, device), unreadable)


def _on_device(pixels: Tensor, view: View, device: torch.device) -> Tensor:
    """Bytes (N, C or 1, h, w) as the network's input."""
    return view.normalise(sent(pixels, device).expand(-1, view.channels, -1, -1))


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; a GPU fetches it while we go on, which takes pinned memory."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
