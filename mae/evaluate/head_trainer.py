"""The steps of linear probing and fine-tuning: a classifier, its optimiser, how far they are."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from mae.build import build_model, view_of
from mae.data.loader import Batch, plain_batches, training_batches
from mae.data.sources import Images
from mae.data.view import View
from mae.draws import seed_for
from mae.errors import BadInput
from mae.evaluate.augmentation import RandAugment, all_seeded, erased_and_mixed
from mae.evaluate.classifier import Classifier
from mae.evaluate.head_plan import Plan
from mae.evaluate.layers import optimiser_of, set_rate
from mae.train import checkpoint as checkpoints
from mae.train.checkpoint import Checkpoint
from mae.train.device import choose_device, choose_kernels, choose_precision
from mae.train.schedule import learning_rate
from mae.train.stopping import Stop


@dataclass
class HeadTrainer:
    """Everything that changes as steps are done, and what it takes to do them."""

    plan: Plan
    step: int = 0  # steps done

    def __post_init__(self) -> None:
        plan, config = self.plan, self.plan.config
        self.device = choose_device(config.run.threads)
        self.precision = choose_precision(self.device, config.model.width, config.run.precision)
        model = build_model(config.model, plan.facts.seed)
        try:
            model.load_state_dict(load_file(plan.pretrained))
        except RuntimeError:
            raise BadInput(
                f"{plan.pretrained}: its weights do not fit the campaign's config.toml"
            ) from None
        choose_kernels(model, self.device, self.precision)
        head = plan.recipe.head
        with all_seeded(seed_for(plan.facts.seed, "head", 0, 0), torch.device("cpu")):
            model = Classifier(model, head, plan.facts.classes, config.run.recompute)
        self.model = model.to(self.device)
        depth = len(self.model.blocks)
        self.optimiser = optimiser_of(self.model.named_parameters(), depth, plan.recipe.learning)
        self.labels, self.held_out_labels = (
            torch.from_numpy(np.asarray(images.labels)).to(self.device)
            for images in (plan.splits.train, plan.splits.held_out)
        )

    @property
    def epoch(self) -> float:
        """Epochs done."""
        return self.plan.course.epochs(self.step)

    @property
    def parts(self) -> int:
        """In how many parts a batch goes through the network."""
        return self.plan.recipe.learning.batch_size // self.plan.facts.micro_batch

    @property
    def view(self) -> View:
        """How the network sees images: the campaign's view with the recipe's crops and flips."""
        told = self.plan.recipe.augmentation
        return replace(
            view_of(self.plan.config),
            crop_scale=told.crop_scale,
            flip=told.flip,
            central=told.central_crop,
        )

    def batches(self) -> Iterator[Batch]:
        """The parts of all batches to come."""
        plan, seed = self.plan, self.plan.facts.seed
        told = plan.recipe.augmentation.rand_augment
        return training_batches(
            plan.splits.train,
            self.view,
            seed,
            plan.course,
            range(self.step, plan.total),
            self.device,
            plan.config.run.workers,
            parts=self.parts,
            augment=None if told is None else RandAugment(seed, *told, self.view),
        )

    def train_on(self, batches: Iterator[Batch]) -> tuple[Tensor, float]:
        """One optimiser step on the next parts: the loss, on the device, and the learning rate."""
        learning = self.plan.recipe.learning
        rate = learning_rate(
            self.epoch,
            learning.epochs,
            warmup=learning.warmup_epochs,
            peak=learning.base_lr * learning.batch_size / 256,
            floor=learning.min_lr,
        )
        set_rate(self.optimiser, rate)
        self.model.train()
        self.optimiser.zero_grad()
        loss = torch.zeros((), device=self.device)
        for part in range(self.parts):
            batch = next(batches)
            with all_seeded(seed_for(self.plan.facts.seed, "step", self.step, part), self.device):
                share = self._loss(batch) / self.parts
                share.backward()
            loss += share.detach()
        self.optimiser.step()
        self.step += 1
        return loss, rate

    def _loss(self, batch: Batch) -> Tensor:
        labels = self.labels[torch.from_numpy(batch.samples).to(self.device)]
        imgs, targets = erased_and_mixed(
            batch.imgs, labels, self.plan.recipe.augmentation, self.plan.facts.classes
        )
        return F.cross_entropy(self.model(imgs, self.precision), targets)

    def held_out(self, images: Images) -> Iterator[Batch]:
        """The held-out images in order, centrally cropped."""
        size, workers = self.plan.facts.micro_batch, self.plan.config.run.workers
        return plain_batches(images, self.view, size, self.device, workers)

    @torch.inference_mode()
    def score(self, batches: Iterator[Batch], stop: Stop) -> dict[str, float]:
        """What the classifier is worth on held-out images: loss, and percent of right classes.

        `top5` is there where there are more than five classes. Raises Paused.
        """
        self.model.eval()
        loss, counted = 0.0, 0
        right = {k: 0 for k in (1, 5) if k == 1 or self.plan.facts.classes > k}
        for batch in batches:
            stop.check()
            labels = self.held_out_labels[torch.from_numpy(batch.samples).to(self.device)]
            scores = self.model(batch.imgs, self.precision)
            loss += F.cross_entropy(scores, labels, reduction="sum").item()
            for k in right:
                best = scores.topk(k, dim=1).indices
                right[k] += int((best == labels[:, None]).sum())
            counted += len(labels)
        return {f"top{k}": 100.0 * n / counted for k, n in right.items()} | {"loss": loss / counted}

    def resume(self, checkpoint: Checkpoint) -> None:
        """Continue where a state left off."""
        state = checkpoints.load_state(checkpoint)
        self.model.load_state_dict(checkpoints.load_weights(checkpoint), strict=False)
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]

    def save(self) -> Checkpoint:
        """Write how far it is; the states before go."""
        directory = self.plan.states
        saved = checkpoints.save(
            directory,
            self.model.learnt(),
            {"optimiser": self.optimiser.state_dict(), "step": self.step},
            {"step": self.step, "epoch": round(self.epoch, 4)},
        )
        checkpoints.remove_before(saved)
        return saved
