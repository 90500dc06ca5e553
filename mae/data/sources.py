"""Where images come from: the sample, idx files, folders, stores. Lists them; decodes none."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mae.data.folders import classes_of, labels_of, split_folder, surprises
from mae.data.idx import find_idx, read_idx
from mae.data.shards import SUFFIX as SHARD
from mae.data.store import Packed, is_store, open_store
from mae.errors import BadInput, nearest
from mae.files import place_of

SAMPLE = Path(__file__).with_name("sample")
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
AUTO = "auto"
NAMED = {"sample": SAMPLE, "fashion-mnist": FASHION_MNIST}


@dataclass(frozen=True)
class Arrays:
    """Images in memory: `pixels` (N, C, H, W) uint8, `labels` (N,) int64 if known."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def channels(self) -> int:
        return self.pixels.shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of every image."""
        return self.pixels.shape[2:]


@dataclass(frozen=True)
class Files:
    """Images to decode when asked for: one path each, `labels` (N,) int64 if known."""

    paths: tuple[Path, ...]
    labels: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.paths)


Images = Arrays | Files | Packed


@dataclass(frozen=True)
class Splits:
    """The images to learn from and those held out."""

    train: Images
    held_out: Images
    classes: tuple[str, ...] = ()  # what labels stand for, where the source says so
    notes: tuple[str, ...] = ()  # to be told once, before much time is spent on the images


def locate(source: str) -> str:
    """A source as a campaign keeps it: a known name, or an absolute path.

    "auto" is all of Fashion-MNIST where it is installed, else the bundled sample. Raises BadInput
    for a path that leads nowhere: into no known home, or round in a circle of links.
    """
    if source == AUTO:
        return "fashion-mnist" if FASHION_MNIST.is_dir() else "sample"
    return source if source in NAMED else str(place_of(_named(source), source, follow=True))


def open_source(source: str) -> Splits:
    """The splits of a source: a known name, or a directory: packed store, idx files, or images.

    Raises BadInput if there is nothing usable, with what to do about it.
    """
    directory = NAMED.get(source) or place_of(_named(source), source)
    if source == "fashion-mnist" and not directory.is_dir():
        raise BadInput(f"{directory} is missing: run `apt install dataset-fashion-mnist`")
    if not directory.is_dir():
        made = ", which `mae pack` makes of shards" if directory.suffix == SHARD else ""
        raise no_source(source, directory, f"a packed store{made}")
    if is_store(directory):
        return Splits(*open_store(directory))
    if find_idx(directory, "train-images-idx3-ubyte"):
        return Splits(_read_arrays(directory, "train"), _read_arrays(directory, "t10k"))
    return _list_files(directory)


def no_source(source: str, place: Path, other: str) -> BadInput:
    """What is said of a source that is no directory; `other` is what may be named beside one."""
    hint = "" if place.exists() else nearest(source, [AUTO, *NAMED])
    return BadInput(
        f"{_named(source)} is not a directory{hint}; name a folder of images or idx files, "
        f"{other}, or one of: {', '.join([AUTO, *NAMED])}"
    )


def _named(source: str) -> str:
    return f"data source {source!r}"


def _read_arrays(directory: Path, split: str) -> Arrays:
    images = find_idx(directory, f"{split}-images-idx3-ubyte")
    if images is None:
        raise BadInput(f"{directory}: {split}-images-idx3-ubyte[.gz] is missing; add it")
    pixels = read_idx(images)
    if pixels.ndim != 3:
        raise BadInput(f"{images}: expected images in 3 dimensions, found {pixels.ndim}")
    if not pixels.size:
        raise BadInput(f"{images}: no images in it, its shape is {pixels.shape}; fetch it again")
    path = find_idx(directory, f"{split}-labels-idx1-ubyte")
    labels = None if path is None else read_idx(path).astype(np.int64)
    if labels is not None and labels.shape != pixels.shape[:1]:
        raise BadInput(f"{path}: {labels.size} labels for {len(pixels)} images; fetch both again")
    return Arrays(pixels[:, None], labels)


def _list_files(directory: Path) -> Splits:
    parts = split_folder(directory)
    classes = classes_of(parts)
    train, held_out = (Files(tuple(part.paths), labels_of(part, classes)) for part in parts)
    return Splits(train, held_out, classes, tuple(surprises(directory, parts, classes)))
