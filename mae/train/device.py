"""What this machine computes on, and in which precision: decided here, by what it can do."""

import ctypes
import os
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Literal

import torch
from timm.layers import Mlp
from timm.models.vision_transformer import Attention
from torch import nn

from mae.attention import ExplicitAttention
from mae.layers import ConvolvedLinear, LeanMlp, change_layers
from mae.model import MaskedAutoencoderViT

CPU_INFO = Path("/proc/cpuinfo")
# Units that multiply bfloat16: Intel and AMD, then Arm.
BF16_FEATURES = {"avx512_bf16", "amx_bf16", "bf16"}
# Whose matrix products in float32 are better left to oneDNN (mae.layers): measured 1.6 times a
# step of ViT-B. With narrower vector units the two have not been compared.
SLOW_PRODUCTS = {"AuthenticAMD", "avx512f"}
# mallopt(3): the numbers are those of malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
# Below this width a CPU spends more on converting than it saves on multiplying: measured 0.8 times
# the speed of float32 at 96.
NARROWEST_BF16_ON_CPU = 256


def choose_device(threads: int | None = None, frugal: bool = False) -> torch.device:
    """The accelerator if there is one, else the CPU; it computes with that many threads.

    Tensors in the CPU's memory lie in pages of 2 MB where the kernel has them, if none has been
    made before. The memory of those freed is kept, unless one is `frugal`: a step allocates its
    activations anew, and would have the kernel clear them, but what is kept has gaps (a tenth of
    ViT-B's peak where activations are computed anew).
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # PyTorch asks once
    if not frugal:
        _keep_freed_memory()
    if threads is not None:
        torch.set_num_threads(threads)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _keep_freed_memory() -> None:
    with suppress(OSError, AttributeError):  # a C library that has no such setting
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)


def choose_precision(
    device: torch.device, width: int, asked: Literal["auto", "bf16", "fp32"] = "auto"
) -> torch.dtype:
    """bfloat16 where the hardware multiplies it and it pays, else float32."""
    if asked != "auto":
        return torch.bfloat16 if asked == "bf16" else torch.float32
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = width >= NARROWEST_BF16_ON_CPU and bool(cpu_features() & BF16_FEATURES)
    return torch.bfloat16 if able else torch.float32


def cpu_features() -> set[str]:
    """The words that the kernel lists as the CPU's features."""
    try:
        return set(CPU_INFO.read_text().split())
    except OSError:
        return set()


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[None]:
    """A block that computes in this precision; weights and reductions stay in float32."""
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)


def choose_kernels(
    model: MaskedAutoencoderViT, device: torch.device, precision: torch.dtype
) -> None:
    """Make the blocks use the faster attention, fused or explicit, and the faster linear layers,
    and on CPUs keep no more than they need.

    On CPUs the fused kernel's backward pass is slow in bfloat16 (twice the step at width 96, a
    fifth of it for ViT-B); in float32, and on GPUs, it wins. In bfloat16 PyTorch leaves matrix
    products to oneDNN itself. On GPUs an activation computed anew costs an eighth of a step, and
    less memory than theirs is taken without it (measured on an H200).
    """
    on_cpu, exact = device.type == "cpu", precision == torch.float32
    for block in (*model.blocks, *model.decoder_blocks):
        block.attn.fused_attn = exact or not on_cpu
    if on_cpu:
        change_layers(model, Mlp, LeanMlp)
    if on_cpu and not exact:
        change_layers(model, Attention, ExplicitAttention)
    if on_cpu and exact and cpu_features() >= SLOW_PRODUCTS:
        change_layers(model, nn.Linear, ConvolvedLinear)
