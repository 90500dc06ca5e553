"""Linear probing and fine-tuning as published: from the last state to a result, or to a stop."""

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import torch
from safetensors.torch import save

from mae.data.loader import reporting
from mae.errors import TrainingFailed
from mae.evaluate.head_plan import Plan, check_pretrained
from mae.evaluate.head_request import Request, plan_of
from mae.evaluate.head_trainer import HeadTrainer
from mae.evaluate.run import write_json
from mae.files import held, refuse_unwritable, write_atomically
from mae.train import checkpoint as checkpoints
from mae.train.events import Events
from mae.train.keeper import DISK_BYTES_PER_SECOND
from mae.train.progress import progress
from mae.train.ranks import ALONE
from mae.train.stopping import Paused, Stop
from mae.train.window import Window

SLACK_SECONDS = 1.5


def train_head(request: Request, stop: Stop, events: Events) -> dict[str, Any]:
    """Train a head, or go on with it, and score it: the result, as it is written to JSON.

    A result that is there already is given at once. Raises Paused when there is a reason to stop;
    then the state is on the disk.
    """
    plan = plan_of(request, events.note)
    if done := plan.finished():
        _tidy(plan)
        return done
    refuse_unwritable(plan.result)
    plan.campaign.heads.mkdir(exist_ok=True)
    plan.directory.parent.mkdir(exist_ok=True)
    with held(plan.directory.parent / ".lock"):
        plan.begin()
        check_pretrained(plan)
        checkpoints.clean(plan.states)
        trainer = HeadTrainer(plan)
        events.artifact("checkpoint_in", plan.campaign.checkpoints / plan.facts.checkpoint)
        if newest := checkpoints.newest_valid(plan.states, events.note):
            trainer.resume(newest)
            events.note(f"resuming from step {trainer.step} of {plan.total}")
        _train(trainer, stop, events)
        return _finish(trainer, stop, events)


def describe(plan: Plan) -> dict[str, Any]:
    """What would be trained, for a dry run. Raises BadInput where the result cannot be read."""
    newest = checkpoints.newest_valid(plan.states, lambda _text: None, hashes=False)
    return {
        **asdict(plan.facts),
        "directory": str(plan.directory),
        "result": str(plan.result),
        "steps": plan.total,
        "done": plan.total if plan.finished() else newest.step if newest else 0,
    }


def _train(trainer: HeadTrainer, stop: Stop, events: Events) -> None:
    """Do the steps that are left. Raises Paused, after a state was written."""
    plan, run = trainer.plan, trainer.plan.config.run
    saved_step, saved_at = trainer.step, time.monotonic()
    weights = sum(w.numel() * w.element_size() for w in trainer.model.learnt().values())
    saving = 3 * weights / DISK_BYTES_PER_SECOND  # seconds; AdamW has two numbers a weight
    longest_step = 0.0
    window = Window(torch.zeros((), device=trainer.device))
    batch_size = plan.recipe.learning.batch_size
    batches = reporting(trainer.batches(), events.note)
    reason = stop.reason(saving)

    with progress(plan.total, trainer.step) as show:
        while trainer.step < plan.total and not reason:
            begun = time.monotonic()
            loss, rate = trainer.train_on(batches)
            window.add(loss)
            due = time.monotonic() - saved_at >= run.checkpoint_every_seconds
            if trainer.step % run.log_every_steps == 0 or due or trainer.step == plan.total:
                mean, speed, _ = window.close(batch_size, ALONE)
                _finite(mean, trainer)
                told = {"loss": mean, "lr": rate, "images_per_second": speed}
                events.training_metrics(trainer.step, told)
                show(trainer.step, mean)
            events.progress(trainer.step, plan.total, trainer.epoch)
            longest_step = max(longest_step, time.monotonic() - begun)
            if due:
                saved_at = time.monotonic()
                if _saved(trainer, events.note):
                    saved_step, saving = trainer.step, time.monotonic() - saved_at
            reason = stop.reason(2 * saving + longest_step + SLACK_SECONDS)
        if window.steps:
            show(trainer.step, _finite(window.close(batch_size, ALONE)[0], trainer))
    events.progress(trainer.step, plan.total, trainer.epoch, last=True)
    if trainer.step != saved_step:
        trainer.save()
    if reason:
        raise Paused(f"{reason}, at step {trainer.step} of {plan.total}")


def _finite(loss: float, trainer: HeadTrainer) -> float:
    """The same loss. Raises TrainingFailed for one that is no number."""
    if not math.isfinite(loss):
        raise TrainingFailed(
            f"the loss is {loss} by step {trainer.step}: --set learning.base_lr=… to less than "
            f"{trainer.plan.recipe.learning.base_lr}; the state of before is kept"
        )
    return loss


def _saved(trainer: HeadTrainer, note: Callable[[str], None]) -> bool:
    """Write a state in between; a disk that refuses is complained of, and costs no run."""
    try:
        trainer.save()
    except OSError as error:
        note(f"the state of step {trainer.step} cannot be written: {error.strerror or error}")
        return False
    return True


def _finish(trainer: HeadTrainer, stop: Stop, events: Events) -> dict[str, Any]:
    """Score what was trained; write weights, then the result, and take the states away."""
    plan, facts = trainer.plan, trainer.plan.facts
    batches = reporting(trainer.held_out(plan.splits.held_out), events.note)
    metrics = {f"{plan.kind}_{k}": v for k, v in trainer.score(batches, stop).items()}
    weights = {k: v.contiguous() for k, v in checkpoints.to_host(trainer.model.learnt()).items()}
    write_atomically(plan.weights, save(weights))
    result = {
        **asdict(facts),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "steps": plan.total,
        "weights": str(plan.weights.relative_to(plan.campaign.root)),
        "metrics": metrics,
    }
    write_json(plan.result, result)
    _tidy(plan)
    for name, value in metrics.items():
        events.metric(name, facts.step, value)
    events.artifact("weights", plan.weights)
    events.artifact("evaluation", plan.result)
    return result


def _tidy(plan: Plan) -> None:
    """Take away what only an unfinished evaluation needs."""
    shutil.rmtree(plan.states, ignore_errors=True)
    plan.pretrained.unlink(missing_ok=True)
