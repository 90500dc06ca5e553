"""What a command asks to be trained and scored: checked, and found again if it has begun."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any

from mae.config_file import read_config
from mae.data.sources import Splits, locate, open_source
from mae.errors import BadInput
from mae.evaluate.head_plan import PLAN, Facts, Plan, read_facts, result_path
from mae.evaluate.run import choose_checkpoint
from mae.recipes import Recipe, read_recipe, recipes
from mae.train.campaign import Campaign, open_campaign
from mae.train.checkpoint import WEIGHTS

MOST_AT_ONCE = 256  # images, where nobody says


@dataclass(frozen=True)
class Request:
    """What the command was told."""

    root: Path
    recipe: str  # a name or a file
    settings: tuple[str, ...] = ()
    chosen: Path | None = None  # checkpoint
    data: str | None = None


def plan_of(request: Request, note: Callable[[str], None]) -> Plan:
    """What the request means: an unfinished evaluation of its kind goes on, else one begins.

    Nothing is written. Raises BadInput for what cannot be trained.
    """
    campaign, _ = open_campaign(request.root)
    of_run = tuple(s for s in request.settings if s.strip().startswith("run."))
    config = read_config(str(campaign.config), of_run)
    recipe = read_recipe(request.recipe, tuple(s for s in request.settings if s not in of_run))
    data = locate(request.data) if request.data else config.data.source
    splits = open_source(data)
    classes, images = count_classes(splits, data), len(splits.train)
    if images < recipe.learning.batch_size:
        raise BadInput(
            f"{request.recipe}: learning.batch_size {recipe.learning.batch_size} is larger than "
            f"the {images} training images; --set learning.batch_size=…"
        )
    seed, at_once = config.recipe.seed, micro_batch(recipe, config.run.micro_batch)
    family = _family(request.recipe, {"recipe": recipe.hash, "data": data, "seed": seed})

    begun = _unfinished(campaign, family) if request.chosen is None else None
    if begun is not None:
        facts = read_facts(begun)
        source = campaign.checkpoints / begun.name / WEIGHTS
        note(f"going on with {family}/{begun.name}, which is unfinished")
    else:
        checkpoint = choose_checkpoint(campaign, request.chosen, note)
        begun = campaign.heads / family / checkpoint.path.name
        source = checkpoint.path / WEIGHTS
        facts = Facts(
            recipe=request.recipe,
            recipe_hash=recipe.hash,
            checkpoint=checkpoint.path.name,
            step=checkpoint.step,
            checkpoint_sha256=checkpoint.sha256,
            seed=seed,
            data=data,
            train_images=images,
            classes=classes,
            micro_batch=at_once,
        )
        if (begun / PLAN).is_file():
            facts = read_facts(begun)
            if facts.checkpoint_sha256 != checkpoint.sha256:
                raise BadInput(
                    f"{begun}: is of another checkpoint with this name; take it away to begin anew"
                )
    if (facts.train_images, facts.classes) != (images, classes):
        raise BadInput(
            f"{data}: {begun} learns {facts.classes} classes from {facts.train_images} images, now "
            f"they are {classes} and {images}; restore them, or take that directory away"
        )
    if at_once != facts.micro_batch:
        note(f"it keeps the run.micro_batch it began with: {facts.micro_batch}, not {at_once}")
    return Plan(campaign, config, recipe, splits, facts, family, source)


def count_classes(splits: Splits, data: str) -> int:
    """How many classes there are. Raises BadInput where images have no labels."""
    labels = splits.train.labels, splits.held_out.labels
    if labels[0] is None or labels[1] is None:
        raise BadInput(
            f"{data}: its images have no labels, which a head learns from; sort them into a folder "
            "a class, or name others with --data"
        )
    return 1 + max(int(split.max()) for split in labels)


def micro_batch(recipe: Recipe, asked: int | None) -> int:
    """How many images go through the network at once: the asked number, or at most 256.

    Raises BadInput for a number that does not divide the batch, or whose parts cannot be mixed in
    pairs or normalised.
    """
    size = recipe.learning.batch_size
    if asked is None:
        least = next(n for n in range(1, size + 1) if size % n == 0 and size // n <= MOST_AT_ONCE)
        asked = size // least
    asked = min(asked, size)
    if size % asked:
        raise BadInput(
            f"run.micro_batch {asked} does not divide learning.batch_size {size}; "
            f"--set run.micro_batch={gcd(asked, size)}"
        )
    if recipe.augmentation.mixes and asked % 2:
        raise BadInput(
            f"mixup and cutmix need pairs: {asked} images at once are odd; "
            "set learning.batch_size or run.micro_batch"
        )
    if recipe.head.norm == "batch" and asked < 2:
        raise BadInput("a BatchNorm needs more than 1 image at once; set run.micro_batch")
    return asked


def _family(name: str, identity: dict[str, Any]) -> str:
    label = name.replace("/", "-") if name in recipes() else Path(name).stem
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return f"{label}-{digest[:8]}"


def _unfinished(campaign: Campaign, family: str) -> Path | None:
    """The newest directory of these evaluations that has no result yet."""
    plans = sorted((campaign.heads / family).glob(f"*/{PLAN}"), reverse=True)
    begun = (path.parent for path in plans)
    return next((d for d in begun if not result_path(campaign, family, d.name).is_file()), None)
