"""Tar shards as webdataset has them: KEY.jpg with KEY.cls beside it, read where they lie."""

import posixpath
import tarfile
from pathlib import Path
from typing import NamedTuple

from mae.errors import BadInput

SUFFIX = ".tar"
IMAGES = ("jpg", "jpeg", "png")
LABEL = "cls"
LABELS = 2**31  # more classes than any network tells apart, and far from what an index can hold
COMPRESSED = (".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")


class Member(NamedTuple):
    """An image in a shard: its bytes are `size` ones from `offset` on; `label` as written."""

    shard: Path
    name: str
    key: str
    offset: int
    size: int
    label: str | None


# By key: a member's name, and the member that has its bytes.
Found = dict[str, tuple[str, tarfile.TarInfo]]


def shards_below(source: Path) -> list[Path]:
    """The shards that a path means: itself, or those in the directory, by name."""
    if source.suffix == SUFFIX and source.is_file():
        return [source]
    return sorted(p for p in source.glob(f"*{SUFFIX}") if p.is_file() and p.name[0] != ".")


def members_of(shard: Path) -> list[Member]:
    """The images of a shard, in its order; one that is a link has the bytes of its target.

    A key is a name up to the first dot after the last slash. Raises BadInput for a shard that is
    no whole tar file, for an image without a label among others that have one, for two images or
    labels of one key, and for a link to what is not in the shard.
    """
    try:
        with tarfile.open(shard, "r:") as archive:
            images, texts = _images_and_labels(shard, archive)
            labels = {
                key: file.read().decode().strip()
                for key, (_, target) in texts.items()
                if (file := archive.extractfile(target))
            }
    except (tarfile.TarError, UnicodeDecodeError, OSError) as error:
        raise BadInput(f"{shard}: not a whole tar file ({error}); fetch it again") from None
    if missing := [key for key in images if labels and key not in labels]:
        raise BadInput(f"{shard}: {missing[0]}.{LABEL} is missing, others have one; add it")
    return [
        Member(shard, name, key, target.offset_data, target.size, labels.get(key))
        for key, (name, target) in images.items()
    ]


def _images_and_labels(shard: Path, archive: tarfile.TarFile) -> tuple[Found, Found]:
    there = {posixpath.normpath(info.name): info for info in archive}
    images: Found = {}
    labels: Found = {}
    for info in archive.getmembers():
        key, extension = split_key(info.name)
        if extension not in (*IMAGES, LABEL):
            continue
        target = _target(info, there)
        if target is None:
            raise BadInput(
                f"{shard}: {info.name} is a link to {info.linkname}, which is not in it; "
                "make it again with tar --dereference --hard-dereference"
            )
        if not target.isfile():
            continue
        kind, found = ("labels", labels) if extension == LABEL else ("images", images)
        if key in found:
            # Which of them is meant is for nobody to guess: unpacking would keep the last.
            raise BadInput(
                f"{shard}: {key} has two {kind}, {found[key][0]} and {info.name}; "
                "make it again with one of them"
            )
        found[key] = info.name, target
    return images, labels


def _target(info: tarfile.TarInfo, there: dict[str, tarfile.TarInfo]) -> tarfile.TarInfo | None:
    """The member that a link means in the end, among those `there` by name; None if it is not."""
    passed: set[str] = set()
    found: tarfile.TarInfo | None = info
    while found is not None and (found.islnk() or found.issym()):
        # Hard links name a member, symbolic ones a path from where they lie.
        folder = "" if found.islnk() else posixpath.dirname(found.name)
        name = posixpath.normpath(posixpath.join(folder, found.linkname))
        if name in passed:
            return None
        passed.add(name)
        found = there.get(name)
    return found


def split_key(name: str) -> tuple[str, str]:
    """A member's key and extension, in small letters: "a/b.seg.PNG" is ("a/b", "seg.png")."""
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return f"{folder}{slash}{stem}", extension.lower()


def is_number(label: str) -> bool:
    """Whether a label is a written number, and no name."""
    return label.isascii() and label.isdecimal()


def is_too_large(label: str) -> bool:
    """Whether a written number is no label: LABELS or above."""
    # Python takes no more than some thousand digits for a number.
    return len(label.lstrip("0")) > len(str(LABELS)) or int(label[-len(str(LABELS)) :]) >= LABELS


def number_labels(labels: list[str]) -> tuple[list[int], tuple[str, ...]]:
    """Labels as numbers, and the names that these stand for; written numbers stay as they are."""
    if all(map(is_number, labels)):
        return [int(label.lstrip("0") or 0) for label in labels], ()
    classes = tuple(sorted(set(labels)))
    number = {name: n for n, name in enumerate(classes)}
    return [number[label] for label in labels], classes
