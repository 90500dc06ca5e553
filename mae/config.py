"""What a pretraining run is told: model, data and recipe, checked. Reading: mae.config_file."""

import hashlib
import json
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

Positive = Annotated[int, Field(gt=0, lt=2**31)]
Share = Annotated[float, Field(gt=0, lt=1)]
Pair = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


def _ordered(value: Pair) -> Pair:
    if value[0] > value[1]:
        raise ValueError("give the smaller number first")
    return value


def _within_the_image(value: Pair) -> Pair:
    if value[1] > 1:
        raise ValueError("a crop cannot be larger than the image: at most 1")
    return value


Range = Annotated[Pair, AfterValidator(_ordered)]
CropScale = Annotated[Range, AfterValidator(_within_the_image)]


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def kept_path(value: str) -> str:
    """The same path. Raises ValueError for one that a config cannot keep, with what to do."""
    if "\0" in value:
        raise ValueError("a path cannot have a NUL in it")
    try:
        value.encode()
    except UnicodeEncodeError:  # TOML is UTF-8, and a file's name may be any bytes
        raise ValueError("rename that folder: a config keeps paths in UTF-8") from None
    return value


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelConfig(Section):
    """The network's shape; `image_size` and `patch_size` are a number or [height, width]."""

    image_size: Positive | tuple[Positive, Positive] = 224
    patch_size: Positive | tuple[Positive, Positive] = 16
    channels: Positive = 3
    width: Positive = 768
    depth: Positive = 12
    heads: Positive = 12
    decoder_width: Positive = 512
    decoder_depth: Positive = 8
    decoder_heads: Positive = 16
    mlp_ratio: Annotated[float, Field(gt=0)] = 4.0
    norm_pix_loss: bool = True

    @field_validator("image_size", "patch_size", mode="before")
    @classmethod
    def _one_side_or_two(cls, value: object) -> object:
        # pydantic would complain that a wrong pair is no number.
        sides = value if isinstance(value, list | tuple) else (value, value)
        if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
            raise ValueError("should be a whole number greater than 0, or [height, width]")
        return value

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the network's input, in pixels."""
        return _pair(self.image_size)

    @property
    def patch(self) -> tuple[int, int]:
        """Height and width of a patch, in pixels."""
        return _pair(self.patch_size)

    @property
    def patches(self) -> int:
        """How many patches an image has."""
        return (self.size[0] // self.patch[0]) * (self.size[1] // self.patch[1])

    @model_validator(mode="after")
    def _fits_together(self) -> "ModelConfig":
        if any(side % step for side, step in zip(self.size, self.patch, strict=True)):
            raise ValueError(
                f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}"
            )
        if self.norm_pix_loss and self.channels * self.patch[0] * self.patch[1] == 1:
            raise ValueError(
                "norm_pix_loss needs patch_size or channels above 1: one value has no deviation"
            )
        for prefix in ("", "decoder_"):
            width, heads = getattr(self, f"{prefix}width"), getattr(self, f"{prefix}heads")
            if width % 4 or width % heads:
                raise ValueError(
                    f"{prefix}width {width} is not a multiple of 4 and of {prefix}heads {heads}"
                )
        return self


class DataConfig(Section):
    """Where images come from and how they are cropped; mean and std are per channel, for 0..1."""

    source: str = "sample"
    crop_scale: CropScale = (0.2, 1.0)
    crop_ratio: Range = (3 / 4, 4 / 3)
    flip: bool = True
    upright: bool = False  # photographs turned as their EXIF says, or as they lie in the file
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[Annotated[float, Field(gt=0)], ...] = (0.229, 0.224, 0.225)

    @field_validator("source")
    @classmethod
    def _can_be_a_path(cls, value: str) -> str:
        return kept_path(value)

    @field_validator("mean", "std")
    @classmethod
    def _of_shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        # All images would look alike to the network, and the loss would not tell.
        if not all(0 <= number <= 1 for number in value):
            raise ValueError("should be of pixels in 0..1: divide numbers for 0..255 by 255")
        return value


class RecipeConfig(Section):
    """How the network learns. The learning rate is base_lr × batch_size / 256."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    epochs: Annotated[float, Field(gt=0)] = 800.0
    steps: Positive | None = None  # a total that replaces epochs; the warm-up keeps its share
    batch_size: Positive = 4096
    mask_ratio: Share = 0.75
    base_lr: Annotated[float, Field(gt=0)] = 1.5e-4
    min_lr: Annotated[float, Field(ge=0)] = 0.0
    warmup_epochs: Annotated[float, Field(ge=0)] = 40.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    betas: tuple[Share, Share] = (0.9, 0.95)
    clip_grad: Annotated[float, Field(gt=0)] | None = None  # largest norm of the gradient

    @model_validator(mode="after")
    def _warm_up_ends(self) -> "RecipeConfig":
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs} exceeds epochs {self.epochs}")
        return self


class RunConfig(Section):
    """How this machine does the work; may differ from night to night."""

    workers: Annotated[int, Field(ge=0)] = 2  # that read images ahead of their use
    threads: Annotated[int, Field(gt=0, le=4096)] | None = (
        None  # of the CPU, for computing; default: all cores
    )
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    micro_batch: Positive | None = None  # images at once; a batch's gradients are added up
    compile: bool = False  # a slow start, faster steps where the network is large
    shard: bool = False  # weights over processes, where there are several: less memory in each
    recompute: bool = False  # activations in the backward pass: half the memory, more time
    log_every_steps: Positive = 20
    most_divergences: Annotated[int, Field(ge=0)] = 3  # a night; one more fails it
    checkpoint_every_seconds: Annotated[float, Field(gt=0)] = 900.0
    checkpoint_every_steps: Positive | None = None

    @model_validator(mode="after")
    def _go_together(self) -> "RunConfig":
        if self.shard and self.compile:
            raise ValueError("shard and compile do not go together; leave one of them out")
        return self


class Config(Section):
    """All of it."""

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    recipe: RecipeConfig = RecipeConfig()
    run: RunConfig = RunConfig()

    @model_validator(mode="after")
    def _channels_agree(self) -> "Config":
        for name in ("mean", "std"):
            given = len(getattr(self.data, name))
            if given != self.model.channels:
                raise ValueError(
                    f"data.{name} has {given} numbers for model.channels = {self.model.channels}"
                )
        visible = int(self.model.patches * (1 - self.recipe.mask_ratio))
        if not 0 < visible < self.model.patches:
            raise ValueError(
                f"recipe.mask_ratio {self.recipe.mask_ratio} leaves none of "
                f"{self.model.patches} patches {'masked' if visible else 'visible'}"
            )
        return self

    @property
    def hash(self) -> str:
        """Identity of what is learnt and how: a hash of everything but the run section."""
        told = self.model_dump(mode="json", exclude={"run"})
        if not self.data.upright:
            del told["data"]["upright"]  # campaigns began before there was such a key
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def differences(before: Section, after: Section) -> dict[str, str]:
    """Where two sections differ: the key, and "key = old, not new"."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    return {
        k: f"{k} = {json.dumps(old[k])}, not {json.dumps(new[k])}" for k in old if old[k] != new[k]
    }
