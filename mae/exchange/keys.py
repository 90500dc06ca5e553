"""State-dict keys: ours and the forms that other libraries use. All translation is here.

Ours are the published ones. timm's VisionTransformer calls the encoder's weights the same and has
no decoder; transformers' ViTMAE has other names, and query, key and value apart.
"""

import re
from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor

from mae.errors import BadInput

Form = Literal["published", "timm", "transformers"]
FORMS: tuple[Form, ...] = get_args(Form)

# Ours to transformers': what is there once, and what each block has.
ONCE = {
    "cls_token": "vit.embeddings.cls_token",
    "pos_embed": "vit.embeddings.position_embeddings",
    "patch_embed.proj": "vit.embeddings.patch_embeddings.projection",
    "norm": "vit.layernorm",
    "decoder_embed": "decoder.decoder_embed",
    "mask_token": "decoder.mask_token",
    "decoder_pos_embed": "decoder.decoder_pos_embed",
    "decoder_norm": "decoder.decoder_norm",
    "decoder_pred": "decoder.decoder_pred",
}
STACKS = {"blocks": "vit.encoder.layer", "decoder_blocks": "decoder.decoder_layers"}
IN_BLOCK = {
    "norm1": "layernorm_before",
    "attn.qkv": "attention.attention",
    "attn.proj": "attention.output.dense",
    "norm2": "layernorm_after",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
QKV = ("query", "key", "value")

# Other spellings of the same keys, in this order: transformers 5 names its modules anew, its
# `save_pretrained` (5.24) writes the decoder's layers as "decoder_encoder.layer", and ViTMAEModel
# lacks the first "vit.".
SPELLINGS = (
    (r"^(embeddings|encoder|layers|layernorm)\.", r"vit.\1."),
    (r"^vit\.layers\.", "vit.encoder.layer."),
    (r"^decoder\.decoder_encoder\.layer\.", "decoder.decoder_layers."),
    *((rf"\.attention\.{word[0]}_proj\.", f".attention.attention.{word}.") for word in QKV),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)


def is_decoder(key: str) -> bool:
    """Whether the weight of this key, ours, is the decoder's."""
    return key == "mask_token" or key.startswith("decoder_")


def from_ours(state: Mapping[str, Tensor], form: Form) -> dict[str, Tensor]:
    """Our state dict under the keys of another form; timm's is the encoder only."""
    if form == "published":
        return dict(state)
    if form == "timm":
        return {key: tensor for key, tensor in state.items() if not is_decoder(key)}
    theirs: dict[str, Tensor] = {}
    for key, tensor in state.items():
        name = _theirs(key)
        if ".attn.qkv." in key:
            stem, _, kind = name.rpartition(".")
            parts = tensor.chunk(3)
            theirs |= {f"{stem}.{q}.{kind}": part for q, part in zip(QKV, parts, strict=True)}
        else:
            theirs[name] = tensor
    return theirs


def to_ours(state: Mapping[str, Tensor], form: Form) -> dict[str, Tensor]:
    """A state dict of another form under our keys; what is not known keeps its name.

    Raises BadInput where query, key and value are not all there, or do not go together.
    """
    if form != "transformers":
        return dict(state)
    names = {_spelled_classically(key): tensor for key, tensor in state.items()}
    ours: dict[str, Tensor] = {}
    for (key, tensor), given in zip(names.items(), state, strict=True):
        stem, word, kind = _query_key_value(key)
        if word is None:
            ours[_ours(key) or given] = tensor
        elif word == "query":
            ours[_ours(f"{stem}.{kind}") or given] = _joined(names, stem, kind)
        elif f"{stem}.query.{kind}" not in names:
            raise BadInput(f"{given} is there without {stem}.query.{kind}")
    return ours


def _theirs(key: str) -> str:
    if match := re.fullmatch(r"((?:decoder_)?blocks)\.(\d+)\.(.+)\.(weight|bias)", key):
        stack, number, part, kind = match.groups()
        return f"{STACKS[stack]}.{number}.{IN_BLOCK[part]}.{kind}"
    if key in ONCE:
        return ONCE[key]
    stem, _, kind = key.rpartition(".")
    return f"{ONCE[stem]}.{kind}"


def _ours(key: str) -> str | None:
    once, in_block = ({v: k for k, v in names.items()} for names in (ONCE, IN_BLOCK))
    for stack, theirs in STACKS.items():
        match = re.fullmatch(rf"{re.escape(theirs)}\.(\d+)\.(.+)\.(weight|bias)", key)
        if match and match[2] in in_block:
            return f"{stack}.{match[1]}.{in_block[match[2]]}.{match[3]}"
    if key in once:
        return once[key]
    stem, _, kind = key.rpartition(".")
    return f"{once[stem]}.{kind}" if stem in once else None


def _spelled_classically(key: str) -> str:
    for pattern, replacement in SPELLINGS:
        key = re.sub(pattern, replacement, key)
    return key


def _query_key_value(key: str) -> tuple[str, str | None, str]:
    match = re.fullmatch(r"(.+\.attention\.attention)\.(query|key|value)\.(weight|bias)", key)
    return match.groups() if match else (key, None, "")


def _joined(names: Mapping[str, Tensor], stem: str, kind: str) -> Tensor:
    parts = [f"{stem}.{word}.{kind}" for word in QKV]
    if absent := [part for part in parts if part not in names]:
        raise BadInput(f"{parts[0]} is there without {absent[0]}")
    if len({names[part].shape for part in parts}) > 1:
        shapes = ", ".join(f"{part} {list(names[part].shape)}" for part in parts)
        raise BadInput(f"shapes that do not go together: {shapes}")
    return torch.cat([names[part] for part in parts])
