"""Evaluate one checkpoint of a campaign: numbers into JSON and events, and pictures."""

import json
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mae.build import build_model, view_of
from mae.config import Config
from mae.data.loader import Batch, plain_batches, reporting
from mae.data.sources import Images, Splits, locate, open_source
from mae.errors import BadInput, TrainingFailed
from mae.evaluate.features import features
from mae.evaluate.knn import knn_top1
from mae.evaluate.linear import linear_top1
from mae.evaluate.places import places_of
from mae.evaluate.reconstruction import reconstruct, reconstruction_metrics
from mae.files import refuse_unwritable, write_atomically
from mae.model import MaskedAutoencoderViT
from mae.train import checkpoint as checkpoints
from mae.train.campaign import Campaign, open_campaign, read_history
from mae.train.checkpoint import MANIFEST, Checkpoint
from mae.train.device import choose_device, choose_kernels, choose_precision
from mae.train.events import Events
from mae.train.stopping import Stop

BATCH = 50  # larger ones leave the CPU caches: 1.3 times slower at 250
PICTURED = 10


def evaluate(
    root: Path, stop: Stop, events: Events, chosen: Path | None = None, data: str | None = None
) -> dict[str, Any]:
    """Score a checkpoint, the newest valid one by default; the result as it is written to JSON.

    Raises Paused when there is a reason to stop, and TrainingFailed for a network that computes no
    numbers; then nothing has been written.
    """
    campaign, config = open_campaign(root)
    checkpoint = choose_checkpoint(campaign, chosen, events.note)
    other = other_source(config, data)
    source = other or config.data.source
    bench = Bench(config, open_source(source), stop, events.note)
    places = places_of(campaign, checkpoint.path.name, other)
    for place in (places.result, places.picture):
        refuse_unwritable(place)

    model = bench.model(checkpoint)
    metrics = bench.reconstruction(model)
    if not math.isfinite(metrics["reconstruction_loss"] + metrics["reconstruction_mse"]):
        raise ruined(checkpoint)
    bench.picture(model, places.picture, f"step {checkpoint.step}, {source}")
    if bench.labelled:
        metrics |= bench.classification(model)
        metrics |= _random_init(places.random_init, bench, source)

    result = {
        "step": checkpoint.step,
        "checkpoint": checkpoint.path.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": config.recipe.seed,
        "data": source,
        "metrics": metrics,
    }
    write_json(places.result, result)
    for name, value in metrics.items():
        events.metric(name, checkpoint.step, value)
    events.artifact("reconstruction", places.picture)
    if places.curves is not None:
        from mae.evaluate.pictures import save_curves

        save_curves(places.curves, read_history(campaign), read_evaluations(campaign, source))
        events.artifact("loss", places.curves)
    return result


def other_source(config: Config, data: str | None) -> str:
    """Where the asked images lie, if they are others than the campaign's; else empty."""
    located = locate(data) if data else ""
    return "" if located == locate(config.data.source) else located


class Bench:
    """Images and a device, ready to try networks on."""

    def __init__(
        self, config: Config, splits: Splits, stop: Stop, note: Callable[[str], None]
    ) -> None:
        self.config, self.splits, self.stop, self.note = config, splits, stop, note
        self.unreadable: set[Path] = set()
        self.view = view_of(config)
        self.device = choose_device(config.run.threads)
        self.precision = choose_precision(self.device, config.model.width, config.run.precision)
        self.labelled = splits.train.labels is not None and splits.held_out.labels is not None

    def model(self, checkpoint: Checkpoint | None) -> MaskedAutoencoderViT:
        """The network with a checkpoint's weights, or with those it had before it learnt."""
        model = build_model(self.config.model, self.config.recipe.seed)
        if checkpoint is not None:
            try:
                model.load_state_dict(checkpoints.load_weights(checkpoint))
            except RuntimeError:
                raise BadInput(
                    f"{checkpoint.path}: its weights do not fit the campaign's config.toml"
                ) from None
        choose_kernels(model, self.device, self.precision)
        return model.eval().to(self.device)

    def reconstruction(self, model: MaskedAutoencoderViT) -> dict[str, float]:
        """Errors of filling in the held-out images."""
        batches, ratio = self._batches(self.splits.held_out), self.config.recipe.mask_ratio
        return reconstruction_metrics(model, batches, self.view, ratio, self.precision, self.stop)

    def picture(self, model: MaskedAutoencoderViT, path: Path, title: str) -> None:
        """The first held-out images, filled in."""
        from mae.evaluate.pictures import save_reconstruction

        self.stop.check()
        batches = plain_batches(self.splits.held_out, self.view, PICTURED, self.device, 0)
        batch = next(reporting(batches, self.note, self.unreadable))
        ratio = self.config.recipe.mask_ratio
        save_reconstruction(
            path, reconstruct(model, batch, self.view, ratio, self.precision), title
        )

    def classification(self, model: MaskedAutoencoderViT) -> dict[str, float]:
        """Percent of held-out images that neighbours and a linear probe class rightly."""
        train, test = (
            self._labelled_features(model, images)
            for images in (self.splits.train, self.splits.held_out)
        )
        # Numbers of classes may have gaps, as identifiers have: nothing need be made for those.
        _, numbers = torch.cat([train[1], test[1]]).unique(return_inverse=True)
        labels = numbers.split([len(train[1]), len(test[1])])
        known, asked = (train[0], labels[0]), (test[0], labels[1])
        return {
            "knn_top1": knn_top1(*known, *asked),
            "linear_top1": linear_top1(*known, *asked, self.stop),
        }

    def _labelled_features(
        self, model: MaskedAutoencoderViT, images: Images
    ) -> tuple[torch.Tensor, torch.Tensor]:
        found, samples = features(model, self._batches(images), self.precision, self.stop)
        labels = np.asarray(images.labels)[samples]
        return found, torch.from_numpy(labels).to(self.device)

    def _batches(self, images: Images) -> Iterator[Batch]:
        workers = self.config.run.workers
        batches = plain_batches(images, self.view, BATCH, self.device, workers)
        return reporting(batches, self.note, self.unreadable)


def read_evaluations(campaign: Campaign, source: str) -> list[dict[str, Any]]:
    """What has been evaluated on these data, by step; files of another shape are passed over."""
    results = map(read_scores, sorted(campaign.evaluations.glob("step-*.json")))
    return [r for r in results if r.get("data") == source and _is_number(r.get("step"))]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def read_scores(path: Path) -> dict[str, Any]:
    """A JSON object that has metrics, as `write_json` left it; empty if there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    metrics = found.get("metrics") if isinstance(found, dict) else None
    return found if isinstance(metrics, dict) and all(map(_is_number, metrics.values())) else {}


def choose_checkpoint(
    campaign: Campaign, chosen: Path | None, note: Callable[[str], None]
) -> Checkpoint:
    """The chosen checkpoint, a path or a name in the campaign, or else the newest valid one.

    Raises BadInput for one that goes by the name of another of the campaign's, whose results it
    would replace.
    """
    if chosen is not None:
        named = campaign.checkpoints / chosen.name
        found = checkpoints.read(chosen if chosen.exists() else named, hashes=True)
        if (named / MANIFEST).is_file() and checkpoints.read(named).sha256 != found.sha256:
            raise BadInput(
                f"--checkpoint {chosen}: another one than the campaign's {named}; name the "
                "campaign that it is of"
            )
        return found
    newest = checkpoints.newest_valid(campaign.checkpoints, note)
    if newest is None:
        raise BadInput(f"{campaign.checkpoints}: no valid checkpoint yet; run `mae pretrain` first")
    return newest


def ruined(checkpoint: Checkpoint) -> TrainingFailed:
    """What is said of weights from which no numbers come."""
    return TrainingFailed(
        f"{checkpoint.path}: what the network computes is infinite or no number: its weights are "
        "ruined; name an older one with --checkpoint"
    )


def _random_init(path: Path, bench: Bench, source: str) -> dict[str, float]:
    """What the network scores before it learns anything; measured once, and kept at `path`."""
    same = {"config_hash": bench.config.hash, "data": source}
    identity = {**same, "classes": len(bench.splits.classes)}
    cached = read_scores(path)
    if identity.items() <= cached.items() and cached["metrics"]:
        return dict(cached["metrics"])
    scores = bench.classification(bench.model(None))
    metrics = {f"random_{name}": value for name, value in scores.items()}
    if same.items() <= cached.items() and cached["metrics"] and cached["metrics"] != metrics:
        bench.note(
            f"{path.name}: random weights score otherwise than before on {source}: its classes are "
            "others now, and earlier scores are not to be compared with those from now on"
        )
    write_json(path, {**identity, "metrics": metrics})
    return metrics


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file, whole or not at all, making its directory if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())
