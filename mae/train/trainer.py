"""The steps themselves: a network, its optimiser, and how far they are."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mae.build import build_model
from mae.config import Config
from mae.data.course import Course, Since, course_of
from mae.data.loader import Batch, sent
from mae.data.sources import Images
from mae.errors import BadInput
from mae.masking import training_noise
from mae.train import checkpoint as checkpoints
from mae.train.checkpoint import Checkpoint
from mae.train.device import autocast, choose_kernels, choose_precision
from mae.train.ranks import ALONE, Ranks
from mae.train.schedule import learning_rate, parameter_groups
from mae.train.spread import shards_of, spread


@dataclass
class Trainer:
    """Everything that changes as steps are done, and what it takes to do them."""

    config: Config
    images: Images
    device: torch.device
    step: int = 0  # steps done
    night: int = 1
    ranks: Ranks = ALONE
    origin: Checkpoint | None = None  # where it went on from

    def __post_init__(self) -> None:
        recipe = self.config.recipe
        self.model = build_model(self.config.model, recipe.seed).to(self.device)
        self.precision = choose_precision(
            self.device, self.config.model.width, self.config.run.precision
        )
        choose_kernels(self.model, self.device, self.precision)
        self.model.recompute = self.config.run.recompute
        self.spread = spread(self.model, self.device, self.ranks, self.config.run)
        groups = parameter_groups(self.model.named_parameters(), recipe.weight_decay)
        self.optimiser = torch.optim.AdamW(groups, lr=0.0, betas=recipe.betas, fused=True)
        self.course = course_of(self.images, recipe.batch_size)
        self.epochs = recipe.steps / self.course.per_epoch if recipe.steps else recipe.epochs

    @property
    def epoch(self) -> float:
        """Epochs done."""
        return self.course.epochs(self.step)

    @property
    def total(self) -> int:
        """Steps of the whole campaign."""
        return max(1, self.course.steps(self.epochs))

    @property
    def learnt(self) -> bool:
        """Whether any step has been taken: each leaves moments in the optimiser."""
        return bool(self.optimiser.state)

    def train_on(self, batch: Batch) -> tuple[Tensor, float]:
        """One optimiser step: the loss, still on the device, and the learning rate.

        The loss is of this process's part of the batch; the gradient is of all of it.
        """
        recipe = self.config.recipe
        rate = learning_rate(
            self.epoch,
            self.epochs,
            warmup=self.epochs * recipe.warmup_epochs / recipe.epochs,
            peak=recipe.base_lr * recipe.batch_size / 256,
            floor=recipe.min_lr,
        )
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad()
        loss = torch.zeros((), device=self.device)
        parts = self._parts(batch)
        for number, (imgs, noise, weight) in enumerate(parts, start=1):
            with self.spread.micro(number == len(parts)):
                with autocast(self.device, self.precision):
                    share = self.spread.loss(imgs, recipe.mask_ratio, noise)
                share = share * weight
                share.backward()
            loss += share.detach()
        if recipe.clip_grad is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip_grad)
        self.optimiser.step()
        self.step += 1
        return loss, rate

    @torch.no_grad()
    def loss_of(self, batch: Batch) -> float:
        """The loss of a batch, from which nothing is learnt."""
        loss = torch.zeros((), device=self.device)
        for imgs, noise, weight in self._parts(batch):
            with autocast(self.device, self.precision):
                loss += self.spread.loss(imgs, self.config.recipe.mask_ratio, noise) * weight
        return float(loss)

    def _parts(self, batch: Batch) -> list[tuple[Tensor, Tensor, float]]:
        """Of the images that go through the network at once: pixels, noise, share of the batch."""
        seed, patches = self.config.recipe.seed, self.config.model.patches
        noise = sent(training_noise(seed, batch.epoch, batch.samples, patches), self.device)
        whole = len(batch.imgs)
        size = self.config.run.micro_batch or whole
        parts = zip(batch.imgs.split(size), noise.split(size), strict=True)
        return [(imgs, part, len(imgs) / whole) for imgs, part in parts]

    def resume(self, checkpoint: Checkpoint) -> None:
        """Continue where a checkpoint left off."""
        state = checkpoints.load_state(checkpoint, mapped=self.config.run.shard)
        # Imported weights have met no images yet, and no optimiser.
        if state.get("train_samples", len(self.images)) != len(self.images):
            raise BadInput(
                f"{self.config.data.source}: the campaign learns from {state['train_samples']} "
                f"images, now there are {len(self.images)}; restore them, or start another "
                "campaign with another --output"
            )
        try:
            weights = checkpoints.load_weights(checkpoint)
            self.model.load_state_dict(shards_of(weights, self.model.state_dict()))
        except RuntimeError:
            raise BadInput(
                f"{checkpoint.path}: its weights do not fit the campaign's config.toml; "
                "restore the [model] section that it was trained with"
            ) from None
        if "optimiser" in state:
            self._resume_optimiser(state["optimiser"])
        self.step, self.night, self.origin = state["step"], state["night"] + 1, checkpoint
        if "course" in state:
            self._resume_course(**state["course"])

    def _resume_optimiser(self, state: dict[str, Any]) -> None:
        """Take the moments; what the recipe says of a group may have been changed since."""
        told = [(group["weight_decay"], group["betas"]) for group in self.optimiser.param_groups]
        # torch numbers the weights through all groups.
        weights = (weight for group in self.optimiser.param_groups for weight in group["params"])
        moments = shards_of(state["state"], dict(enumerate(weights)))
        self.optimiser.load_state_dict(state | {"state": moments})
        for group, (weight_decay, betas) in zip(self.optimiser.param_groups, told, strict=True):
            group["weight_decay"], group["betas"] = weight_decay, betas

    def _resume_course(
        self, batch_size: int, since: list[int], epochs: float, asked: list[float | None]
    ) -> None:
        """Go on where the samples are; the end stays, unless the recipe asks for another."""
        begun = Course(len(self.images), batch_size, Since(*since))
        self.course = begun.changed(self.step, self.course.batch_size)
        if asked == self._asked:
            self.epochs = epochs
            return
        if self.config.recipe.steps:  # a number of all steps, those in other batches as well
            self.epochs = self.course.epochs(self.config.recipe.steps)
        # What is over cannot end sooner.
        self.epochs = max(self.epochs, self.course.epochs(self.step))

    @property
    def _asked(self) -> list[float | None]:
        return [self.config.recipe.epochs, self.config.recipe.steps]

    def state(self) -> dict[str, Any]:
        """What `resume` needs beside the weights. Draws are functions of the step: no RNG."""
        return {
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "night": self.night,
            "train_samples": len(self.images),
            "course": {
                "batch_size": self.course.batch_size,
                "since": list(self.course.since),
                "epochs": self.epochs,
                "asked": self._asked,
            },
        }
