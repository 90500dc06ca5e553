"""The masked autoencoder: a ViT encoder over visible patches, a light decoder over all of them.

Names, state-dict keys and numbers follow the published implementation, so that its checkpoints
load here and ours load there. Shapes: N images, C channels, H × W pixels, patches of p × q, L
patches an image, D the encoder's width, d the decoder's.
"""

from functools import partial
from typing import Any

import torch
from timm.layers import PatchEmbed
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from mae.lean import lean_loss, through
from mae.masking import Masking, masking, pick
from mae.position import get_2d_sincos_pos_embed

LayerNorm = partial(nn.LayerNorm, eps=1e-6)


class MaskedAutoencoderViT(nn.Module):
    """Masked autoencoder with a vision transformer (He et al., 2021).

    `img_size` is a number or (H, W), a multiple of `patch_size`, which is a number or (p, q); any
    number of channels.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int | tuple[int, int] = 16,
        in_chans: int = 3,
        embed_dim: int = 1024,
        depth: int = 24,
        num_heads: int = 16,
        decoder_embed_dim: int = 512,
        decoder_depth: int = 8,
        decoder_num_heads: int = 16,
        mlp_ratio: float = 4.0,
        norm_pix_loss: bool = False,
    ) -> None:
        super().__init__()
        self.norm_pix_loss = norm_pix_loss
        self.recompute = False  # activations, in the backward pass (mae.lean)
        self.patch_embed = PatchEmbed(img_size, patch_size, in_chans, embed_dim)
        patches: int = self.patch_embed.num_patches

        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = _fixed(patches + 1, embed_dim)
        self.blocks = _blocks(embed_dim, depth, num_heads, mlp_ratio)
        self.norm = LayerNorm(embed_dim)

        self.decoder_embed = nn.Linear(embed_dim, decoder_embed_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_embed_dim))
        self.decoder_pos_embed = _fixed(patches + 1, decoder_embed_dim)
        self.decoder_blocks = _blocks(
            decoder_embed_dim, decoder_depth, decoder_num_heads, mlp_ratio
        )
        self.decoder_norm = LayerNorm(decoder_embed_dim)
        p, q = self.patch_embed.patch_size
        self.decoder_pred = nn.Linear(decoder_embed_dim, p * q * in_chans)
        self.initialize_weights()

    def initialize_weights(self) -> None:
        """Fill all weights: sine-cosine positions, normal tokens, Xavier-uniform matrices."""
        for positions in (self.pos_embed, self.decoder_pos_embed):
            width = positions.shape[-1]
            values = get_2d_sincos_pos_embed(width, self.patch_embed.grid_size, cls_token=True)
            positions.data.copy_(torch.from_numpy(values).float().unsqueeze(0))

        # The projection is a linear layer in disguise, and is initialised like one.
        nn.init.xavier_uniform_(self.patch_embed.proj.weight.data.flatten(1))
        nn.init.normal_(self.cls_token, std=0.02)
        nn.init.normal_(self.mask_token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def patchify(self, imgs: Tensor) -> Tensor:
        """Images (N, C, H, W) as patches (N, L, p*q*C), each in the order row, column, channel."""
        (rows, columns), (p, q) = self.patch_embed.grid_size, self.patch_embed.patch_size
        n, channels = imgs.shape[:2]
        patches = imgs.reshape(n, channels, rows, p, columns, q)
        patches = patches.permute(0, 2, 4, 3, 5, 1)  # [n, rows, columns, p, q, channels]
        return patches.reshape(n, rows * columns, p * q * channels)

    def unpatchify(self, patches: Tensor) -> Tensor:
        """Patches (N, L, p*q*C) as images (N, C, H, W): the inverse of `patchify`."""
        (rows, columns), (p, q) = self.patch_embed.grid_size, self.patch_embed.patch_size
        n, channels = len(patches), patches.shape[-1] // (p * q)
        imgs = patches.reshape(n, rows, columns, p, q, channels)
        imgs = imgs.permute(0, 5, 1, 3, 2, 4)  # [n, channels, rows, p, columns, q]
        return imgs.reshape(n, channels, rows * p, columns * q)

    def forward_features(self, imgs: Tensor) -> Tensor:
        """Encode whole images (N, C, H, W): (N, 1 + L, D), the class token first."""
        tokens = self.patch_embed(imgs) + self.pos_embed[:, 1:]
        return self.encode(tokens)

    def forward_encoder(
        self, imgs: Tensor, mask_ratio: float, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Encode the visible patches: latent (N, 1 + keep, D), mask (N, L), ids_restore (N, L)."""
        split = self._masking(imgs, mask_ratio, noise)
        return self._encode_visible(imgs, split), split.mask, split.ids_restore

    def forward_decoder(self, latent: Tensor, ids_restore: Tensor) -> Tensor:
        """Predict all patches (N, L, p*q*C) from what the encoder made of the visible ones."""
        x = self.decoder_embed(latent)  # [N, 1 + keep, d]
        absent = ids_restore.shape[1] + 1 - x.shape[1]
        masks = self.mask_token.to(x.dtype).expand(len(x), absent, -1)
        tokens = pick(torch.cat([x[:, 1:], masks], dim=1), ids_restore)
        x = torch.cat([x[:, :1], tokens], dim=1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        return self.decoder_pred(self.decoder_norm(x))[:, 1:]

    def forward_loss(self, imgs: Tensor, pred: Tensor, mask: Tensor) -> Tensor:
        """Mean squared error of pred (N, L, p*q*C) over the patches where mask (N, L) is 1."""
        error = (pred.float() - self.targets(self.patchify(imgs))).square().mean(dim=-1)
        return (error * mask).sum() / mask.sum()

    def forward(
        self, imgs: Tensor, mask_ratio: float = 0.75, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, prediction (N, L, p*q*C) and mask (N, L) of images (N, C, H, W).

        `noise` (N, L) decides the mask; without it, torch's generator does.
        """
        latent, mask, ids_restore = self.forward_encoder(imgs, mask_ratio, noise)
        pred = self.forward_decoder(latent, ids_restore)
        return self.forward_loss(imgs, pred, mask), pred, mask

    def training_loss(self, imgs: Tensor, mask_ratio: float, noise: Tensor) -> Tensor:
        """The loss of `forward`, for less work (see mae.lean)."""
        return lean_loss(self, imgs, self._masking(imgs, mask_ratio, noise))

    def targets(self, patches: Tensor) -> Tensor:
        """What the decoder should predict of patches (N, L, p*q*C): normalised if norm_pix_loss."""
        patches = patches.float()
        if not self.norm_pix_loss:
            return patches
        mean, deviation = patch_statistics(patches)
        return (patches - mean) / deviation

    def _masking(self, imgs: Tensor, mask_ratio: float, noise: Tensor | None) -> Masking:
        if noise is None:
            noise = torch.rand(len(imgs), self.patch_embed.num_patches, device=imgs.device)
        return masking(noise, mask_ratio)

    def _encode_visible(self, imgs: Tensor, split: Masking) -> Tensor:
        tokens = self.patch_embed(imgs) + self.pos_embed[:, 1:]
        return self.encode(pick(tokens, split.ids_keep))

    def encode(self, tokens: Tensor) -> Tensor:
        """What the encoder makes of placed tokens (N, K, D): (N, 1 + K, D), class token first."""
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        x = torch.cat([cls.to(tokens.dtype), tokens], dim=1)
        return self.norm(through(self.blocks, x, self.recompute))


def patch_statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each patch (N, L, p*q*C): (N, L, 1) each.

    The variance is the unbiased one, and 1e-6 is added inside the root, as published.
    """
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return mean, (variance + 1e-6).sqrt()


def mae_vit_tiny_patch16_dec512d8b(**options: Any) -> MaskedAutoencoderViT:
    """ViT-Tiny: 192 wide, 12 deep, 3 heads. Not among the published ones."""
    return MaskedAutoencoderViT(embed_dim=192, depth=12, num_heads=3, **options)


def mae_vit_small_patch16_dec512d8b(**options: Any) -> MaskedAutoencoderViT:
    """ViT-Small: 384 wide, 12 deep, 6 heads. Not among the published ones."""
    return MaskedAutoencoderViT(embed_dim=384, depth=12, num_heads=6, **options)


def mae_vit_base_patch16_dec512d8b(**options: Any) -> MaskedAutoencoderViT:
    """ViT-Base: 768 wide, 12 deep, 12 heads."""
    return MaskedAutoencoderViT(embed_dim=768, depth=12, num_heads=12, **options)


def mae_vit_large_patch16_dec512d8b(**options: Any) -> MaskedAutoencoderViT:
    """ViT-Large: 1024 wide, 24 deep, 16 heads."""
    return MaskedAutoencoderViT(embed_dim=1024, depth=24, num_heads=16, **options)


def mae_vit_huge_patch14_dec512d8b(**options: Any) -> MaskedAutoencoderViT:
    """ViT-Huge: 1280 wide, 32 deep, 16 heads, patches of 14."""
    options = {"patch_size": 14, **options}
    return MaskedAutoencoderViT(embed_dim=1280, depth=32, num_heads=16, **options)


mae_vit_tiny_patch16 = mae_vit_tiny_patch16_dec512d8b
mae_vit_small_patch16 = mae_vit_small_patch16_dec512d8b
mae_vit_base_patch16 = mae_vit_base_patch16_dec512d8b
mae_vit_large_patch16 = mae_vit_large_patch16_dec512d8b
mae_vit_huge_patch14 = mae_vit_huge_patch14_dec512d8b


def _fixed(length: int, width: int) -> nn.Parameter:
    # A parameter, not a buffer: the published checkpoints list it among the weights.
    return nn.Parameter(torch.zeros(1, length, width), requires_grad=False)


def _blocks(width: int, depth: int, heads: int, mlp_ratio: float) -> nn.ModuleList:
    return nn.ModuleList(
        Block(width, heads, mlp_ratio, qkv_bias=True, norm_layer=LayerNorm) for _ in range(depth)
    )
