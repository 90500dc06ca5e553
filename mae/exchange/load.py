"""Weights from files that others wrote, into our network: all of them, or the encoder alone."""

import argparse
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mae.errors import BadInput, nearest
from mae.exchange.keys import Form, is_decoder, to_ours


class NoDecoder(UserWarning):
    """An encoder was loaded, and the decoder is as random as before."""


@dataclass(frozen=True)
class Loaded:
    """What a file had for the network."""

    source: str
    tensors: int
    missing: tuple[str, ...]  # the decoder's keys where the file has none of them, else nothing

    @property
    def warning(self) -> str | None:
        """What to tell a user who may take the network for a trained one."""
        if not self.missing:
            return None
        return (
            f"{self.source}: an encoder only; the decoder's {len(self.missing)} weights stay "
            "random, so reconstructions mean nothing until it is trained"
        )


def load_weights(model: nn.Module, path: str | Path, form: Form = "published") -> Loaded:
    """Load a file's or directory's weights into a MaskedAutoencoderViT.

    Warns with NoDecoder where it holds an encoder only. Raises BadInput for anything else that
    does not fit, naming the key; then the network is unchanged.
    """
    loaded = load_state(model, read_state(Path(path), form), str(path))
    if loaded.warning:
        warnings.warn(loaded.warning, NoDecoder, stacklevel=2)
    return loaded


def load_state(model: nn.Module, state: Mapping[str, Tensor], source: str) -> Loaded:
    """Load a state dict with our keys as `load_weights` does, but leave the warning to the caller.

    `source` is what to blame.
    """
    expected = model.state_dict()
    for key, tensor in state.items():
        if key not in expected:
            raise BadInput(
                f"{source}: {key} is no weight of this network{nearest(key, expected)}; "
                "is it another depth, a classifier, or another form?"
            )
        given, wanted = list(tensor.shape), list(expected[key].shape)
        if given != wanted:
            raise BadInput(f"{source}: {key} has shape {given}, this network's has {wanted}")
    missing = tuple(key for key in expected if key not in state)
    decoder = tuple(key for key in expected if is_decoder(key))
    if missing and missing != decoder:
        raise BadInput(f"{source}: {missing[0]} is missing, as are {len(missing) - 1} more")
    model.load_state_dict(state, strict=not missing)
    return Loaded(source, len(state), missing)


def read_state(path: Path, form: Form = "published") -> dict[str, Tensor]:
    """The state dict in a file, or in a directory as timm and transformers write it; our keys.

    Files are safetensors, or torch's, read with weights_only=True: a bare state dict, or one under
    "model" as published.
    """
    files = [path]
    if path.is_dir():
        # Several are the shards of one: none of their keys is in two.
        files = sorted(path.glob("model*.safetensors")) or sorted(path.glob("pytorch_model*.bin"))
        if not files:
            raise BadInput(f"{path}: neither model.safetensors nor pytorch_model.bin is in it")
    state: dict[str, Tensor] = {}
    for file in files:
        state |= _tensors(_content(file), file)
    try:
        return to_ours(state, form)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None


def _content(file: Path) -> Any:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        # The published code's own checkpoints carry its command line.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise BadInput(f"{file}: {error.strerror or error}") from None
    except pickle.UnpicklingError:  # whose text advises to run the code
        raise BadInput(f"{file}: no weights that load without running code") from None
    except Exception as error:  # bytes that are no checkpoint make the readers raise anything
        reason = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
        raise BadInput(f"{file}: no checkpoint, or a damaged one: {reason}") from None


def _tensors(content: Any, file: Path) -> dict[str, Tensor]:
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping) or not content:
        raise BadInput(f"{file}: no state dict, nor one under 'model'")
    for key, value in content.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise BadInput(f"{file}: {key} is no tensor of weights")
    return dict(content)
