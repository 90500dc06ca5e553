"""Tar shards as webdataset has them: KEY.jpg with KEY.cls beside it, read where they lie."""

import tarfile
from pathlib import Path
from typing import NamedTuple

from mae.errors import BadInput

SUFFIX = ".tar"
IMAGES = ("jpg", "jpeg", "png")
LABEL = "cls"


class Member(NamedTuple):
    """An image in a shard: its bytes are `size` ones from `offset` on; `label` as written."""

    shard: Path
    name: str
    key: str
    offset: int
    size: int
    label: str | None


def shards_below(source: Path) -> list[Path]:
    """The shards that a path means: itself, or those in the directory, by name."""
    if source.suffix == SUFFIX and source.is_file():
        return [source]
    return sorted(p for p in source.glob(f"*{SUFFIX}") if p.is_file() and p.name[0] != ".")


def members_of(shard: Path) -> list[Member]:
    """The images of a shard, in its order.

    A key is a name up to the first dot after the last slash. Raises BadInput for a shard that is
    no whole tar file, and for an image without a label among others that have one.
    """
    images: dict[str, tarfile.TarInfo] = {}
    labels: dict[str, str] = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for info in archive:
                key, extension = split_key(info.name)
                if not info.isfile():
                    continue
                if extension in IMAGES:
                    images[key] = info
                elif extension == LABEL and (file := archive.extractfile(info)):
                    labels[key] = file.read().decode().strip()
    except (tarfile.TarError, UnicodeDecodeError, OSError) as error:
        raise BadInput(f"{shard}: not a whole tar file ({error}); fetch it again") from None
    if missing := [key for key in images if labels and key not in labels]:
        raise BadInput(f"{shard}: {missing[0]}.{LABEL} is missing, others have one; add it")
    return [
        Member(shard, info.name, key, info.offset_data, info.size, labels.get(key))
        for key, info in images.items()
    ]


def split_key(name: str) -> tuple[str, str]:
    """A member's key and extension, in small letters: "a/b.seg.PNG" is ("a/b", "seg.png")."""
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return f"{folder}{slash}{stem}", extension.lower()


def number_labels(labels: list[str]) -> tuple[list[int], tuple[str, ...]]:
    """Labels as numbers, and the names that these stand for; written numbers stay as they are."""
    if all(label.isascii() and label.isdecimal() for label in labels):
        return [int(label) for label in labels], ()
    classes = tuple(sorted(set(labels)))
    number = {name: n for n, name in enumerate(classes)}
    return [number[label] for label in labels], classes
