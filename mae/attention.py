"""Attention written as two products of matrices and a softmax, copying as little as it can.

On CPUs this takes less time than PyTorch's fused kernel in bfloat16, whose backward pass is slow
there. Left to autograd, queries, keys and values are copied one by one on the way there and again,
twice, on the way back.
"""

from typing import Any

import torch
from timm.models.vision_transformer import Attention
from torch import Tensor
from torch.autograd.function import once_differentiable


class ExplicitAttention(Attention):
    """timm's of a plain block: without dropout, and without norms or a gate of its own."""

    def forward(
        self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        if attn_mask is not None or is_causal:
            return super().forward(x, attn_mask, is_causal)
        result: Tensor = self.proj(explicit_attention(self.qkv(x), self.num_heads))
        return result


def explicit_attention(qkv: Tensor, heads: int, seen: int = 0) -> Tensor:
    """Attention of the tokens from number `seen` on to all of them: (N, T - seen, d).

    qkv: (N, T, 3 * d), as a layer of timm's gives it: queries, keys, values, each by heads.
    """
    if torch.compiler.is_compiling():  # which copies nothing that it need not
        return _attention(qkv, heads, seen)
    result: Tensor = _Attention.apply(qkv, heads, seen)
    return result


def _attention(qkv: Tensor, heads: int, seen: int) -> Tensor:
    queries, keys, values = _by_heads(qkv, heads)
    scores = (queries[:, :, seen:] * queries.shape[-1] ** -0.5) @ keys.transpose(-2, -1)
    return (scores.softmax(dim=-1) @ values).transpose(1, 2).flatten(2)


def _by_heads(qkv: Tensor, heads: int) -> Tensor:
    """A view of tokens (N, T, 3 * d): (3, N, heads, T, d / heads)."""
    return qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)


class _Attention(torch.autograd.Function):
    """`_attention`, with N and the heads as one dimension of B = N * heads in the products."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, heads: int, seen: int) -> Tensor:
        parts = _by_heads(qkv, heads)
        n, width, scale = len(qkv), qkv.shape[-1] // 3, parts.shape[-1] ** -0.5
        asking = parts[0, :, :, seen:]
        queries = torch.mul(asking, scale, out=qkv.new_empty(asking.shape))  # scaled and in order
        queries = queries.flatten(0, 1)  # [B, T - seen, d / heads]
        keys, values = parts[1:].flatten(1, 2)  # [B, T, d / heads]
        weights = torch.bmm(queries, keys.transpose(1, 2)).softmax(dim=-1)
        ctx.save_for_backward(queries, keys, values, weights)
        ctx.heads, ctx.seen, ctx.scale = heads, seen, scale
        mixed = torch.bmm(weights, values).unflatten(0, (n, heads))
        return mixed.transpose(1, 2).reshape(n, -1, width)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        queries, keys, values, weights = ctx.saved_tensors
        n = len(grad)
        grad = grad.unflatten(-1, (ctx.heads, -1)).transpose(1, 2).flatten(0, 1)
        result = grad.new_empty(n, keys.shape[1], 3 * ctx.heads * keys.shape[-1])
        of_queries, of_keys, of_values = _by_heads(result, ctx.heads)

        def split(part: Tensor) -> Tensor:
            return part.unflatten(0, (n, ctx.heads))

        of_values.copy_(split(torch.bmm(weights.transpose(1, 2), grad)))
        of_scores = torch._softmax_backward_data(
            torch.bmm(grad, values.transpose(1, 2)), weights, -1, weights.dtype
        )
        of_queries[:, :, : ctx.seen] = 0
        torch.mul(split(torch.bmm(of_scores, keys)), ctx.scale, out=of_queries[:, :, ctx.seen :])
        of_keys.copy_(split(torch.bmm(of_scores.transpose(1, 2), queries)))
        return result, None, None
