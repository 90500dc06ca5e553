"""Random numbers as a function of what they are for, not of when they are drawn.

A crop, a flip or a mask depends on (seed, purpose, epoch, sample) alone. So no generator state has
to be saved, workers need none, and a resumed run draws what an uninterrupted one would have drawn.
"""

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniforms(
    seed: int, purpose: str, epoch: int, samples: ArrayLike, count: int
) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1): (N, count) for N sample indices.

    Every sample has a SplitMix64 stream of its own (Steele, Lea and Flood, 2014), started from a
    hash of what the numbers are for.
    """
    digest = hashlib.blake2b(f"{seed}/{purpose}/{epoch}".encode(), digest_size=8).digest()
    key = np.frombuffer(digest, dtype="<u8").astype(np.uint64)
    starts = _mix(key ^ _mix(np.asarray(samples, dtype=np.uint64) + np.uint64(1)))
    steps = np.arange(1, count + 1, dtype=np.uint64) * GOLDEN
    words = _mix(starts[:, None] + steps)
    return (words >> np.uint64(11)) * 2.0**-53


def order(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    """The order in which an epoch visits its samples: a permutation of range(size)."""
    return np.argsort(uniforms(seed, "order", epoch, np.arange(size), 1)[:, 0], kind="stable")


def seed_for(seed: int, purpose: str, epoch: int, sample: int) -> int:
    """A seed of 32 bits for a library that draws from generators of its own."""
    return int(uniforms(seed, purpose, epoch, [sample], 1)[0, 0] * 2**32)


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
