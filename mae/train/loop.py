"""One night of pretraining: from the newest valid checkpoint to the end, or to a reason to stop."""

import time
from contextlib import ExitStack
from functools import partial
from itertools import chain, filterfalse
from math import ceil
from pathlib import Path

import torch

from mae.build import view_of
from mae.config import Config
from mae.data.course import course_of
from mae.data.loader import check_view, reporting, training_batches
from mae.data.sources import open_source
from mae.errors import TrainingFailed
from mae.train.beginning import begin, begin_again, enter
from mae.train.campaign import (
    Campaign,
    append_history,
    keep_config,
    read_history,
    settle_source,
)
from mae.train.divergence import (
    Diverged,
    Divergence,
    failed,
    note_skipped,
    read_skipped,
    why_diverged,
)
from mae.train.events import Events
from mae.train.flops import peak_flops, training_flops
from mae.train.keeper import Keeper
from mae.train.progress import Show, progress
from mae.train.ranks import ALONE, Agreed, Ranks
from mae.train.stopping import Stop
from mae.train.trainer import Trainer
from mae.train.window import Window

SLACK_SECONDS = 1.5


def pretrain(
    root: Path,
    asked: Config,
    stop: Stop,
    events: Events,
    until_step: int | None = None,
    ranks: Ranks = ALONE,
) -> tuple[str, str]:
    """Train a campaign for a night: its status ("completed" or "paused") and the reason.

    The steps done, and so the weights, do not depend on how many nights they took. Where there are
    several processes, the first of them touches the campaign's files; `events` are its alone.
    """
    campaign = Campaign(root)
    asked = ranks.decided(partial(settle_source, campaign, asked))
    splits = open_source(asked.data.source)
    images = splits.train
    # Refused before there is a directory.
    course_of(images, asked.recipe.batch_size)
    check_view(images, view_of(asked))
    ranks.share(asked.recipe.batch_size)
    with ExitStack() as lock:
        config, changed = ranks.decided(lambda: enter(campaign, asked, lock))
        trainer = begin(campaign, config, images, events, ranks)
        ranks.decided(lambda: keep_config(campaign, config, trainer.step, changed))
        if changed:
            events.note(f"from step {trainer.step} on the campaign has {'; '.join(changed)}")
        for text in splits.notes if trainer.origin is None else ():
            events.note(text)
        evening = trainer.step
        skipped = ranks.decided(partial(read_skipped, campaign.skipped))
        tonight: list[Divergence] = []
        while True:
            keeper = Keeper(campaign, trainer, events, saved_step=trainer.step)
            try:
                status, reason = _train(
                    campaign, trainer, stop, events, until_step, skipped, keeper
                )
                break
            except Diverged as error:
                tonight.append(error.divergence)
            finally:
                keeper.close()
            skipped = ranks.decided(partial(note_skipped, campaign.skipped, tonight[-1]))
            if len(tonight) > config.run.most_divergences:
                raise failed(tonight, campaign.skipped)
            events.note(f"{tonight[-1]}; going back to the last checkpoint, these steps left out")
            night = trainer.night
            del trainer, keeper  # a GPU may not have the room for two
            trainer, skipped = begin_again(campaign, config, images, events, ranks, skipped)
            trainer.night = night
    events.progress(trainer.step, trainer.total, trainer.epoch, last=True)
    if status == "paused" and trainer.step > evening:
        _tell_what_is_left(trainer, evening, events)
    events.outcome(status, reason)
    return status, reason


def _tell_what_is_left(trainer: Trainer, evening: int, events: Events) -> None:
    done = trainer.step - evening
    left = ceil((trainer.total - trainer.step) / done)
    events.metric("nights_left", trainer.step, left)
    epochs = f"{trainer.epoch:.1f} of {trainer.epochs:.1f} epochs"
    events.note(
        f"{trainer.step} of {trainer.total} steps, {epochs}; {done} steps tonight: {left} more "
        f"{'night' if left == 1 else 'nights'} like this one"
    )


def _train(
    campaign: Campaign,
    trainer: Trainer,
    stop: Stop,
    events: Events,
    until_step: int | None,
    skipped: list[Divergence],
    keeper: Keeper,
) -> tuple[str, str]:
    config, ranks = trainer.config, trainer.ranks
    losses = ranks.decided(lambda: [row["loss"] for row in read_history(campaign)])
    if losses:
        keeper.metrics = {"loss": losses[-1]}
    window = Window(torch.zeros((), device=trainer.device))
    last = min(trainer.total, until_step or trainer.total)
    longest_step = 0.0
    flops = training_flops(config.model, config.recipe.mask_ratio)
    peak = ranks.decided(lambda: peak_flops(trainer.device, trainer.precision)) * ranks.world
    unheard: list[str] = []  # notes of a process that does not speak, for the first one
    heard: set[str] = set()

    def note_history(rate: float, show: Show) -> None:
        if not window.steps:
            return
        first = window.first
        # Before the window asks the device: one that waits for a dead process does not answer.
        for text in sorted(set(chain(*ranks.gathered(unheard))) - heard):
            events.note(text)
            heard.add(text)
        unheard.clear()
        share = window.steps / config.run.log_every_steps
        loss, speed, data_wait = window.close(config.recipe.batch_size, ranks)
        if why := why_diverged(loss, losses, share):
            divergence = Divergence.of(trainer.course, first, trainer.step, loss, why)
            raise Diverged(divergence)
        losses.append(loss)
        if not ranks.first:
            return
        keeper.metrics = {"loss": loss}
        row = {"step": trainer.step, "epoch": round(trainer.epoch, 4), "loss": loss, "lr": rate}
        utilisation = speed * flops / peak
        row |= {"images_per_second": round(speed, 1), "utilisation": round(utilisation, 4)}
        row |= {"data_wait": round(data_wait, 4), "time": time.time(), "night": trainer.night}
        append_history(campaign, row, events.note)
        told = {"loss": loss, "lr": rate, "images_per_second": speed, "utilisation": utilisation}
        events.training_metrics(trainer.step, told | {"data_wait": data_wait})
        show(trainer.step, loss)

    def left_out(step: int) -> bool:
        return any(divergence.meets(trainer.course, step) for divergence in skipped)

    batches = training_batches(
        trainer.images,
        view_of(config),
        config.recipe.seed,
        trainer.course,
        filterfalse(left_out, range(trainer.step, last)),
        trainer.device,
        config.run.workers,
        ranks.share(config.recipe.batch_size),
    )
    batches = reporting(batches, events.note if ranks.first else unheard.append)

    def begin_agreeing(step: int) -> Agreed:
        steps = 1 if ranks.world == 1 else 2  # several processes stop a step later

        def why() -> str | None:
            return stop.reason(2 * keeper.seconds + steps * longest_step + SLACK_SECONDS)

        return ranks.begin_agreeing(why, lambda: keeper.due(step))

    reason = ranks.decided(lambda: stop.reason(keeper.seconds))
    rate = 0.0
    with progress(trainer.total, trainer.step, ranks.first) as show:
        while trainer.step < last and not reason:
            if left_out(trainer.step):
                trainer.step += 1
                continue
            begun = time.monotonic()
            batch = next(batches)
            window.waited += time.monotonic() - begun
            window.first = window.first if window.steps else trainer.step
            agreed = begin_agreeing(trainer.step + 1)
            loss, rate = trainer.train_on(batch)
            window.add(loss)
            if trainer.step % config.run.log_every_steps == 0:
                note_history(rate, show)
            events.progress(trainer.step, trainer.total, trainer.epoch)
            longest_step = max(longest_step, time.monotonic() - begun)
            keeper.look()
            reason, due = agreed()
            if due:
                note_history(rate, show)
                keeper.begin()
        note_history(rate, show)
        if trainer.step >= trainer.total and not trainer.learnt:
            raise TrainingFailed(
                f"no step has taught anything: {campaign.skipped} says why each was left out"
            )
        keeper.finish()
    if trainer.step >= trainer.total:
        return "completed", f"all {trainer.step} steps are done"
    return "paused", reason or f"step {trainer.step}"
