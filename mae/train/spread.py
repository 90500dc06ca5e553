"""One network in several processes: whole in each (DDP), or a part of it in each (FSDP2).

Either way the loss is the lean one (mae.lean), gradients are the mean over all processes' images,
and weights keep their names. Checkpoints have whole tensors, so that any number of processes goes
on from them, sharded or not.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mae.config import RunConfig
from mae.errors import BadInput
from mae.model import MaskedAutoencoderViT
from mae.train.ranks import Ranks

Loss = Callable[[Tensor, float, Tensor], Tensor]


@dataclass(frozen=True)
class Spread:
    """The training loss of a network, and when its processes add up their gradients."""

    loss: Loss
    # A block for a micro batch, forward and backward; told whether it is the step's last.
    micro: Callable[[bool], AbstractContextManager[None]]


def spread(
    model: MaskedAutoencoderViT, device: torch.device, ranks: Ranks, run: RunConfig
) -> Spread:
    """The network in all processes; to be called before there is an optimiser.

    Raises BadInput for what does not go together.
    """
    if ranks.world == 1:
        loss: Loss = model.training_loss
        return Spread(_compiled(loss) if run.compile else loss, lambda last: nullcontext())
    if not run.shard:
        return _copied(model, device, run)
    return _sharded(model, device, ranks)


class TrainingLoss(nn.Module):
    """The training loss as what a module's `forward` gives: that is all that DDP looks at."""

    def __init__(self, model: MaskedAutoencoderViT) -> None:
        super().__init__()
        self.model = model

    def forward(self, imgs: Tensor, mask_ratio: float, noise: Tensor) -> Tensor:
        return self.model.training_loss(imgs, mask_ratio, noise)


def _copied(model: MaskedAutoencoderViT, device: torch.device, run: RunConfig) -> Spread:
    from torch.nn.parallel import DistributedDataParallel

    # These are read permuted or expanded; DDP wants gradients laid out as weights are.
    for weight in (model.patch_embed.proj.weight, model.cls_token):
        weight.register_hook(lambda grad: grad.clone(memory_format=torch.contiguous_format))
    module = DistributedDataParallel(
        TrainingLoss(model),
        device_ids=[device.index] if device.type == "cuda" else None,
        # Every weight is used in every step, so none is searched for that is not.
        find_unused_parameters=False,
        gradient_as_bucket_view=True,
    )
    # DDP sorts its buckets anew after its first backward pass, which changes the order of sums
    # where there are more than two processes. After this one a night that resumes adds up as one
    # that was not interrupted, from its first step.
    blank = torch.zeros(1, model.patch_embed.proj.in_channels, *model.patch_embed.img_size)
    noise = torch.zeros(1, model.patch_embed.num_patches)
    module(blank.to(device), 0.5, noise.to(device)).backward()
    module.zero_grad()

    def micro(last: bool) -> AbstractContextManager[None]:
        return nullcontext() if last else module.no_sync()

    return Spread(_compiled(module) if run.compile else module, micro)


def _sharded(model: MaskedAutoencoderViT, device: torch.device, ranks: Ranks) -> Spread:
    try:
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
    except ImportError:
        raise BadInput(f"run.shard needs torch 2.6, and this is {torch.__version__}") from None
    from torch.distributed.device_mesh import init_device_mesh

    mesh = init_device_mesh(device.type, (ranks.world,))
    # The lean path reads the last block's weights without calling it: it belongs to the root,
    # whose weights are whole from the loss's beginning to its end. Weights are gathered in
    # float32, so that autocast does the same as for a network that is whole.
    for block in (*model.blocks, *model.decoder_blocks[:-1]):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    register_fsdp_forward_method(model, "training_loss")

    def micro(last: bool) -> AbstractContextManager[None]:
        model.set_requires_gradient_sync(last)
        return nullcontext()

    return Spread(model.training_loss, micro)


def shards_of(whole: dict[Any, Any], likes: dict[Any, Tensor]) -> dict[Any, Any]:
    """The same tensors, of which this process keeps its part where the one of `likes` is sharded.

    Tensors within dictionaries (an optimiser's state) are cut if they have the shape of their like.
    """
    return {key: _shard(value, likes.get(key)) for key, value in whole.items()}


def _shard(value: Any, like: Tensor | None) -> Any:
    if like is None or not hasattr(like, "full_tensor"):
        return value
    if isinstance(value, dict):
        return {key: _shard(part, like) for key, part in value.items()}
    if not isinstance(value, Tensor) or value.shape != like.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    # Every process has read the whole, so that nothing need be sent.
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)


def _compiled(loss: Loss) -> Loss:
    return torch.compile(loss, dynamic=False)
