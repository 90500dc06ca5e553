"""How pretrained encoders are measured: the published recipes for fine-tuning and linear probing.

Read from TOML and checked, as pretraining's config is. Only the numbers are here: what trains by
them, mae.evaluate.head, takes its network from a campaign. Appendix A of He et al., 2021.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mae.config import CropScale, Positive, Section, Share
from mae.config_file import PRESETS, first_comment, read_toml, settle_as

NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Magnitude = Annotated[int, Field(ge=0, le=10)]
KINDS = ("finetune", "linear")


class Learning(Section):
    """The optimiser and its schedule; the learning rate is base_lr × batch_size / 256."""

    optimiser: Literal["adamw", "lars"]
    base_lr: Annotated[float, Field(gt=0)]
    min_lr: NotNegative = 0.0
    weight_decay: NotNegative = 0.0
    betas: tuple[Share, Share] | None = None  # AdamW's
    momentum: Share | None = None  # LARS'
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0  # factor of the rate, per block down
    epochs: Positive
    warmup_epochs: NotNegative
    batch_size: Positive

    @model_validator(mode="after")
    def _fits_together(self) -> "Learning":
        wanted, other = ("betas", "momentum")[:: 1 if self.optimiser == "adamw" else -1]
        if getattr(self, wanted) is None or getattr(self, other) is not None:
            raise ValueError(f"optimiser {self.optimiser} takes {wanted}, and not {other}")
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs} exceeds epochs {self.epochs}")
        return self


class Augmentation(Section):
    """What is done to images and labels; nothing beyond crops and flips by default."""

    crop_scale: CropScale = (0.08, 1.0)
    flip: bool = True
    rand_augment: tuple[Magnitude, NotNegative] | None = None  # magnitude and its deviation
    mixup: NotNegative = 0.0  # alpha
    cutmix: NotNegative = 0.0  # alpha
    erase: Fraction = 0.0  # probability of random erasing
    label_smoothing: Fraction = 0.0
    central_crop: Annotated[float, Field(gt=0, le=1)] = 1.0  # of a held-out image's sides

    @property
    def mixes(self) -> bool:
        """Whether images are mixed in pairs."""
        return self.mixup > 0 or self.cutmix > 0


class Head(Section):
    """What is put on the encoder, and what of the encoder learns."""

    pool: Literal["mean", "cls"]  # over patch tokens, or the class token
    norm: Literal["layer", "batch"]  # LayerNorm, or BatchNorm1d without weights; eps 1e-6 both
    frozen: bool  # the encoder
    drop_path: Fraction = 0.0  # of the last block; rises linearly from 0

    @model_validator(mode="after")
    def _fits_together(self) -> "Head":
        if self.frozen and self.drop_path:
            raise ValueError("a frozen encoder drops no paths: drop_path must be 0")
        return self


class Recipe(Section):
    """All of it."""

    learning: Learning
    augmentation: Augmentation = Augmentation()
    head: Head

    @property
    def hash(self) -> str:
        """Identity of the recipe: a hash of all its numbers."""
        told = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


def recipes() -> dict[str, str]:
    """The recipes that ship with mae: "finetune/vit_base" and the like to summary."""
    files = sorted(path for kind in KINDS for path in (PRESETS / kind).glob("*.toml"))
    return {f"{f.parent.name}/{f.stem}": first_comment(f) for f in files}


def read_recipe(name: str, settings: tuple[str, ...] = ()) -> Recipe:
    """The recipe that ships under a name or lies in a TOML file, with "section.key=value" on top.

    Raises BadInput for anything unknown, malformed or out of range; it names the key and the file,
    or what was set.
    """
    path = PRESETS / f"{name}.toml" if name in recipes() else Path(name)
    told = read_toml(path, name, recipes())
    return settle_as(Recipe, told, str(path), settings, example="learning.epochs=5")
