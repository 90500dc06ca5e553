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

from mae.attention import explicit_attention
from mae.layers import product_of
from mae.masking import Masking

if TYPE_CHECKING:
    from mae.model import MaskedAutoencoderViT


def lean_loss(model: "MaskedAutoencoderViT", imgs: Tensor, split: Masking) -> Tensor:
    """The loss of images (N, C, H, W) under a masking: a scalar, float32."""
    shuffled = _rows(model.patchify(imgs), split.ids_shuffle)  # [N, L, p*q*C]
    latent = _encode(model, shuffled[:, : split.keep], split)
    pred = _decode(model, latent, split)
    return F.mse_loss(pred.float(), _targets(model, shuffled[:, split.keep :]))


def _rows(patches: Tensor, ids: Tensor) -> Tensor:
    """The patches (N, L, D), which need no gradient, at ids (N, K): (N, K, D)."""
    n, length = patches.shape[:2]
    first = torch.arange(0, n * length, length, device=ids.device)
    return F.embedding(ids + first[:, None], patches.flatten(0, 1))


def _targets(model: "MaskedAutoencoderViT", patches: Tensor) -> Tensor:
    """`model.targets` of patches (N, K, D) in one pass.

    What layer_norm divides by is of the biased variance: (x - mean) / sqrt(D / (D - 1) * biased +
    1e-6), as published, is sqrt((D - 1) / D) times (x - mean) / sqrt(biased + (D - 1) / D * 1e-6).
    """
    if not model.norm_pix_loss:
        return patches.float()
    size = patches.shape[-1]
    share = (size - 1) / size
    scale = torch.full((size,), share**0.5, device=patches.device)
    return F.layer_norm(patches.float(), (size,), scale, eps=1e-6 * share)


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
    x = torch.cat([cls, visible, masked], dim=1)
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
    x = x[:, seen:] + _attend(block.attn, block.norm1(x), seen)
    return x + block.mlp(block.norm2(x))


def _attend(attention: Attention, tokens: Tensor, seen: int) -> Tensor:
    """Attention of the tokens (N, T, d) from number `seen` on to all of them: (N, T - seen, d)."""
    if not attention.fused_attn:
        mixed = explicit_attention(attention.qkv(tokens), attention.num_heads, seen)
        return attention.proj(mixed)
    width = tokens.shape[-1]
    weight, bias = attention.qkv.weight, attention.qkv.bias
    product = product_of(attention.qkv)
    q = _heads(product(tokens[:, seen:], weight[:width], bias[:width]), attention.num_heads)
    k, v = (
        _heads(part, attention.num_heads)
        for part in product(tokens, weight[width:], bias[width:]).chunk(2, dim=-1)
    )
    mixed = F.scaled_dot_product_attention(q, k, v)
    return attention.proj(mixed.transpose(1, 2).flatten(2))


def _heads(x: Tensor, heads: int) -> Tensor:
    """Tokens (N, T, d) as (N, heads, T, d / heads)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)
