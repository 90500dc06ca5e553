"""One night of pretraining: from the newest valid checkpoint to the end, or to a reason to stop."""

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from mae.build import view_of
from mae.config import Config
from mae.data.loader import reporting, steps_per_epoch, training_batches
from mae.data.sources import Images, open_source
from mae.errors import BadInput, TrainingFailed
from mae.files import held
from mae.train import checkpoint as checkpoints
from mae.train.campaign import (
    Campaign,
    append_history,
    frozen_config,
    read_history,
    rewind_history,
    settle_source,
)
from mae.train.device import choose_device
from mae.train.divergence import (
    Diverged,
    Divergence,
    note_skipped,
    read_skipped,
    why_diverged,
)
from mae.train.events import Events
from mae.train.flops import peak_flops, training_flops
from mae.train.progress import Show, progress
from mae.train.stopping import Stop
from mae.train.trainer import Trainer

SLACK_SECONDS = 1.5
# A guess at how fast a disk takes a checkpoint, until one has been timed.
DISK_BYTES_PER_SECOND = 100e6


@dataclass
class Keeper:
    """Puts checkpoints on the disk, and knows how long that takes and when one is due."""

    campaign: Campaign
    trainer: Trainer
    events: Events
    saved_step: int
    metrics: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.saved_at = time.monotonic()
        # Weights and AdamW's two moments, in float32.
        size = 12 * sum(w.numel() for w in self.trainer.model.parameters())
        self.seconds = size / DISK_BYTES_PER_SECOND
        self.revision = code_revision()

    @property
    def due(self) -> bool:
        run = self.trainer.config.run
        if run.checkpoint_every_steps and self.trainer.step % run.checkpoint_every_steps == 0:
            return True
        return time.monotonic() - self.saved_at >= run.checkpoint_every_seconds

    def save(self) -> None:
        """Write a checkpoint, unless this step has one."""
        trainer = self.trainer
        if trainer.step == self.saved_step:
            return
        begun = time.monotonic()
        facts = {
            "step": trainer.step,
            "epoch": round(trainer.epoch, 4),
            "samples": trainer.step * trainer.config.recipe.batch_size,
            "config_hash": trainer.config.hash,
            "code_revision": self.revision,
            "metrics": self.metrics,
        }
        weights = trainer.model.state_dict()
        saved = checkpoints.save(self.campaign.checkpoints, weights, trainer.state(), facts)
        self.saved_step, self.saved_at = trainer.step, time.monotonic()
        self.seconds = max(self.seconds, self.saved_at - begun)
        self.events.checkpoint(saved.path, saved.step, saved.size, saved.sha256)


@dataclass
class Window:
    """Losses since the history's last line, summed on the device so that no step waits for it."""

    total: Tensor
    first: int = 0  # the first of its steps
    steps: int = 0
    begun: float = field(default_factory=time.monotonic)

    def add(self, loss: Tensor) -> None:
        self.total += loss
        self.steps += 1

    def close(self, batch_size: int) -> tuple[float, float]:
        """Mean loss and images per second, and start anew."""
        loss = self.total.item() / self.steps
        speed = self.steps * batch_size / (time.monotonic() - self.begun)
        self.total.zero_()
        self.steps, self.begun = 0, time.monotonic()
        return loss, speed


def pretrain(
    root: Path, asked: Config, stop: Stop, events: Events, until_step: int | None = None
) -> tuple[str, str]:
    """Train a campaign for a night: its status ("completed" or "paused") and the reason.

    The steps done, and so the weights, do not depend on how many nights they took.
    """
    campaign = Campaign(root)
    asked = settle_source(campaign, asked)
    images = open_source(asked.data.source).train
    steps_per_epoch(images, asked.recipe.batch_size)  # refuses before there is a directory
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            f"--output {root}: {error.strerror}; name a directory that can be written"
        ) from None
    with held(campaign.lock):
        config = frozen_config(campaign, asked, events.note)
        checkpoints.clean(campaign.checkpoints)
        trainer = _begin(campaign, config, images, events)
        skipped, count = read_skipped(campaign.skipped), 0
        while True:
            try:
                status, reason = _train(campaign, trainer, stop, events, until_step, skipped)
                break
            except Diverged as error:
                skipped = note_skipped(campaign.skipped, error.divergence)
                count += 1
                if count > config.run.most_divergences:
                    raise _failed(skipped[-count:], campaign) from error
                events.note(f"{error}; going back to the last checkpoint, these steps left out")
                night = trainer.night
                trainer = _begin(campaign, config, images, events)
                trainer.night = night
    events.progress(trainer.step, trainer.total, trainer.epoch, last=True)
    events.outcome(status, reason)
    return status, reason


def _begin(campaign: Campaign, config: Config, images: Images, events: Events) -> Trainer:
    """A trainer where the newest valid checkpoint left off, or at the start."""
    trainer = Trainer(config, images, choose_device(config.run.threads))
    newest = checkpoints.newest_valid(campaign.checkpoints, events.note)
    if newest is not None:
        trainer.resume(newest)
        events.artifact("checkpoint_in", newest.path)
        changed = newest.manifest["config_hash"] != config.hash
        events.note(
            f"resuming from {newest.path.name} of {trainer.total} steps"
            + ("; config.toml has been edited since" if changed else "")
        )
    rewind_history(campaign, trainer.step)
    return trainer


def _failed(divergences: list[Divergence], campaign: Campaign) -> TrainingFailed:
    told = "; ".join(map(str, divergences))
    return TrainingFailed(
        f"the training went wrong {len(divergences)} times ({told}); the last checkpoint is from "
        f"before, and {campaign.skipped} has the steps: lower recipe.base_lr or set "
        "recipe.clip_grad"
    )


def _train(
    campaign: Campaign,
    trainer: Trainer,
    stop: Stop,
    events: Events,
    until_step: int | None,
    skipped: list[Divergence],
) -> tuple[str, str]:
    config = trainer.config
    keeper = Keeper(campaign, trainer, events, saved_step=trainer.step)
    losses = [row["loss"] for row in read_history(campaign)]
    if losses:
        keeper.metrics = {"loss": losses[-1]}
    window = Window(torch.zeros((), device=trainer.device))
    last = min(trainer.total, until_step or trainer.total)
    longest_step = 0.0
    flops = training_flops(config.model, config.recipe.mask_ratio)
    peak = peak_flops(trainer.device, trainer.precision)

    def note_history(rate: float, show: Show) -> None:
        if not window.steps:
            return
        first = window.first
        loss, speed = window.close(config.recipe.batch_size)
        if why := why_diverged(loss, losses):
            raise Diverged(Divergence(first, trainer.step, loss, why))
        losses.append(loss)
        keeper.metrics = {"loss": loss}
        row = {"step": trainer.step, "epoch": round(trainer.epoch, 4), "loss": loss, "lr": rate}
        utilisation = speed * flops / peak
        row |= {"images_per_second": round(speed, 1), "utilisation": round(utilisation, 4)}
        row |= {"time": time.time(), "night": trainer.night}
        append_history(campaign, row)
        told = {"loss": loss, "lr": rate, "images_per_second": speed, "utilisation": utilisation}
        events.training_metrics(trainer.step, told)
        show(trainer.step, loss)

    batches = training_batches(
        trainer.images,
        view_of(config),
        config.recipe.seed,
        config.recipe.batch_size,
        range(trainer.step, last),
        trainer.device,
        config.run.workers,
    )
    batches = reporting(batches, events.note)
    reason = stop.reason(keeper.seconds)
    rate = 0.0
    with progress(trainer.total, trainer.step) as show:
        while trainer.step < last and not reason:
            begun = time.monotonic()
            batch = next(batches)
            if any(trainer.step in divergence for divergence in skipped):
                trainer.step += 1
                continue
            window.first = window.first if window.steps else trainer.step
            loss, rate = trainer.train_on(batch)
            window.add(loss)
            if trainer.step % config.run.log_every_steps == 0:
                note_history(rate, show)
            events.progress(trainer.step, trainer.total, trainer.epoch)
            longest_step = max(longest_step, time.monotonic() - begun)
            if keeper.due:
                note_history(rate, show)
                keeper.save()
            reason = stop.reason(2 * keeper.seconds + longest_step + SLACK_SECONDS)
        note_history(rate, show)
        keeper.save()
    if trainer.step >= trainer.total:
        return "completed", f"all {trainer.total} steps are done"
    return "paused", reason or f"step {until_step}"


def code_revision() -> str | None:
    """The git commit that last touched this package, if it runs from a checkout."""
    command = ["git", "log", "-1", "--format=%H", "--", "."]
    here = Path(__file__).parents[1]
    try:
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None
