"""Image files read by processes ahead of their use, a piece of a batch at a time.

A process hands what it has read over in shared memory. In pieces, all of them are at work on the
next batch, which is there sooner, and no process holds a large one of its own.
"""

import atexit
import gc
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from mae.data.ahead import pieces_of, results_ahead
from mae.data.readers import Decoder, Place, Plan, Seen

IGNORED = (signal.SIGTERM, signal.SIGINT)  # by processes that read


class Piece(NamedTuple):
    """What can be read of some samples of a batch, and which cannot be read."""

    samples: np.ndarray  # (N,) indices into the split
    pixels: Tensor  # (N, C, h, w) uint8
    bad: list[int]


def read_ahead(
    decoder: Decoder, plan: Plan, workers: int, pinned: bool
) -> Iterator[tuple[int | None, list[Piece]]]:
    """The epoch and the pieces of each batch; so many processes read two batches, or pieces, ahead.

    In this process without workers. `pinned`: into memory that a GPU fetches from.
    """
    todo = iter(plan)
    first = list(islice(todo, 1))
    under_way: deque[tuple[int | None, int]] = deque()  # of each batch: epoch and pieces

    def pieces() -> Iterator[list[Place]]:
        for epoch, samples in chain(first, todo):
            parts = pieces_of(len(samples))
            under_way.append((epoch, len(parts)))
            yield from ([Place(epoch, s) for s in samples[part].tolist()] for part in parts)

    in_a_batch = max((len(samples) for _, samples in first), default=1)
    loader = DataLoader(
        decoder,
        batch_sampler=pieces(),
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_begin_work,
        pin_memory=pinned,
        prefetch_factor=ceil(results_ahead(in_a_batch, workers) / workers) if workers else None,
    )
    with _ended(_begun(loader)) as batches:
        read = _naming_the_dead(batches)
        for one in read:
            epoch, count = under_way.popleft()
            yield epoch, [one, *islice(read, count - 1)]


def _begun(loader: DataLoader[Any]) -> Any:
    """The loader's iterator, whose processes hear no signal before they ignore it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)
    try:
        return iter(loader)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _ended(batches: Any) -> Iterator[Any]:
    """An iterator of a DataLoader, whose processes have ended afterwards.

    Also at our own end, if an error's traceback still holds the iterator then: Python would send
    them a TERM, which they ignore, and wait for ever.
    """
    shut_down = getattr(batches, "_shutdown_workers", None)  # without workers there is none
    if shut_down is None:
        yield batches
        return
    atexit.register(shut_down)
    try:
        yield batches
    finally:
        shut_down()
        atexit.unregister(shut_down)


def _naming_the_dead(batches: Any) -> Iterator[Piece]:
    """The same pieces. Raises RuntimeError in torch's words if a process is killed.

    Also while it hands a piece over: torch tells then what became of that.
    """
    try:
        yield from batches
    except (ConnectionError, EOFError, FileNotFoundError):
        for process in getattr(batches, "_workers", ()):
            process.join(1)
            if process.exitcode and process.exitcode < 0:
                how = f"is killed by signal: {signal.strsignal(-process.exitcode)}."
                raise RuntimeError(f"DataLoader worker (pid {process.pid}) {how}") from None
        raise


def _collate(items: Sequence[Seen]) -> Piece:
    good = [(place.sample, pixels) for place, pixels in items if pixels is not None]
    bad = [place.sample for place, pixels in items if pixels is None]
    # What none at all means is said by our parent: an error here would come as a traceback.
    pixels = torch.stack([pixels for _, pixels in good]) if good else torch.empty(0, 1, 1, 1)
    if get_worker_info() is not None and pixels.numel():
        # Here, not as it is sent: a thread does that, whose error for want of room in /dev/shm
        # nobody hears of, and the training would wait for this piece for ever.
        pixels.share_memory_()
    return Piece(np.array([sample for sample, _ in good], dtype=np.int64), pixels, bad)


def _begin_work(_worker: int) -> None:
    # A supervisor signals the whole process group; the parent alone decides when to stop.
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    gc.freeze()  # what the parent made is not looked through, which would copy it: see Decoder
