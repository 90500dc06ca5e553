"""Packing: a source becomes a store, chunk by chunk, whole or not there.

    .tmp-STORE/
        plan.json        what is packed and how; another plan begins anew
        journal.jsonl    a line for each chunk whose pixels are on the disk
        store/           becomes STORE by one rename: see mae.data.store

A chunk's pixels are appended and fsynced, then its line. So after a kill at any moment the journal
tells what can be kept, and one chunk at most is made again. Chunks have a fixed number of images of
the source, and nothing depends on time or workers: the same source gives the same bytes.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import chain
from typing import IO, Any

import numpy as np

from mae.data.pack_plan import Task, begun, check_space, expected_bytes, finished
from mae.data.packing import Make, makers
from mae.data.store import INDEX, MANIFEST
from mae.errors import BadInput
from mae.files import held, sync, write_atomically


def pack(
    task: Task,
    workers: int,
    skip_bad: bool,
    stop: Callable[[], str | None],
    note: Callable[[str], None],
    show: Callable[[int], None],
) -> dict[str, Any]:
    """Make the store, going on from what is there, and tell how it went.

    `show` is told how many images are done, `note` every image that is left out. The report's
    `status` is "completed", or "paused" when `stop` had a reason. Raises BadInput for an unreadable
    image unless `skip_bad`, Busy if another process packs into the same place.
    """
    if manifest := finished(task):
        if manifest["bad"] and not skip_bad:
            raise _refused(task, manifest["bad"][0]["name"], manifest["bad"][0]["reason"])
        shutil.rmtree(task.work, ignore_errors=True)  # a kill came after the last rename
        return report_of(task, "completed", manifest, len(manifest["chunks"]))
    done = begun(task)
    check_space(task, expected_bytes(task), sum(chunk["bytes"] for chunk in done))
    task.pixels.parent.mkdir(parents=True, exist_ok=True)
    with held(task.work / ".lock", patience=2.0):
        done = begun(task)  # another process may have been at work
        resumed, left_out = len(done), [bad for chunk in done for bad in chunk["bad"]]
        if left_out and not skip_bad:
            raise _refused(task, *left_out[0][1:])
        _rewind(task, done)
        for bad in left_out:
            note(_left_out(bad))
        try:
            with makers(task.listing, task.size, task.channels, workers, task.upright) as make:
                for line in _chunks(task, resumed, make, skip_bad, stop, note, show):
                    done.append(line)
            if reason := stop() if len(done) < len(task.chunks) else None:
                images = task.chunks[len(done)].start
                return {"status": "paused", "reason": reason, "images": images}
            manifest = _publish(task, done)
        except BadInput:
            if not done:
                shutil.rmtree(task.work)
            raise
        shutil.rmtree(task.work)
    return report_of(task, "completed", manifest, resumed)


def report_of(task: Task, status: str, manifest: dict[str, Any], resumed: int) -> dict[str, Any]:
    """What a person or a program wants to know of a store that is there."""
    told = {k: manifest[k] for k in ("train", "held_out", "classes", "channels", "bytes", "bad")}
    chunks = {"chunks": len(manifest["chunks"]), "resumed_chunks": resumed}
    source = {"source_sha256": manifest["source"]["sha256"]}
    return {"status": status, "store": str(task.output), **told, **chunks, **source}


def _chunks(
    task: Task, resumed: int, make: Make, skip_bad: bool,
    stop: Callable[[], str | None], note: Callable[[str], None], show: Callable[[int], None],
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Do what is left, and give each chunk's line once both are on the disk; end at a reason."""
    with task.pixels.open("ab") as pixels, task.journal.open("ab") as journal:
        for images in task.chunks[resumed:]:
            line = _append(task, images, make, pixels, skip_bad, stop, note, show)
            if line is None:
                return
            journal.write(json.dumps(line).encode() + b"\n")
            journal.flush()
            os.fsync(journal.fileno())
            yield line


def _rewind(task: Task, done: list[dict[str, Any]]) -> None:
    """Take the work back to the end of its last sound chunk."""
    write_atomically(task.journal, b"".join(json.dumps(c).encode() + b"\n" for c in done))
    write_atomically(task.work / "plan.json", json.dumps(task.plan).encode())
    with task.pixels.open("ab") as file:
        file.truncate(sum(chunk["bytes"] for chunk in done))
    for other in task.pixels.parent.iterdir():
        if other != task.pixels:
            other.unlink()  # a kill left it when all but the last was done
    sync(task.pixels.parent)


def _append(
    task: Task, images: range, make: Make, pixels: IO[bytes], skip_bad: bool,
    stop: Callable[[], str | None], note: Callable[[str], None], show: Callable[[int], None],
) -> dict[str, Any] | None:  # fmt: skip
    """Add a chunk's pixels, and give its line for the journal; None when there is cause to stop."""
    digest, size = hashlib.sha256(), 0
    shapes: list[list[int]] = []
    bad: list[list[Any]] = []
    for number, made in zip(images, make(images), strict=True):
        if stop():
            return None
        if isinstance(made, str):
            bad.append([number, task.listing.names[number], made])
            if not skip_bad:
                raise _refused(task, task.listing.names[number], made)
            note(_left_out(bad[-1]))
        else:
            content = made.tobytes()
            pixels.write(content)
            digest.update(content)
            size += len(content)
            shapes.append(list(made.shape[:2]))
        show(number + 1)
    pixels.flush()
    os.fsync(pixels.fileno())
    return {
        "images": len(shapes),
        "bytes": size,
        "sha256": digest.hexdigest(),
        "shapes": shapes,
        "bad": bad,
    }


def _refused(task: Task, name: str, why: str) -> BadInput:
    return BadInput(
        f"{task.listing.source}: {name}: {why}; "
        "mend or remove it, or leave it out with --on-bad skip"
    )


def _left_out(bad: list[Any]) -> str:
    return f"{bad[1]}: {bad[2]}; left out"


def _publish(task: Task, done: list[dict[str, Any]]) -> dict[str, Any]:
    """Write index and manifest, and give the store its name; the manifest."""
    left_out = {number: (name, why) for chunk in done for number, name, why in chunk["bad"]}
    kept = np.array([n for n in range(len(task.listing)) if n not in left_out])
    train = int((kept < task.listing.train).sum())
    if not 0 < train < len(kept):
        raise BadInput(
            f"{task.listing.source}: {len(left_out)} images cannot be read, and of those to learn "
            f"from {train} are left, of those held out {len(kept) - train}; mend or add some"
        )
    shapes = np.array(list(chain.from_iterable(c["shapes"] for c in done)), dtype=np.int64)
    sizes = shapes.prod(axis=1) * task.channels
    offsets = np.cumsum(sizes) - sizes
    labels = np.array(task.listing.labels, dtype=np.int64)[kept]
    index = BytesIO()
    np.save(index, np.column_stack([offsets, shapes, labels]))
    manifest = {
        **task.plan,
        "train": train,
        "held_out": len(kept) - train,
        "classes": list(task.listing.classes),
        "shape": shapes[0].tolist() if (shapes == shapes[0]).all() else None,
        "bytes": int(sizes.sum()),
        "index": {"sha256": hashlib.sha256(index.getvalue()).hexdigest()},
        "chunks": [{k: chunk[k] for k in ("images", "bytes", "sha256")} for chunk in done],
        "bad": [{"name": name, "reason": why} for name, why in left_out.values()],
    }
    store = task.pixels.parent
    write_atomically(store / INDEX, index.getvalue())
    write_atomically(store / MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())
    store.rename(task.output)
    sync(task.output.parent)
    return manifest
