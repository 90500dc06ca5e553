"""A campaign's weights as other libraries read them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from mae.build import build_model
from mae.config import Config
from mae.errors import BadInput
from mae.exchange.keys import Form, from_ours
from mae.exchange.load import load_state
from mae.exchange.shapes import timm_config, transformers_config
from mae.files import appearing, disk_errors, refuse_existing, refuse_unwritable
from mae.train import checkpoint as checkpoints
from mae.train.campaign import open_campaign
from mae.train.checkpoint import MANIFEST, Checkpoint

WEIGHTS, CONFIG, IMAGES = "model.safetensors", "config.json", "preprocessor_config.json"
BICUBIC = 3  # Pillow's number for it


@dataclass(frozen=True)
class Exchanged:
    """What has been carried over, or would be."""

    source: str
    form: Form
    output: str
    files: tuple[str, ...]
    tensors: int
    parameters: int
    notes: tuple[str, ...]
    written: bool


def export(source: Path, form: Form, output: Path, dry_run: bool = False) -> Exchanged:
    """Write a checkpoint's weights, a campaign's newest by default, to `output` in another form.

    "published" is one file: {"model": state dict}, or bare safetensors if so called. "timm" and
    "transformers" are directories that these libraries load. Raises BadInput where the form cannot
    hold the network, and if there is something at `output`, or nothing can be made there.
    """
    notes: list[str] = []
    checkpoint, config = _choose(source, notes)
    model = build_model(config.model, config.recipe.seed)
    load_state(model, checkpoints.load_weights(checkpoint), str(checkpoint.path))
    state = {k: v.detach().contiguous() for k, v in from_ours(model.state_dict(), form).items()}
    documents = _documents(config, form)
    if form == "timm":
        notes.append("timm's VisionTransformer is an encoder: the decoder stays behind")
    refuse_existing(output)
    refuse_unwritable(output)
    if not dry_run:
        with appearing(output) as path, disk_errors(output):
            _write(path, output.suffix, state, documents)
    files = (*documents, WEIGHTS) if documents else (output.name,)
    parameters = sum(tensor.numel() for tensor in state.values())
    return Exchanged(
        *(str(checkpoint.path), form, str(output), files, len(state), parameters),
        *(tuple(notes), not dry_run),
    )


def _choose(source: Path, notes: list[str]) -> tuple[Checkpoint, Config]:
    if (source / MANIFEST).is_file():
        root = source.resolve().parents[1]
        if not (root / "config.toml").is_file():
            raise BadInput(f"{source}: no campaign around it: {root / 'config.toml'} is missing")
        return checkpoints.read(source, hashes=True), open_campaign(root)[1]
    if not (source / "config.toml").is_file():
        raise BadInput(f"{source} is neither a campaign nor a checkpoint of one")
    campaign, config = open_campaign(source)
    newest = checkpoints.newest_valid(campaign.checkpoints, notes.append)
    if newest is None:
        raise BadInput(f"{campaign.checkpoints}: no valid checkpoint yet; run `mae pretrain` first")
    return newest, config


def _documents(config: Config, form: Form) -> dict[str, dict[str, Any]]:
    """The JSON files beside the weights, by name; none where the form is a single file."""
    if form == "published":
        return {}
    if form == "timm":
        return {CONFIG: timm_config(config)}
    height, width = config.model.size
    images = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": height, "width": width},
        "resample": BICUBIC,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(config.data.mean),
        "image_std": list(config.data.std),
    }
    return {CONFIG: transformers_config(config), IMAGES: images}


def _write(
    path: Path, suffix: str, state: dict[str, Tensor], documents: dict[str, dict[str, Any]]
) -> None:
    if not documents and suffix != ".safetensors":
        torch.save({"model": state}, path)
        return
    if documents:
        path.mkdir()
        for name, content in documents.items():
            (path / name).write_text(json.dumps(content, indent=2) + "\n")
    # transformers 4 reads no file that does not say whose tensors these are.
    save_file(state, path / WEIGHTS if documents else path, {"format": "pt"})
