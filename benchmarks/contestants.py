"""The training steps that `benchmarks.training` compares: one process each, a step at a time.

Each is the same network with the same optimiser, masks and images: ours, the plain formulation on
timm's blocks, and transformers' ViTMAE.
"""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

Step = Callable[[], None]


@dataclass(frozen=True)
class Shape:
    """A network and a batch; images are square with three channels."""

    name: str
    image: int
    patch: int
    width: int
    depth: int
    heads: int
    decoder_width: int
    decoder_depth: int
    decoder_heads: int
    batch: int
    channels: int = 3

    @property
    def patches(self) -> int:
        return (self.image // self.patch) ** 2


BASE = Shape("Base at 224", 224, 16, 768, 12, 12, 512, 8, 16, batch=32)
LARGE_BATCH = replace(BASE, batch=96)
TINY = Shape("tiny at 28", 28, 4, 96, 4, 4, 64, 2, 4, batch=256)


def serve(connection: Connection, contestant: str, shape: Shape, precision: str) -> None:
    """Answer each message with the seconds of one step and the peak memory in bytes so far."""
    import torch

    torch.manual_seed(0)
    step = _step(contestant, shape, precision)
    while connection.recv():
        start = time.perf_counter()
        step()
        seconds = time.perf_counter() - start
        connection.send((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
    sys.exit()


def _step(contestant: str, shape: Shape, precision: str) -> Step:
    import torch

    from mae.train.device import choose_device, choose_kernels

    if contestant.startswith("mae"):
        choose_device(frugal="recomputing" in contestant)
    model, loss = _loss(contestant, shape)
    if contestant.startswith("mae"):
        kind = torch.bfloat16 if precision == "bf16" else torch.float32
        choose_kernels(model, torch.device("cpu"), kind)
    if "recomputing" in contestant:
        model.recompute = True
    if "compiled" in contestant:
        loss = torch.compile(loss, dynamic=False)
    optimiser = _optimiser(model)
    imgs = torch.randn(shape.batch, shape.channels, shape.image, shape.image)
    bf16 = precision == "bf16"

    def step() -> None:
        noise = torch.rand(shape.batch, shape.patches)
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            value = loss(imgs, noise)
        value.backward()
        optimiser.step()

    return step


def transformers_step(shape: Shape) -> Callable[[Any], None]:
    """A step of transformers' ViTMAE in float32 on images (N, C, H, W)."""
    model, _ = _loss("transformers", shape)
    optimiser = _optimiser(model)

    def step(imgs: Any) -> None:
        optimiser.zero_grad()
        model(imgs).loss.backward()
        optimiser.step()

    return step


def _optimiser(model: Any) -> Any:
    import torch

    weights = [weight for weight in model.parameters() if weight.requires_grad]
    return torch.optim.AdamW(weights, lr=1e-5, betas=(0.9, 0.95), fused=True)


def _loss(contestant: str, shape: Shape) -> tuple[Any, Callable[..., Any]]:
    if contestant == "transformers" or contestant.startswith("transformers "):
        from transformers import ViTMAEConfig, ViTMAEForPreTraining

        config = ViTMAEConfig(
            image_size=shape.image,
            num_channels=shape.channels,
            patch_size=shape.patch,
            hidden_size=shape.width,
            num_hidden_layers=shape.depth,
            num_attention_heads=shape.heads,
            intermediate_size=4 * shape.width,
            decoder_hidden_size=shape.decoder_width,
            decoder_num_hidden_layers=shape.decoder_depth,
            decoder_num_attention_heads=shape.decoder_heads,
            decoder_intermediate_size=4 * shape.decoder_width,
            norm_pix_loss=True,
        )
        theirs = ViTMAEForPreTraining(config)
        theirs.train()
        return theirs, lambda imgs, noise: theirs(imgs, noise=noise).loss
    from mae.model import MaskedAutoencoderViT

    ours = MaskedAutoencoderViT(
        img_size=shape.image,
        patch_size=shape.patch,
        in_chans=shape.channels,
        embed_dim=shape.width,
        depth=shape.depth,
        num_heads=shape.heads,
        decoder_embed_dim=shape.decoder_width,
        decoder_depth=shape.decoder_depth,
        decoder_num_heads=shape.decoder_heads,
        norm_pix_loss=True,
    )
    if contestant.startswith("mae"):
        return ours, lambda imgs, noise: ours.training_loss(imgs, 0.75, noise)
    return ours, lambda imgs, noise: ours(imgs, 0.75, noise)[0]
