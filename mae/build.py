"""The network and the view of images that a config describes."""

import torch

from mae.config import Config, ModelConfig
from mae.data.view import View
from mae.model import MaskedAutoencoderViT


def build_model(config: ModelConfig, seed: int) -> MaskedAutoencoderViT:
    """A freshly initialised network; the same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MaskedAutoencoderViT(
            img_size=config.size,
            patch_size=config.patch,
            in_chans=config.channels,
            embed_dim=config.width,
            depth=config.depth,
            num_heads=config.heads,
            decoder_embed_dim=config.decoder_width,
            decoder_depth=config.decoder_depth,
            decoder_num_heads=config.decoder_heads,
            mlp_ratio=config.mlp_ratio,
            norm_pix_loss=config.norm_pix_loss,
        )


def view_of(config: Config) -> View:
    """How this config's network sees images."""
    data = config.data
    return View(
        size=config.model.size,
        channels=config.model.channels,
        crop_scale=data.crop_scale,
        crop_ratio=data.crop_ratio,
        flip=data.flip,
        mean=data.mean,
        std=data.std,
        upright=data.upright,
    )
