"""Where a night begins: its campaign locked, its trainer at the newest checkpoint of any use."""

from contextlib import ExitStack
from statistics import fmean
from typing import Any

from mae.build import view_of
from mae.config import Config
from mae.data.loader import training_batches
from mae.data.sources import Images
from mae.errors import BadInput, TrainingFailed
from mae.files import held
from mae.train import checkpoint as checkpoints
from mae.train.campaign import Campaign, agreed_config, read_history, rewind_history
from mae.train.checkpoint import Checkpoint
from mae.train.device import choose_device
from mae.train.divergence import Divergence, note_skipped, why_diverged
from mae.train.events import Events
from mae.train.ranks import Ranks
from mae.train.trainer import Trainer


def enter(campaign: Campaign, asked: Config, lock: ExitStack) -> tuple[Config, list[str]]:
    """Make the campaign's directory and lock it; the config, and what it changes."""
    try:
        str(campaign.root).encode()
        campaign.root.mkdir(parents=True, exist_ok=True)
    except UnicodeEncodeError:  # what it wrote there, safetensors would not read again
        raise BadInput(
            f"--output {str(campaign.root)!r} is not UTF-8; name a directory that is"
        ) from None
    except OSError as error:
        raise BadInput(
            f"--output {campaign.root}: {error.strerror}; name a directory that can be written"
        ) from None
    lock.enter_context(held(campaign.lock))
    agreed = agreed_config(campaign, asked)
    checkpoints.clean(campaign.checkpoints)
    return agreed


def begin(
    campaign: Campaign, config: Config, images: Images, events: Events, ranks: Ranks
) -> Trainer:
    """A trainer where the newest valid checkpoint left off, or at the start."""
    device = choose_device(config.run.threads, frugal=config.run.recompute)
    trainer = Trainer(config, images, device, ranks=ranks)
    newest = ranks.decided(lambda: _newest(campaign, events))
    if newest is not None:
        trainer.resume(newest)
        events.artifact("checkpoint_in", newest.path)
        events.note(f"resuming from {newest.path.name} of {trainer.total} steps")
        if trainer.step == trainer.course.since.step > 0:
            events.note(f"from it on in batches of {config.recipe.batch_size}, unlike before")
    ranks.decided(lambda: rewind_history(campaign, trainer.step))
    return trainer


def _newest(campaign: Campaign, events: Events) -> Checkpoint | None:
    newest = checkpoints.newest_valid(campaign.checkpoints, events.note)
    if newest is None and (there := checkpoints.numbered(campaign.checkpoints)):
        raise TrainingFailed(
            f"{campaign.checkpoints}: none of {len(there)} checkpoints is valid, or can be read; "
            "bring one back from a backup, or take them away to begin anew"
        )
    # Only from a checkpoint is there a second night: a disk may not be mounted, or a link be wrong.
    nights = max((row["night"] for row in read_history(campaign)), default=1)
    if newest is None and nights > 1:
        raise TrainingFailed(
            f"{campaign.checkpoints}: no checkpoint, though there were {nights} nights; bring one "
            f"back from a backup, or take {campaign.history} away to begin anew"
        )
    return newest


def begin_again(
    campaign: Campaign,
    config: Config,
    images: Images,
    events: Events,
    ranks: Ranks,
    skipped: list[Divergence],
) -> tuple[Trainer, list[Divergence]]:
    """A trainer at the newest checkpoint that has learnt something, and which steps to leave out.

    A step's loss is that before its update: what ruins the weights may be seen only by the next,
    when they are on the disk. Such a checkpoint is set aside, and what came before it left out.
    """
    while True:
        trainer = begin(campaign, config, images, events, ranks)
        found = ruined(trainer, read_history(campaign), skipped)
        if found is None or trainer.origin is None:
            return trainer, skipped
        origin = trainer.origin
        del trainer

        def left_out(origin: Checkpoint = origin, found: Divergence = found) -> list[Divergence]:
            aside = checkpoints.set_aside(origin)
            events.note(f"{aside.name} is not gone on from: {found}; these are left out instead")
            return note_skipped(campaign.skipped, found, instead_from=found.last)

        skipped = ranks.decided(left_out)


def ruined(
    trainer: Trainer, history: list[dict[str, Any]], skipped: list[Divergence]
) -> Divergence | None:
    """What made a checkpoint worthless, by its loss on what it learnt last; None: it is sound."""
    course, ranks, config = trainer.course, trainer.ranks, trainer.config
    since = course.since.step  # what was learnt in other batches has no place in this course
    learnt = range(trainer.step - 1, since - 1, -1)
    last = next((s for s in learnt if not any(d.meets(course, s) for d in skipped)), None)
    if last is None and 0 < trainer.step == since:
        last = trainer.step  # nothing was learnt in these batches yet: the next one must do
    if last is None:
        return None
    (batch,) = training_batches(
        trainer.images,
        view_of(config),
        config.recipe.seed,
        course,
        range(last, last + 1),
        trainer.device,
        0,
        ranks.share(config.recipe.batch_size),
    )
    loss = fmean(ranks.gathered(trainer.loss_of(batch)))
    window = config.run.log_every_steps
    why = ranks.decided(lambda: why_diverged(loss, [row["loss"] for row in history], 1 / window))
    if why is None:
        return None
    first = max(since if trainer.step > since else 0, trainer.step - window)
    return Divergence.of(course, first, trainer.step, loss, f"after them {why}")
