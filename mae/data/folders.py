"""Folders of images: which to learn from, which are held out, and their classes. Opens none."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mae.data.shards import COMPRESSED
from mae.data.shards import SUFFIX as SHARD
from mae.errors import BadInput

SUFFIXES = {".jpg", ".jpeg", ".png"}
# Of images that are left out: campaigns that began without them keep what they learn from.
OTHER_IMAGES = {".webp", ".tif", ".tiff", ".bmp", ".gif", ".jp2", ".avif", ".heic"}
TRAIN = "train"
# The first of them that is there. What comes to be known later comes last: campaigns that began
# with another of them keep their images.
HELD_OUT_NAMES = ("val", "valid", "test", "validation")
HELD_OUT_SHARE = 0.1


class Part(NamedTuple):
    """Images of a split; the first folder below `root` that one lies in is its class."""

    root: Path
    paths: list[Path]
    others: frozenset[str] = frozenset()  # the suffixes of what else lies there


def split_folder(directory: Path) -> tuple[Part, Part]:
    """The images to learn from and those held out: of two folders, or of one by their names.

    Raises BadInput where there are none, or not enough, or where `train` may be split or class.
    """
    train = directory / TRAIN
    held_out = next((d for n in HELD_OUT_NAMES if (d := directory / n).is_dir()), None)
    if train.is_dir() and held_out is not None:
        return Part(train, *images_below(train)), Part(held_out, *images_below(held_out))
    paths, others = images_below(directory)
    relative = [path.relative_to(directory) for path in paths]
    root = train if _is_all(directory, relative) else directory
    groups: dict[bool, list[Path]] = {False: [], True: []}
    for path, name in zip(paths, relative, strict=True):
        # By its name in the source, also below train/: so campaigns that began when that was taken
        # for a class learn from the same images.
        groups[is_held_out(name)].append(path)
    if not groups[False] or not groups[True]:
        raise BadInput(
            f"{directory}: {len(paths)} images are too few to hold some out; "
            "add more, or split them into train/ and val/"
        )
    return Part(root, groups[False], others), Part(root, groups[True], others)


def _is_all(directory: Path, relative: Sequence[Path]) -> bool:
    """Whether `train/` holds all images, and so is a split, and no class of them.

    Beside other folders of images it is a class if its images lie flat. Raises BadInput if they
    are in folders as well: the folder beside it may be what is to be held out.
    """
    tops = {path.parts[0] for path in relative if len(path.parts) > 1}
    if TRAIN not in tops or any(len(path.parts) == 1 for path in relative):
        return False
    if not (others := sorted(tops - {TRAIN})):
        return True
    if any(path.parts[0] == TRAIN and len(path.parts) > 2 for path in relative):
        raise BadInput(
            f"{directory}: {TRAIN}/ has folders of images, and so has {others[0]}/ beside it: name "
            f"{directory / TRAIN}, or call the one that is held out {HELD_OUT_NAMES[0]}/; if "
            f"{TRAIN} is a class, put its images into {TRAIN}/ itself"
        )
    return False


def is_held_out(relative: Path) -> bool:
    """Whether an image of an unsplit folder is held out: by its name, so additions move nothing."""
    # The bytes on the disk: a name may be no UTF-8.
    digest = hashlib.blake2b(os.fsencode(relative.as_posix()), digest_size=4).digest()
    return int.from_bytes(digest) / 2**32 < HELD_OUT_SHARE


def images_below(directory: Path) -> tuple[list[Path], frozenset[str]]:
    """Every JPEG and PNG file in a folder and the folders in it, by name, and others' suffixes.

    Hidden ones are not seen. Raises BadInput if there is none, or a folder cannot be read.
    """
    paths: list[Path] = []
    others: set[str] = set()
    folders = [directory]
    while folders:
        here = folders.pop()
        for entry in _entries(here):
            path = here / entry.name
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                folders += [] if _leads_back(path) else [path]
            elif path.suffix.lower() in SUFFIXES and _may_be_read(entry):
                paths.append(path)
            else:
                name = path.name.lower()
                others.add(next((s for s in COMPRESSED if name.endswith(s)), path.suffix.lower()))
    if not paths:
        raise BadInput(f"{directory}: no JPEG or PNG images in it{_instead(others)}")
    return sorted(paths), frozenset(others)


def _instead(suffixes: set[str]) -> str:
    """What was found in place of images, and what to do about it."""
    if SHARD in suffixes:
        return (
            f", but {SHARD} shards: `mae pack` makes a store of those that lie in one folder, or "
            f"in {TRAIN}/ and {HELD_OUT_NAMES[0]}/"
        )
    if packed := sorted(suffixes & set(COMPRESSED)):
        return f", but {', '.join(packed)} files: unpack them to {SHARD}, for `mae pack`"
    found = ", ".join(sorted(suffixes - {""})[:3])
    return f"{found and f', but {found} files'}; name a folder that has some"


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        # Left out, its images would be missed by nobody: labels and splits would move.
        raise BadInput(
            f"{folder}: a folder that cannot be read ({error.strerror}); "
            "give the user that trains leave to read it, or take it away"
        ) from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, say
        return False


def _may_be_read(entry: os.DirEntry[str]) -> bool:
    """Whether reading comes to an end: a pipe or a device would be waited for, for ever.

    A link to nothing may be: it is one of the unreadable images, and told of when it is its turn.
    """
    try:
        return entry.is_file() or (entry.is_symlink() and not Path(entry).exists())
    except OSError:
        return True


def _leads_back(folder: Path) -> bool:
    """Whether it is a link to a folder that it lies in: there would be no end."""
    return folder.is_symlink() and folder.resolve() in (p.resolve() for p in folder.parents)


def classes_of(parts: Sequence[Part]) -> tuple[str, ...]:
    """The names of the folders that images lie in, those of all parts, by name.

    A folder without images is none: what is empty, or holds something else, would shift labels.
    """
    firsts = (path.relative_to(part.root).parts for part in parts for path in part.paths)
    return tuple(sorted({each[0] for each in firsts if len(each) > 1}))


def labels_of(part: Part, classes: Sequence[str]) -> NDArray[np.int64] | None:
    """Each image's class by its number (N,); images lying flat mean that there are no classes."""
    firsts = [path.relative_to(part.root).parts for path in part.paths]
    if any(len(each) < 2 for each in firsts):
        return None
    number = {name: n for n, name in enumerate(classes)}
    return np.array([number[each[0]] for each in firsts], np.int64)


def surprises(directory: Path, parts: Sequence[Part], classes: Sequence[str]) -> Iterator[str]:
    """What may not be expected by whoever put the images there, a line each."""
    if left_out := sorted({s for part in parts for s in part.others} & OTHER_IMAGES):
        yield f"{directory}: {', '.join(left_out)} files are left out; make them JPEG or PNG first"
    flat = (p for part in parts for p in part.paths if p.parent == part.root)
    if classes and (stray := next(flat, None)):
        yield f"{stray}: beside folders of classes, so that there are no labels; put it into one"
