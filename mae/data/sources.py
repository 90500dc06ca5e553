"""Where images come from: the sample, idx files, folders, stores. Lists them; decodes none."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mae.data.idx import find_idx, read_idx
from mae.data.store import Packed, is_store, open_store
from mae.errors import BadInput, nearest

SAMPLE = Path(__file__).with_name("sample")
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
AUTO = "auto"
NAMED = {"sample": SAMPLE, "fashion-mnist": FASHION_MNIST}
SUFFIXES = {".jpg", ".jpeg", ".png"}
HELD_OUT_NAMES = ("val", "valid", "test")
HELD_OUT_SHARE = 0.1


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


def locate(source: str) -> str:
    """A source as it a campaign keeps it: a known name, or an absolute path.

    "auto" is all of Fashion-MNIST where it is installed, else the bundled sample.
    """
    if source == AUTO:
        return "fashion-mnist" if FASHION_MNIST.is_dir() else "sample"
    return source if source in NAMED else str(Path(source).expanduser().resolve())


def open_source(source: str) -> Splits:
    """The splits of a source: a known name, or a directory: packed store, idx files, or images.

    Raises BadInput if there is nothing usable, with what to do about it.
    """
    directory = NAMED.get(source, Path(source).expanduser())
    if source == "fashion-mnist" and not directory.is_dir():
        raise BadInput(f"{directory} is missing: run `apt install dataset-fashion-mnist`")
    if not directory.is_dir():
        hint = "" if directory.exists() else nearest(source, [AUTO, *NAMED])
        raise BadInput(
            f"data source {source!r} is not a directory{hint}; "
            "name a folder of images or idx files, a packed store, or one of: "
            f"{', '.join([AUTO, *NAMED])}"
        )
    if is_store(directory):
        return Splits(*open_store(directory))
    if find_idx(directory, "train-images-idx3-ubyte"):
        return Splits(_read_arrays(directory, "train"), _read_arrays(directory, "t10k"))
    return _list_files(directory)


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
    train, held_out = (
        directory / "train",
        next((directory / name for name in HELD_OUT_NAMES if (directory / name).is_dir()), None),
    )
    if train.is_dir() and held_out is not None:
        classes = sorted(_folders(train) | _folders(held_out))
        return Splits(
            _with_labels(train, _images_below(train), classes),
            _with_labels(held_out, _images_below(held_out), classes),
            tuple(classes),
        )
    paths = _images_below(directory)
    groups: dict[bool, list[Path]] = {False: [], True: []}
    for path in paths:
        groups[is_held_out(path.relative_to(directory))].append(path)
    if not groups[False] or not groups[True]:
        raise BadInput(
            f"{directory}: {len(paths)} images are too few to hold some out; "
            "add more, or split them into train/ and val/"
        )
    classes = sorted(_folders(directory))
    return Splits(
        _with_labels(directory, groups[False], classes),
        _with_labels(directory, groups[True], classes),
        tuple(classes),
    )


def is_held_out(relative: Path) -> bool:
    """Whether an image of an unsplit folder is held out: by its name, so additions move nothing."""
    # The bytes on the disk: a name may be no UTF-8.
    digest = hashlib.blake2b(os.fsencode(relative.as_posix()), digest_size=4).digest()
    return int.from_bytes(digest) / 2**32 < HELD_OUT_SHARE


def _images_below(directory: Path) -> list[Path]:
    paths: list[Path] = []
    for folder, below, names in os.walk(directory, followlinks=True, onerror=_refuse):
        here = Path(folder)
        below[:] = [n for n in below if not n.startswith(".") and not _leads_back(here / n)]
        paths += [
            here / name
            for name in names
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")
        ]
    if not paths:
        raise BadInput(f"{directory}: no JPEG or PNG images in it; name a folder that has some")
    return sorted(paths)


def _leads_back(folder: Path) -> bool:
    """Whether it is a link to a folder that it lies in: there would be no end."""
    return folder.is_symlink() and folder.resolve() in (p.resolve() for p in folder.parents)


def _refuse(error: OSError) -> None:
    # Left out, the images of a folder would be missed by nobody: labels and splits would move.
    raise BadInput(
        f"{error.filename}: a folder that cannot be read ({error.strerror}); "
        "give the user that trains leave to read it, or take it away"
    )


def _folders(directory: Path) -> set[str]:
    return {p.name for p in directory.iterdir() if p.is_dir() and not p.name.startswith(".")}


def _with_labels(directory: Path, paths: list[Path], classes: list[str]) -> Files:
    """Label each image by its first folder; images lying flat mean that there are no classes."""
    parts = [path.relative_to(directory).parts for path in paths]
    if any(len(each) < 2 for each in parts):
        return Files(tuple(paths), None)
    return Files(tuple(paths), np.array([classes.index(each[0]) for each in parts], np.int64))
