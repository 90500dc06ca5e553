"""The training loss for less work: the same number as `forward`, and the same gradients.

What is saved, and why it changes nothing:
1. Visible pixels are gathered first and projected by one matrix product, as a convolution whose
   stride is its kernel does; the masked ones never reach the encoder.
2. The decoder's blocks do not mind the order of their tokens, so the shuffled order stays, each
   token with its own position.
3. Only masked patches are predicted and compared. So the last block's queries and MLP, whose
   results for visible tokens nobody reads, are computed for the masked ones alone; its keys and
   values still see all.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Attention, Block
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mae.layers import product_of
from mae.masking import Masking, pick

if TYPE_CHECKING:
    from mae.model import MaskedAutoencoderViT


def lean_loss(model: "MaskedAutoencoderViT", imgs: Tensor, split: Masking) -> Tensor:
    """The loss of images (N, C, H, W) under a masking: a scalar, float32."""
    patches = model.patchify(imgs)  # [N, L, p*q*C]
    latent = _encode(model, pick(patches, split.ids_keep), split)
    pred = _decode(model, latent, split)
    return (pred.float() - model.targets(pick(patches, split.ids_masked))).square().mean()


def _encode(model: "MaskedAutoencoderViT", visible: Tensor, split: Masking) -> Tensor:
    projection = model.patch_embed.proj
    weight = projection.weight.permute(0, 2, 3, 1).flatten(1)  # [D, p*q*C], as patches are ordered
    tokens = product_of(model.decoder_embed)(visible, weight, projection.bias)
    return model.encode(tokens + model.pos_embed[0, 1:][split.ids_keep])


def _decode(model: "MaskedAutoencoderViT", latent: Tensor, split: Masking) -> Tensor:
    """Predictions (N, L - keep, p*q*C) of the masked patches, in the order of `ids_masked`."""
    x = model.decoder_embed(latent)
    positions = model.decoder_pos_embed[0]
    cls = x[:, :1] + positions[:1]
    visible = x[:, 1:] + positions[1:][split.ids_keep]
    masked = model.mask_token[0] + positions[1:][split.ids_masked]
    x = torch.cat([cls, visible, masked.to(x.dtype)], dim=1)
    *blocks, last = model.decoder_blocks
    x = through(blocks, x, model.recompute)
    x = _run(model.recompute, _last_block, last, x, 1 + split.keep)
    return model.decoder_pred(model.decoder_norm(x))


def through(blocks: Iterable[nn.Module], x: Tensor, recompute: bool) -> Tensor:
    """Tokens (N, T, D) after all of the blocks.

    With `recompute` nothing within a block is kept: the backward pass computes it anew.
    """
    for block in blocks:
        x = _run(recompute, block, x)
    return x


def _run(recompute: bool, step: Callable[..., Tensor], *inputs: Any) -> Tensor:
    if not recompute:
        return step(*inputs)
    # Nothing is drawn within, so that no generator's state need be kept.
    result: Tensor = checkpoint(step, *inputs, use_reentrant=False, preserve_rng_state=False)
    return result


def _last_block(block: Block, x: Tensor, seen: int) -> Tensor:
    """What the block makes of the tokens (N, T, d) from number `seen` on: (N, T - seen, d)."""
    normed = block.norm1(x)
    x = x[:, seen:] + _attend(block.attn, normed[:, seen:], normed)
    return x + block.mlp(block.norm2(x))


def _attend(attention: Attention, queries: Tensor, tokens: Tensor) -> Tensor:
    """Attention of some tokens (N, Q, d) to all of them (N, T, d): (N, Q, d)."""
    width = queries.shape[-1]
    weight, bias = attention.qkv.weight, attention.qkv.bias
    product = product_of(attention.qkv)
    q = _heads(product(queries, weight[:width], bias[:width]), attention.num_heads)
    k, v = (
        _heads(part, attention.num_heads)
        for part in product(tokens, weight[width:], bias[width:]).chunk(2, dim=-1)
    )
    if attention.fused_attn:
        mixed = F.scaled_dot_product_attention(q, k, v)
    else:
        mixed = ((q * attention.scale) @ k.transpose(-2, -1)).softmax(dim=-1) @ v
    return attention.proj(mixed.transpose(1, 2).flatten(2))


def _heads(x: Tensor, heads: int) -> Tensor:
    """Tokens (N, T, d) as (N, heads, T, d / heads)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)
