"""Packed stores: images that need no decoding, in one memory map, with checksums.

    STORE/
        pixels.bin      bytes of one image after another, each (height, width, channels)
        index.npy       (N, 4) int64: offset, height, width, label (-1: none); training images first
        manifest.json   what they are and where from, and the SHA-256 of every chunk of pixels

`mae pack` makes them: see mae.data.pack. Opening one checks everything but the pixels, whose
checksums `mae pack --verify` reads.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mae.errors import BadInput

FORMAT = 1
KIND = "mae packed store"
PIXELS, INDEX, MANIFEST = "pixels.bin", "index.npy", "manifest.json"
SMALL = 48 * 48  # up to here cutting a batch by matrix products beats cutting image by image
MEND = "pack it again, or fetch it again"


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_count, value))


def _is_chunk(value: Any) -> bool:
    # A chunk's images may all have been unreadable.
    return (
        isinstance(value, dict)
        and all(type(value.get(key)) is int and value[key] >= 0 for key in ("images", "bytes"))
        and isinstance(value.get("sha256"), str)
    )


def _is_bad(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(key), str) for key in ("name", "reason")
    )


def _all(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _has_sha256(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("sha256"), str)


# What a manifest has beside its kind and format, as far as anything here reads it.
FIELDS: dict[str, Callable[[Any], bool]] = {
    "source": _has_sha256,
    "channels": lambda value: type(value) is int and value in (1, 3),
    "train": _is_count,
    "held_out": _is_count,
    "classes": _all(lambda name: isinstance(name, str)),
    "shape": lambda value: value is None or _is_shape(value),
    "bytes": _is_count,
    "index": _has_sha256,
    "chunks": _all(_is_chunk),
    "bad": _all(_is_bad),
}


@dataclass(frozen=True)
class Packed:
    """A split of a store; its pixels stay on the disk until they are asked for."""

    root: Path
    channels: int
    table: NDArray[np.int64]  # (N, 3) offset, height, width
    labels: NDArray[np.int64] | None  # (N,) if known
    shape: tuple[int, int] | None  # of every image, if all are alike
    upright: bool = False  # turned as the files' EXIF said

    def __len__(self) -> int:
        return len(self.table)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Heights and widths: (N, 2)."""
        return self.table[:, 1:]

    @property
    def small(self) -> bool:
        """Whether the images are alike, and so small that they are best cut a batch at a time."""
        return self.shape is not None and self.shape[0] * self.shape[1] <= SMALL

    def image(self, sample: int) -> NDArray[np.uint8]:
        """One image, (h, w, C), where it lies in the memory map."""
        offset, height, width = self.table[sample].tolist()
        pixels = _memory_map(self.root)[offset : offset + height * width * self.channels]
        return pixels.reshape(height, width, self.channels)

    def batch(self, samples: NDArray[np.int64]) -> NDArray[np.uint8]:
        """A copy of images that are alike: (N, C, h, w)."""
        # Alike and one after the other: each begins at a multiple of the bytes that one takes.
        height, width = self.table[0, 1:].tolist()
        each = height * width * self.channels
        images = _memory_map(self.root).reshape(-1, each)[self.table[samples, 0] // each]
        shape = (len(samples), height, width, self.channels)
        return np.ascontiguousarray(images.reshape(shape).transpose(0, 3, 1, 2))


@lru_cache(maxsize=4)
def _memory_map(root: Path) -> NDArray[np.uint8]:
    # By root, not in the split: a worker that is sent a split opens the file instead of being sent
    # its bytes. Copy-on-write, as torch wants memory that could be written.
    # A plain array: of numpy's class for maps each slice is looked at in Python.
    return np.memmap(root / PIXELS, dtype=np.uint8, mode="c").view(np.ndarray)


def is_store(directory: Path) -> bool:
    """Whether a directory looks like a packed store, be it a damaged one."""
    names = {MANIFEST, PIXELS, INDEX}
    return sum((directory / name).is_file() for name in names) > 1


def open_store(root: Path) -> tuple[Packed, Packed, tuple[str, ...]]:
    """The training and the held-out split of a store, and the names of its classes.

    Raises BadInput if it is of another format, or its index or sizes are not the manifest's.
    """
    manifest = read_manifest(root)
    index = read_index(root, manifest)
    found = (root / PIXELS).stat().st_size if (root / PIXELS).is_file() else 0
    if found != manifest["bytes"]:
        raise BadInput(f"{root / PIXELS}: {found} bytes, not {manifest['bytes']}; {MEND}")
    _memory_map.cache_clear()  # another store may have lain here
    shape = tuple(manifest["shape"]) if manifest["shape"] else None

    def split(rows: NDArray[np.int64]) -> Packed:
        labels = rows[:, 3].copy() if len(rows) and (rows[:, 3] >= 0).all() else None
        upright = manifest.get("upright", False)
        return Packed(root, manifest["channels"], rows[:, :3].copy(), labels, shape, upright)

    train = manifest["train"]
    return split(index[:train]), split(index[train:]), tuple(manifest["classes"])


def read_manifest(root: Path) -> dict[str, Any]:
    """What a store says of itself.

    Raises BadInput if it is none, of an unknown format, or says what cannot be.
    """
    path = root / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        kind, version = manifest["kind"], manifest["format"]
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; name a store that `mae pack` made") from None
    except (ValueError, RecursionError, KeyError, TypeError):
        raise BadInput(f"{path}: not the manifest of a packed store; {MEND}") from None
    if (kind, version) != (KIND, FORMAT):
        raise BadInput(f"{path}: format {version} of {kind!r} is not known to this mae; {MEND}")
    if wrong := next(_wrong_in_manifest(manifest), None):
        raise BadInput(f"{path}: damaged: {wrong}; {MEND}")
    return manifest


def _wrong_in_manifest(manifest: dict[str, Any]) -> Iterator[str]:
    """What in a manifest is missing, of another type, or at odds with the rest, worst first."""
    for key, fits in FIELDS.items():
        if key not in manifest:
            yield f"{key} is missing"
        elif not fits(manifest[key]):
            yield f"{key} is {json.dumps(manifest[key])[:60]}"
    chunks = manifest["chunks"]
    if (found := sum(chunk["bytes"] for chunk in chunks)) != manifest["bytes"]:
        yield f"bytes is {manifest['bytes']}, but its chunks have {found}"
    told = manifest["train"] + manifest["held_out"]
    if (found := sum(chunk["images"] for chunk in chunks)) != told:
        yield f"train + held_out are {told} images, but its chunks have {found}"


def read_index(root: Path, manifest: dict[str, Any]) -> NDArray[np.int64]:
    """The index (N, 4) of a store.

    Raises BadInput if it is not the one of the manifest, or does not fit what that says.
    """
    path = root / INDEX
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != manifest["index"]["sha256"]:
        raise BadInput(f"{path}: damaged: its SHA-256 is not the manifest's; {MEND}")
    index = np.load(BytesIO(content), allow_pickle=False)
    if wrong := next(_wrong_between(manifest, index), None):
        raise BadInput(f"{root / MANIFEST}: damaged: {wrong}; {MEND}")
    return index


def _wrong_between(manifest: dict[str, Any], index: NDArray[np.int64]) -> Iterator[str]:
    """Where a manifest and the index that it names say different things, worst first."""
    told = manifest["train"] + manifest["held_out"]
    if index.shape != (told, 4) or index.dtype != np.int64:
        yield f"train + held_out are {told} images, but {INDEX} is {index.dtype} {index.shape}"
    offsets, sizes, labels = index[:, 0], index[:, 1:3], index[:, 3]
    lengths = sizes.prod(axis=1) * manifest["channels"]
    ends = np.cumsum(lengths)
    if (sizes < 1).any() or (offsets != ends - lengths).any() or ends[-1] != manifest["bytes"]:
        yield (
            f"{manifest['channels']} channels and the sizes in {INDEX} do not make "
            f"{manifest['bytes']} bytes, one image after another"
        )
    if manifest["shape"] and (sizes != manifest["shape"]).any():
        yield f"shape is {manifest['shape']}, but not of all images in {INDEX}"
    if labels.min() < -1 or (manifest["classes"] and labels.max() >= len(manifest["classes"])):
        yield f"classes are {len(manifest['classes'])}, but labels go up to {labels.max()}"


def damage(root: Path, show: Callable[[int], None]) -> Iterator[str]:
    """What is wrong with a store's pixels, a line for each damaged chunk.

    `show` is told how many bytes have been read.
    Raises BadInput where manifest or index are wrong already.
    """
    manifest = read_manifest(root)
    read_index(root, manifest)
    done, image = 0, 0
    try:
        file = (root / PIXELS).open("rb")
    except OSError as error:
        yield f"{root / PIXELS}: {error.strerror}"
        return
    with file:
        for number, chunk in enumerate(manifest["chunks"]):
            content = file.read(chunk["bytes"])
            last = image + chunk["images"] - 1
            where = f"{root / PIXELS}: chunk {number} (images {image} to {last})"
            if len(content) != chunk["bytes"]:
                yield f"{where}: cut short"
            elif hashlib.sha256(content).hexdigest() != chunk["sha256"]:
                yield f"{where}: damaged: its SHA-256 is not the manifest's"
            done, image = done + chunk["bytes"], last + 1
            show(done)
        if file.read(1):
            yield f"{root / PIXELS}: more bytes than the manifest's {done}"
