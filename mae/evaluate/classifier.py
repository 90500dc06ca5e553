"""The encoder with a classifying head: what linear probing and fine-tuning train.

Weights have the names of timm's VisionTransformer, as in the published code, so a fine-tuned
network loads there. D is the encoder's width, K the number of classes.
"""

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mae.model import LayerNorm, MaskedAutoencoderViT
from mae.recipes import Head
from mae.train.device import autocast

# Of the last layer's weights at the start, as published: main_linprobe and main_finetune.
DEVIATION_FROZEN, DEVIATION = 0.01, 2e-5


class Classifier(nn.Module):
    """Scores (N, K) of images (N, C, H, W).

    - `norm = "layer"`: a LayerNorm on the pooled token, then a linear layer. The mean is of the
      patch tokens before the encoder's last norm, and its LayerNorm a new one; the class token
      keeps the encoder's.
    - `norm = "batch"`: the encoder's last norm on all tokens, then a BatchNorm without weights on
      the pooled one, then a linear layer.
    """

    def __init__(
        self, model: MaskedAutoencoderViT, head: Head, classes: int, recompute: bool = False
    ) -> None:
        """Take over the encoder of `model`; the last layer is drawn from torch's generator."""
        super().__init__()
        self.settings, self.recompute = head, recompute
        self.patch_embed, self.blocks = model.patch_embed, model.blocks
        self.cls_token = model.cls_token
        # Positions are learnt in fine-tuning, as published.
        self.pos_embed = nn.Parameter(model.pos_embed.detach().clone())
        width = self.pos_embed.shape[-1]
        self.fresh_norm = head.norm == "layer" and head.pool == "mean"
        if self.fresh_norm:
            self.fc_norm = LayerNorm(width)
        else:
            self.norm = model.norm
        last = nn.Linear(width, classes)
        nn.init.trunc_normal_(last.weight, std=DEVIATION_FROZEN if head.frozen else DEVIATION)
        nn.init.zeros_(last.bias)
        self.head: nn.Module = last
        if head.norm == "batch":
            self.head = nn.Sequential(nn.BatchNorm1d(width, eps=1e-6, affine=False), last)
        if head.frozen:
            for name, weight in self.named_parameters():
                weight.requires_grad_(name.startswith(("head.", "fc_norm.")))
        _drop_paths(self.blocks, head.drop_path)

    def forward(self, imgs: Tensor, precision: torch.dtype = torch.float32) -> Tensor:
        """Scores (N, K) float32 of images (N, C, H, W); the encoder computes in `precision`."""
        learns = torch.is_grad_enabled() and not self.settings.frozen
        with torch.set_grad_enabled(learns), autocast(imgs.device, precision):
            tokens = self.tokens(imgs)
            if not self.fresh_norm:
                tokens = self.norm(tokens)
            mean = self.settings.pool == "mean"
            pooled = tokens[:, 1:].float().mean(dim=1) if mean else tokens[:, 0].float()
        if self.fresh_norm:
            pooled = self.fc_norm(pooled)
        return self.head(pooled)

    def tokens(self, imgs: Tensor) -> Tensor:
        """What the blocks make of images (N, C, H, W): (N, 1 + L, D), the class token first."""
        patches = self.patch_embed(imgs) + self.pos_embed[:, 1:]
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(len(imgs), -1, -1)
        x = torch.cat([cls.to(patches.dtype), patches], dim=1)
        for block in self.blocks:
            # Unlike in pretraining, paths are dropped within: the generator's state must be kept.
            x = checkpoint(block, x, use_reentrant=False) if self.recompute else block(x)
        return x

    def learnt(self) -> dict[str, Tensor]:
        """The weights and statistics that training changes: of a frozen encoder the head alone."""
        state = self.state_dict()
        if not self.settings.frozen:
            return state
        return {k: v for k, v in state.items() if k.startswith(("head.", "fc_norm."))}


def _drop_paths(blocks: nn.ModuleList, last: float) -> None:
    """Let block number i of n drop its paths with probability last · i / (n - 1)."""
    for number, block in enumerate(blocks):
        rate = last * number / max(1, len(blocks) - 1)
        if rate > 0:
            block.drop_path1, block.drop_path2 = DropPath(rate), DropPath(rate)
