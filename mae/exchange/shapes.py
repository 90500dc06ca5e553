"""What shape a network of another form has, and what its library's config.json says of ours."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mae.config import Config
from mae.errors import BadInput
from mae.exchange.keys import Form
from mae.position import get_2d_sincos_pos_embed

# No weight's shape shows the number of heads; the known networks' widths do.
HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16}
DECODER_HEADS = {512: 16}
Tables = dict[str, dict[str, Any]]


def timm_config(config: Config) -> dict[str, Any]:
    """config.json for `timm.create_model("local-dir:...", pretrained=True)`."""
    model = config.model
    return {
        "architecture": "vit_base_patch16_224",  # the builder; model_args say which network
        "num_classes": 0,
        "global_pool": "token",
        "model_args": {
            "img_size": list(model.size),
            "patch_size": list(model.patch),
            "in_chans": model.channels,
            "embed_dim": model.width,
            "depth": model.depth,
            "num_heads": model.heads,
            "mlp_ratio": model.mlp_ratio,
            "num_classes": 0,
            "global_pool": "token",
        },
        # No first_conv: timm would adapt its weights to other channels than three.
        "pretrained_cfg": {
            "input_size": [model.channels, *model.size],
            "fixed_input_size": True,
            "num_classes": 0,
            "mean": list(config.data.mean),
            "std": list(config.data.std),
            "interpolation": "bicubic",
        },
    }


def transformers_config(config: Config) -> dict[str, Any]:
    """config.json for `ViTMAEForPreTraining.from_pretrained`.

    Raises BadInput for images or patches that are not square: its position embedding and patchify
    know no others.
    """
    model = config.model
    for key, (height, width) in (("image_size", model.size), ("patch_size", model.patch)):
        if height != width:
            raise BadInput(f"transformers' ViTMAE is square, and {key} is [{height}, {width}]")
    return {
        "architectures": ["ViTMAEForPreTraining"],
        "model_type": "vit_mae",
        "image_size": model.size[0],
        "patch_size": model.patch[0],
        "num_channels": model.channels,
        "hidden_size": model.width,
        "num_hidden_layers": model.depth,
        "num_attention_heads": model.heads,
        "intermediate_size": int(model.width * model.mlp_ratio),
        "decoder_hidden_size": model.decoder_width,
        "decoder_num_hidden_layers": model.decoder_depth,
        "decoder_num_attention_heads": model.decoder_heads,
        "decoder_intermediate_size": int(model.decoder_width * model.mlp_ratio),
        "mask_ratio": config.recipe.mask_ratio,
        "norm_pix_loss": model.norm_pix_loss,
        "hidden_act": "gelu",
        "qkv_bias": True,
        "layer_norm_eps": 1e-6,  # its own default, 1e-12, is not the published one
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.02,
        "torch_dtype": "float32",
    }


def told_by_weights(state: Mapping[str, Tensor], source: str) -> Tables:
    """Our config as far as the shapes of a state dict, ours in its keys, tell it.

    Heads are told by the width of a known network, an image's shape by the fixed positions; if they
    are others, it is taken to be square. What is not told is left out. Raises BadInput naming the
    weight that is missing or has too few dimensions.
    """

    def shape(key: str, dimensions: int) -> list[int]:
        if key not in state:
            raise BadInput(f"{source}: {key} is missing: not a masked autoencoder of this form")
        if state[key].ndim != dimensions:
            raise BadInput(f"{source}: {key} has shape {list(state[key].shape)}")
        return list(state[key].shape)

    width, channels, *patch = shape("patch_embed.proj.weight", 4)
    model: dict[str, Any] = {
        "patch_size": _sides(patch),
        "channels": channels,
        "width": width,
        "depth": _blocks(state, "blocks."),
    }
    widths = {width: shape("blocks.0.mlp.fc1.weight", 2)[0]}
    shape("pos_embed", 3)
    if grid := _grid(state["pos_embed"]):
        model["image_size"] = _sides([grid[0] * patch[0], grid[1] * patch[1]])
    if width in HEADS:
        model["heads"] = HEADS[width]
    if "decoder_embed.weight" in state:
        decoder = shape("decoder_embed.weight", 2)[0]
        widths[decoder] = shape("decoder_blocks.0.mlp.fc1.weight", 2)[0]
        model |= {"decoder_width": decoder, "decoder_depth": _blocks(state, "decoder_blocks.")}
        if decoder in DECODER_HEADS:
            model["decoder_heads"] = DECODER_HEADS[decoder]
    model["mlp_ratio"] = _ratio(widths)
    return {"model": model}


def _grid(positions: Tensor) -> tuple[int, int] | None:
    """Rows and columns of the patches whose positions (1, 1 + L, D) these are."""
    patches, width = positions.shape[1] - 1, positions.shape[2]
    given = positions[0, 1:].float().numpy()
    for rows in range(1, patches + 1):
        grid = rows, patches // rows
        if patches % rows or width % 4:
            continue
        # Half precision may have been enough for who saved them.
        if np.allclose(get_2d_sincos_pos_embed(width, grid), given, atol=1e-2):
            return grid
    side = math.isqrt(max(patches, 0))
    return (side, side) if side and side**2 == patches else None


def told_by_config(directory: Path, form: Form) -> tuple[Tables, list[str]]:
    """Our config as far as another library's config.json tells what no shape does, and notes.

    Raises BadInput for a network that ours cannot be.
    """
    path = directory / "config.json"
    if form == "published" or not path.is_file():
        return {}, []
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(told, dict):
            raise ValueError("not an object")
        return _timm(told) if form == "timm" else _transformers(told)
    except (ValueError, RecursionError, TypeError, AttributeError) as error:
        raise BadInput(f"{path}: not {form}'s config: {error}") from None
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None


def _timm(told: dict[str, Any]) -> tuple[Tables, list[str]]:
    arguments, data = told.get("model_args", {}), told.get("pretrained_cfg", {})
    names = {"num_heads": "heads", "img_size": "image_size"}
    model = {names[key]: _sides(arguments[key]) for key in names if key in arguments}
    return {"model": model, "data": {k: data[k] for k in ("mean", "std") if k in data}}, []


def _transformers(told: dict[str, Any]) -> tuple[Tables, list[str]]:
    if told.get("model_type") != "vit_mae":
        raise BadInput(f"model_type is {told.get('model_type')!r}, not 'vit_mae'")
    for key, ours in (("hidden_act", "gelu"), ("qkv_bias", True)):
        if told.get(key, ours) != ours:
            raise BadInput(f"{key} is {told[key]!r}; this network's is {ours!r}")
    # What a config.json leaves out has the library's default.
    model = {
        "heads": told.get("num_attention_heads", 12),
        "decoder_heads": told.get("decoder_num_attention_heads", 16),
        "image_size": _sides(told.get("image_size", 224)),
        "norm_pix_loss": told.get("norm_pix_loss", False),
    }
    notes = []
    if (eps := told.get("layer_norm_eps", 1e-12)) != 1e-6:
        notes.append(f"layer_norm_eps is {eps:g} there, and 1e-06 here as published")
    return {"model": model, "recipe": {"mask_ratio": told.get("mask_ratio", 0.75)}}, notes


def _sides(size: Any) -> Any:
    # Equal sides are one number in our configs, and are compared as such.
    return size[0] if isinstance(size, list) and len(set(size)) == 1 else size


def _ratio(hidden: dict[int, int]) -> float:
    """The shortest ratio that gives these hidden widths when rounded down, if there is one."""
    width, within = next(iter(hidden.items()))
    quotients = [round(within / width, digits) for digits in range(16)]
    fitting = (r for r in quotients if all(int(w * r) == h for w, h in hidden.items()))
    return next(fitting, within / width)


def _blocks(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({key.split(".")[1] for key in state if key.startswith(prefix)})
