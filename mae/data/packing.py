"""One image as a packed store holds it, and many of them made at once by worker processes."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process

import numpy as np
from numpy.typing import NDArray

from mae.data.augment import central_boxes
from mae.data.crop import AS_IT_LIES, UNREADABLE, Box, cut, resized, turn_of
from mae.data.listing import Listing
from mae.errors import TrainingFailed

Size = int | tuple[int, int]  # the shorter side at most, or height and width
Made = NDArray[np.uint8] | str  # (h, w, C), or why there is none
Make = Callable[[range], Iterator[Made]]

IMAGES_AT_ONCE = 8  # that a worker is sent for


def packed_view(height: int, width: int, size: Size) -> tuple[Box, tuple[int, int]]:
    """What of an image is packed, and its height and width in the store.

    A number: all of it, made smaller until the shorter side has that many pixels, never larger, so
    that random crops find later what they would have found in the file. A height and a width: the
    largest central part of that shape, made smaller or larger to be exactly that.
    """
    if isinstance(size, tuple):
        aspect = size[1] / size[0]
        box = central_boxes(np.array([[height, width]]), (aspect, aspect))[0].tolist()
        return (box[0], box[1], box[2], box[3]), size
    scale = min(1.0, size / min(height, width))
    return (0, 0, height, width), (round(height * scale), round(width * scale))


def pack_image(
    listing: Listing, number: int, size: Size, channels: int, upright: bool = False
) -> Made:
    """One image of a listing as bytes, or why it cannot be read."""
    try:
        with listing.open(number) as image:
            turn = turn_of(image) if upright else AS_IT_LIES
            box, shape = packed_view(*turn.sides((image.height, image.width)), size)
            part, edges = cut(image, box, shape, "L" if channels == 1 else "RGB", turn)
            return resized(part, edges, shape)
    except UNREADABLE as error:
        return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def makers(
    listing: Listing, size: Size, channels: int, workers: int, upright: bool = False
) -> Iterator[Make]:
    """A function from numbers of images to these images, in that order, made by `workers`.

    Raises TrainingFailed when a worker was killed.
    """
    if workers < 2:
        yield lambda numbers: (pack_image(listing, n, size, channels, upright) for n in numbers)
        return
    # Forked, workers have the listing without being sent it.
    task = (listing, size, channels, upright)
    pool = ProcessPoolExecutor(workers, get_context("fork"), _begin_work, task)

    def make(numbers: range) -> Iterator[Made]:
        parts = [numbers[n : n + IMAGES_AT_ONCE] for n in range(0, len(numbers), IMAGES_AT_ONCE)]
        try:
            for images in pool.map(_work, parts):
                yield from images
        except BrokenProcessPool:
            raise TrainingFailed(
                "a worker was killed, perhaps for memory: run it again with fewer --workers"
            ) from None

    try:
        yield make
    finally:
        pool.shutdown(cancel_futures=True)


_task: tuple[Listing, Size, int, bool]


def _begin_work(*task: object) -> None:
    global _task
    _task = task  # type: ignore[assignment]
    # A supervisor signals the whole process group; the parent alone decides when to stop.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    # A killed parent closes nothing that a worker would wait for in vain.
    parent_process().join()
    os._exit(1)


def _work(numbers: range) -> list[Made]:
    listing, size, channels, upright = _task
    return [pack_image(listing, n, size, channels, upright) for n in numbers]
