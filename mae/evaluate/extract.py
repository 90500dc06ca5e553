"""Features of a source's images into a file, for whatever is to be tried on them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mae.data.loader import Batch, plain_batches, reporting
from mae.data.sources import Files, Images, locate, open_source
from mae.errors import BadInput
from mae.evaluate.features import features
from mae.evaluate.run import BATCH, Bench, choose_checkpoint, ruined
from mae.files import appearing, refuse_existing, refuse_unwritable
from mae.train.campaign import open_campaign
from mae.train.events import Events
from mae.train.progress import counting
from mae.train.stopping import Stop

SUFFIX = ".npz"
SPLITS = ("train", "held-out")


@dataclass(frozen=True)
class Wanted:
    """Which features go where."""

    root: Path  # campaign
    output: Path
    split: Literal["train", "held-out", "both"] = "both"
    pool: Literal["mean", "cls"] = "mean"
    chosen: Path | None = None  # checkpoint
    data: str | None = None


def extract(wanted: Wanted, stop: Stop, events: Events, dry_run: bool = False) -> dict[str, Any]:
    """Write the features of a checkpoint, and return what the file's `meta` says.

        features   (N, D) float32
        labels     (N,) int64, -1 where there is none
        samples    (N,) int64, index into the split
        split      (N,) uint8, 0 training, 1 held out
        names      (N,) str, the image file's path; empty for other sources
        meta       JSON: campaign, checkpoint, step, checkpoint_sha256, data, pool, images, width

    Raises Paused when there is a reason to stop, TrainingFailed for features that are no numbers,
    BadInput if there is something at the output already, or nothing can be made there; and then
    has written nothing.
    """
    if wanted.output.suffix != SUFFIX:
        raise BadInput(f"--output {wanted.output}: features go into a {SUFFIX} file; name one")
    refuse_existing(wanted.output)
    refuse_unwritable(wanted.output)
    campaign, config = open_campaign(wanted.root)
    checkpoint = choose_checkpoint(campaign, wanted.chosen, events.note)
    data = locate(wanted.data) if wanted.data else config.data.source
    bench = Bench(config, open_source(data), stop, events.note)
    sources = [bench.splits.train, bench.splits.held_out]
    chosen = [n for n in range(2) if wanted.split in (SPLITS[n], "both")]
    total = sum(len(sources[n]) for n in chosen)
    meta = {
        "campaign": str(wanted.root.absolute()),
        "checkpoint": checkpoint.path.name,
        "step": checkpoint.step,
        "checkpoint_sha256": checkpoint.sha256,
        "data": data,
        "pool": wanted.pool,
        "images": total,
        "width": config.model.width,
    }
    if dry_run:
        return meta
    model = bench.model(checkpoint)
    columns: list[dict[str, np.ndarray]] = []
    with counting("features", total, "images") as show:
        done = 0

        def counted(batches: Iterator[Batch], told: Callable[[int], None]) -> Iterator[Batch]:
            nonlocal done
            for batch in batches:
                yield batch
                done += len(batch.samples)
                told(done)
                events.progress(done, total, done / total, last=done == total)

        for number in chosen:
            images = sources[number]
            batches = plain_batches(images, bench.view, BATCH, bench.device, config.run.workers)
            batches = counted(reporting(batches, events.note, bench.unreadable), show)
            found, samples = features(model, batches, bench.precision, stop, wanted.pool)
            if not found.isfinite().all():
                raise ruined(checkpoint)
            columns.append(_columns(images, number, found.cpu().numpy(), samples))
    told = {name: np.concatenate([c[name] for c in columns]) for name in columns[0]}
    meta["images"] = len(told["features"])  # unreadable ones are left out
    with appearing(wanted.output) as temporary, temporary.open("wb") as file:
        np.savez(file, meta=np.array(json.dumps(meta)), **told)
    events.artifact("features", wanted.output)
    return meta


def _columns(
    images: Images, number: int, found: np.ndarray, samples: np.ndarray
) -> dict[str, np.ndarray]:
    labels = images.labels
    return {
        "features": found,
        "labels": np.full(len(samples), -1) if labels is None else np.asarray(labels)[samples],
        "samples": samples,
        "split": np.full(len(samples), number, np.uint8),
        "names": np.array(
            [str(images.paths[s]) if isinstance(images, Files) else "" for s in samples.tolist()]
        ),
    }
