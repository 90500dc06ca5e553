"""The steps themselves: a network, its optimiser, and how far they are."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mae.build import build_model
from mae.config import Config
from mae.data.loader import Batch, steps_per_epoch
from mae.data.sources import Images
from mae.errors import BadInput
from mae.masking import training_noise
from mae.train import checkpoint as checkpoints
from mae.train.checkpoint import Checkpoint
from mae.train.device import autocast, choose_attention, choose_precision
from mae.train.schedule import learning_rate, parameter_groups


@dataclass
class Trainer:
    """Everything that changes as steps are done, and what it takes to do them."""

    config: Config
    images: Images
    device: torch.device
    step: int = 0  # steps done
    night: int = 1

    def __post_init__(self) -> None:
        recipe = self.config.recipe
        self.model = build_model(self.config.model, recipe.seed).to(self.device)
        self.precision = choose_precision(
            self.device, self.config.model.width, self.config.run.precision
        )
        choose_attention(self.model, self.device, self.precision)
        self.model.recompute = self.config.run.recompute
        self.loss = self.model.training_loss
        if self.config.run.compile:
            self.loss = torch.compile(self.loss, dynamic=False)
        groups = parameter_groups(self.model.named_parameters(), recipe.weight_decay)
        self.optimiser = torch.optim.AdamW(groups, lr=0.0, betas=recipe.betas, fused=True)
        self.per_epoch = steps_per_epoch(self.images, recipe.batch_size)
        self.total = recipe.steps or max(1, round(recipe.epochs * self.per_epoch))

    @property
    def epoch(self) -> float:
        """Epochs done."""
        return self.step / self.per_epoch

    def train_on(self, batch: Batch) -> tuple[Tensor, float]:
        """One optimiser step: the loss, still on the device, and the learning rate."""
        recipe = self.config.recipe
        rate = learning_rate(
            self.step,
            self.total,
            warmup=self.total * recipe.warmup_epochs / recipe.epochs,
            peak=recipe.base_lr * recipe.batch_size / 256,
            floor=recipe.min_lr,
        )
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        noise = training_noise(recipe.seed, batch.epoch, batch.samples, self.config.model.patches)
        size = self.config.run.micro_batch or len(batch.imgs)
        self.optimiser.zero_grad()
        loss = torch.zeros((), device=self.device)
        for imgs, part in zip(
            batch.imgs.split(size), noise.to(self.device).split(size), strict=True
        ):
            with autocast(self.device, self.precision):
                share = self.loss(imgs, recipe.mask_ratio, part)
            share = share * (len(imgs) / len(batch.imgs))
            share.backward()
            loss += share.detach()
        if recipe.clip_grad is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip_grad)
        self.optimiser.step()
        self.step += 1
        return loss, rate

    def resume(self, checkpoint: Checkpoint) -> None:
        """Continue where a checkpoint left off."""
        state = checkpoints.load_state(checkpoint)
        # Imported weights have met no images yet, and no optimiser.
        if state.get("train_samples", len(self.images)) != len(self.images):
            raise BadInput(
                f"{self.config.data.source}: the campaign learns from {state['train_samples']} "
                f"images, now there are {len(self.images)}; restore them, or start another "
                "campaign with another --output"
            )
        try:
            self.model.load_state_dict(checkpoints.load_weights(checkpoint))
        except RuntimeError:
            raise BadInput(
                f"{checkpoint.path}: its weights do not fit the campaign's config.toml; "
                "restore the [model] section that it was trained with"
            ) from None
        if "optimiser" in state:
            self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.night = state["step"], state["night"] + 1

    def state(self) -> dict[str, Any]:
        """What `resume` needs beside the weights. Draws are functions of the step: no RNG."""
        return {
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "night": self.night,
            "train_samples": len(self.images),
        }
