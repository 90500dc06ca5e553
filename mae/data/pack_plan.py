"""What is to be packed, how, and how far it is. Reads only; mae.data.pack does it."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from mae.data.crop import UNREADABLE
from mae.data.listing import Listing
from mae.data.packing import Size, packed_view
from mae.data.store import FORMAT, KIND, PIXELS, is_store, read_manifest
from mae.errors import BadInput

CHUNK_BYTES = 2**26  # about
CHUNK_IMAGES = 4096  # at most
PROBED = 64  # images whose size is looked up to tell how large a store will be


@dataclass(frozen=True)
class Task:
    """What is to be packed, how, and where to."""

    listing: Listing
    output: Path
    size: Size
    channels: int
    upright: bool = False

    @property
    def work(self) -> Path:
        return self.output.with_name(f".tmp-{self.output.name}")

    @property
    def journal(self) -> Path:
        return self.work / "journal.jsonl"

    @property
    def pixels(self) -> Path:
        return self.work / "store" / PIXELS

    @property
    def chunks(self) -> list[range]:
        """Which images of the listing each chunk has."""
        height, width = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        fitting = CHUNK_BYTES // (height * width * self.channels)
        images, length = range(len(self.listing)), min(max(fitting, 1), CHUNK_IMAGES)
        return [images[n : n + length] for n in range(0, len(images), length)]

    @property
    def plan(self) -> dict[str, Any]:
        """All that the store's bytes depend on."""
        return {
            "kind": KIND,
            "format": FORMAT,
            "source": {"path": self.listing.source, "sha256": self.listing.sha256},
            "size": list(self.size) if isinstance(self.size, tuple) else self.size,
            "channels": self.channels,
            "pillow": PIL.__version__,
            **({"upright": True} if self.upright else {}),
        }


def begun(task: Task) -> list[dict[str, Any]]:
    """The chunks of this task that are on the disk. Reads only.

    Raises BadInput if there is something else where the store should be.
    """
    if task.output.exists() or task.output.is_symlink():
        raise BadInput(f"--output {task.output}: exists; remove it, or name another")
    try:
        if json.loads((task.work / "plan.json").read_text()) != task.plan:
            return []
        return sound_lines(task.journal.read_bytes(), task.pixels.stat().st_size)
    except (OSError, ValueError):
        return []


def sound_lines(journal: bytes, size: int) -> list[dict[str, Any]]:
    """The chunks that a journal tells of, up to a torn line or to what `size` bytes cannot hold."""
    found: list[dict[str, Any]] = []
    for line in journal.splitlines(keepends=True):
        try:
            chunk = json.loads(line)
            size -= chunk["bytes"]
        except (ValueError, KeyError, TypeError):
            break
        if size < 0 or not line.endswith(b"\n"):
            break
        found.append(chunk)
    return found


def finished(task: Task) -> dict[str, Any] | None:
    """The manifest of the store, if this very task has been done before."""
    if not is_store(task.output):
        return None
    manifest = read_manifest(task.output)
    same = task.plan.items() <= manifest.items()
    return manifest if same and manifest.get("upright", False) == task.upright else None


def expected_bytes(task: Task) -> int:
    """About how large the store's pixels will be, from some of its images spread evenly."""
    numbers = np.linspace(0, len(task.listing) - 1, min(PROBED, len(task.listing))).astype(int)
    areas = []
    for number in numbers.tolist():
        try:
            with task.listing.open(number) as image:
                areas.append(np.prod(packed_view(image.height, image.width, task.size)[1]))
        except UNREADABLE:
            continue
    return int(np.mean(areas or [0]) * len(task.listing) * task.channels)


def check_space(task: Task, expected: int, done: int) -> int:
    """Bytes free for the store; raises BadInput if what is still to be written needs more."""
    place = next(p for p in task.output.absolute().parents if p.exists())
    free = shutil.disk_usage(place).free
    if free < expected - done:
        raise BadInput(
            f"--output {task.output}: {free / 1e9:.1f} GB are free, and about "
            f"{(expected - done) / 1e9:.1f} GB are still to be written; "
            "make room, or ask for a smaller --size"
        )
    return free


def plan_of(task: Task) -> dict[str, Any]:
    """What packing would do. Writes nothing; raises BadInput where it would."""
    if manifest := finished(task):
        done, images, expected = manifest["chunks"], len(task.listing), manifest["bytes"]
    else:
        done, expected = begun(task), expected_bytes(task)
        images = (task.chunks[: len(done)] or [range(0)])[-1].stop
    train = task.listing.train
    return {
        "status": "planned",
        "store": str(task.output),
        "train": train,
        "held_out": len(task.listing) - train,
        "classes": list(task.listing.classes),
        "channels": task.channels,
        "bytes": expected,
        "free": check_space(task, expected, sum(chunk["bytes"] for chunk in done)),
        "images": images,  # packed already
        "chunks": len(task.chunks),
        "resumed_chunks": len(done),
        "source_sha256": task.listing.sha256,
    }
