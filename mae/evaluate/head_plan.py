"""Which head is trained on which checkpoint by which recipe, and where that lies.

    heads/linear-vit_base-1a2b3c4d/step-000001500/
        plan.json                what is trained, fixed when it begins
        pretrained.safetensors   the checkpoint's weights, in case it is rotated away; until the end
        state/step-000000300/    how far it is, as checkpoints are written; until the end
        weights.safetensors      what was trained, at the end
    evaluations/linear-vit_base-1a2b3c4d-step-000001500.json    the result

The eight digits are of the recipe, the data and the seed: others are another evaluation.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mae.config import Config
from mae.data.course import Course
from mae.data.sources import Splits
from mae.errors import BadInput
from mae.evaluate.run import read_scores, write_json
from mae.files import sha256_of, sync
from mae.recipes import Recipe
from mae.train.campaign import Campaign
from mae.train.checkpoint import WEIGHTS

PLAN = "plan.json"
TOLD = {"recipe", "checkpoint", "data", "created", "metrics"}  # what is shown of a result


@dataclass(frozen=True)
class Facts:
    """What plan.json keeps: all that must not change between two nights."""

    recipe: str
    recipe_hash: str
    checkpoint: str
    step: int  # of pretraining
    checkpoint_sha256: str
    seed: int
    data: str
    train_images: int
    classes: int
    micro_batch: int


@dataclass(frozen=True)
class Plan:
    """An evaluation by training."""

    campaign: Campaign
    config: Config  # the campaign's, with tonight's run section
    recipe: Recipe
    splits: Splits
    facts: Facts
    family: str  # directory of all evaluations alike, on whatever checkpoint
    source: Path  # where the pretrained weights lie

    @property
    def directory(self) -> Path:
        return self.campaign.heads / self.family / self.facts.checkpoint

    @property
    def result(self) -> Path:
        return result_path(self.campaign, self.family, self.facts.checkpoint)

    @property
    def pretrained(self) -> Path:
        return self.directory / "pretrained.safetensors"

    @property
    def states(self) -> Path:
        return self.directory / "state"

    @property
    def weights(self) -> Path:
        return self.directory / WEIGHTS

    @property
    def kind(self) -> str:
        """What its metrics' names begin with."""
        return "linear_probe" if self.recipe.head.frozen else "finetune"

    @property
    def course(self) -> Course:
        """The way through the training images."""
        return Course(len(self.splits.train), self.recipe.learning.batch_size)

    @property
    def total(self) -> int:
        return self.course.steps(self.recipe.learning.epochs)

    def begin(self) -> None:
        """Make the directory and fix what is trained, unless it is there already."""
        path = self.directory / PLAN
        if path.is_file():
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        self.pretrained.unlink(missing_ok=True)
        try:  # the same bytes under a second name take no room
            os.link(self.source, self.pretrained)
        except OSError:
            shutil.copyfile(self.source, self.pretrained)
            sync(self.pretrained)
        write_json(path, asdict(self.facts))

    def finished(self) -> dict[str, Any] | None:
        """The result, if it is there. Raises BadInput where it is not what was written."""
        if not self.result.is_file():
            return None
        found = read_scores(self.result)
        if TOLD - found.keys():
            raise BadInput(
                f"{self.result} is damaged; bring it back from a backup, or take it and "
                f"{self.directory} away to train the head anew"
            )
        return found


def read_facts(directory: Path) -> Facts:
    """What is trained there."""
    path = directory / PLAN
    try:
        return Facts(**json.loads(path.read_text()))
    except (OSError, ValueError, RecursionError, TypeError) as error:
        raise BadInput(f"{path}: not a plan ({error}); take {directory} away") from None


def check_pretrained(plan: Plan) -> None:
    """Raise BadInput unless the pretrained weights are those that the plan began with."""
    try:
        found = sha256_of(plan.pretrained)
    except OSError as error:
        raise BadInput(
            f"{plan.pretrained}: {error.strerror}; take {plan.directory} away to begin anew"
        ) from None
    if found != plan.facts.checkpoint_sha256:
        raise BadInput(
            f"{plan.pretrained}: damaged: not the weights of {plan.facts.checkpoint}; "
            f"take {plan.directory} away to begin anew"
        )


def result_path(campaign: Campaign, family: str, checkpoint: str) -> Path:
    """Where the result lies, or will."""
    return campaign.evaluations / f"{family}-{checkpoint}.json"
