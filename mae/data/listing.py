"""What there is to pack: every image of a source with its name and label, opened when asked for."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from mae.data.crop import opened
from mae.data.folders import HELD_OUT_NAMES, TRAIN, is_held_out
from mae.data.shards import (
    COMPRESSED,
    LABELS,
    Member,
    is_number,
    is_too_large,
    members_of,
    number_labels,
    shards_below,
)
from mae.data.sources import NAMED, Arrays, Files, Images, locate, no_source, open_source
from mae.errors import BadInput


@dataclass(frozen=True)
class Listing:
    """The images of a source: the first `train` of them to learn from, then those held out."""

    source: str
    names: list[str]
    labels: list[int]  # -1: none
    weights: list[str]  # what else tells one from another version of it: its size, or a hash
    classes: tuple[str, ...]
    train: int
    channels: int  # that packed images have if nobody says otherwise
    open: Callable[[int], Image.Image]  # raises what is in crop.UNREADABLE
    notes: tuple[str, ...] = ()  # of the source's surprises

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def sha256(self) -> str:
        """Identity of what is listed: names, sizes, labels and splits, not the content of files."""
        digest = hashlib.sha256(f"{self.train}\0{self.classes}".encode())
        for row in zip(self.names, self.labels, self.weights, strict=True):
            digest.update("\0".join(map(str, row)).encode(errors="surrogateescape") + b"\n")
        return digest.hexdigest()


def list_source(source: str) -> Listing:
    """All images of a folder, a directory of idx files, or tar shards.

    Raises BadInput if there is nothing to pack, with what to do about it.
    """
    located = locate(source)
    place = NAMED.get(located, Path(located))
    if shards := _shards(place):
        return _list_shards(place, *shards)
    if place.is_file() and place.name.lower().endswith(COMPRESSED):
        raise BadInput(
            f"{place}: compressed, and shards are read where they lie; unpack it to .tar first"
        )
    if located not in NAMED and not place.is_dir():
        raise no_source(source, place, "a .tar shard, a directory of them")
    splits = open_source(located)
    parts = (splits.train, splits.held_out)
    if isinstance(splits.train, Files):
        return replace(_list_files(place, parts, splits.classes), notes=splits.notes)
    if isinstance(splits.train, Arrays):
        return _list_arrays(place, parts)
    raise BadInput(f"{place}: is packed already; name what it was made of")


def _list_files(root: Path, parts: tuple[Images, ...], classes: tuple[str, ...]) -> Listing:
    paths = [path for part in parts for path in part.paths]
    labels = _labels(parts)
    return Listing(
        source=str(root),
        names=[path.relative_to(root).as_posix() for path in paths],
        labels=labels,
        weights=[_size_of(path) for path in paths],
        classes=classes if labels[0] >= 0 else (),
        train=len(parts[0]),
        channels=3,
        open=lambda n: opened(paths[n]),
    )


def _size_of(path: Path) -> str:
    try:
        return str(path.stat().st_size)
    except OSError:
        return "none"  # a link to nothing, say: one of the unreadable images, when it is its turn


def _list_arrays(root: Path, parts: tuple[Images, ...]) -> Listing:
    pixels = [image for part in parts for image in part.pixels[:, 0]]
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(p.pixels).data for p in parts))
    return Listing(
        source=str(root),
        names=[
            f"{split}/{n}"
            for split, part in zip(("train", "t10k"), parts, strict=True)
            for n in range(len(part))
        ],
        labels=_labels(parts),
        weights=[digest.hexdigest()] + [""] * (len(pixels) - 1),
        classes=(),
        train=len(parts[0]),
        channels=1,
        open=lambda n: Image.fromarray(np.ascontiguousarray(pixels[n])),
    )


def _labels(parts: tuple[Images, ...]) -> list[int]:
    return [
        label
        for part in parts
        for label in ([-1] * len(part) if part.labels is None else part.labels.tolist())
    ]


def _shards(place: Path) -> tuple[list[Path], list[Path]] | None:
    """Shards of the training and the held-out split; the latter may be none."""
    if flat := shards_below(place):
        return flat, []
    train = shards_below(place / TRAIN)
    held_out = [place / name for name in HELD_OUT_NAMES if (place / name).is_dir()]
    second = next((s for folder in held_out if (s := shards_below(folder))), [])
    # A held-out folder without shards has something else in it, or is not filled yet.
    return (train, second) if train and (second or not held_out) else None


def _list_shards(root: Path, train: list[Path], held_out: list[Path]) -> Listing:
    first, second = ([m for shard in part for m in members_of(shard)] for part in (train, held_out))
    if not held_out:
        everything = first
        first = [m for m in everything if not is_held_out(Path(m.key))]
        second = [m for m in everything if is_held_out(Path(m.key))]
    if not first or not second:
        raise BadInput(
            f"{root}: {len(first) + len(second)} images are too few to hold some out; "
            "add more, or split the shards into train/ and val/"
        )
    members = first + second
    labels, classes = _shard_labels(root, members)
    below = root if root.is_dir() else root.parent
    return Listing(
        source=str(root),
        names=[f"{m.shard.relative_to(below).as_posix()}/{m.name}" for m in members],
        labels=labels,
        weights=[str(m.size) for m in members],
        classes=classes,
        train=len(first),
        channels=3,
        open=lambda n: _open_member(members[n]),
    )


def _shard_labels(root: Path, members: list[Member]) -> tuple[list[int], tuple[str, ...]]:
    written = [m.label for m in members if m.label is not None]
    if not written:
        return [-1] * len(members), ()
    if len(written) < len(members):
        bare = next(m for m in members if m.label is None)
        raise BadInput(f"{bare.shard}: {bare.key}.cls is missing, other shards have one; add it")
    if all(map(is_number, written)):
        large = next((m for m in members if is_too_large(m.label or "")), None)
        if large is not None:
            raise BadInput(
                f"{large.shard}: {large.key}.cls says {str(large.label)[:24]}; "
                f"a label is a name, or a number below {LABELS}"
            )
    return number_labels(written)


def _open_member(member: Member) -> Image.Image:
    with member.shard.open("rb") as file:
        if not 0 <= member.size <= os.fstat(file.fileno()).st_size - member.offset:
            raise ValueError("the shard tells a size that its bytes do not have")
        file.seek(member.offset)
        return opened(BytesIO(file.read(member.size)))
