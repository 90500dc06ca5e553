"""Which patches the encoder sees (section 3, "Masking")."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mae.draws import uniforms

# The held-out mask must not depend on the campaign, so that nights and campaigns compare.
HELD_OUT_SEED = 2021


class Masking(NamedTuple):
    """A random split of L patches into visible and masked ones, for N images."""

    ids_shuffle: Tensor  # (N, L) int64: patch at each shuffled place; visible ones come first
    keep: int  # how many are visible

    @property
    def ids_keep(self) -> Tensor:
        """(N, keep) indices of the visible patches."""
        return self.ids_shuffle[:, : self.keep]

    @property
    def ids_masked(self) -> Tensor:
        """(N, L - keep) indices of the masked patches."""
        return self.ids_shuffle[:, self.keep :]

    @property
    def ids_restore(self) -> Tensor:
        """(N, L) shuffled place of each patch: the inverse of `ids_shuffle`."""
        return torch.argsort(self.ids_shuffle, dim=1)

    @property
    def mask(self) -> Tensor:
        """(N, L) float32: 0 is visible, 1 is masked."""
        return torch.ones(self.ids_shuffle.shape, device=self.ids_shuffle.device).scatter_(
            1, self.ids_keep, 0.0
        )


def masking(noise: Tensor, mask_ratio: float) -> Masking:
    """The masking that noise (N, L) means: the patches with the lowest noise stay visible.

    The number kept is rounded down, as in the published code.
    """
    keep = int(noise.shape[1] * (1 - mask_ratio))
    return Masking(torch.argsort(noise, dim=1, stable=True), keep)


def pick(tokens: Tensor, ids: Tensor) -> Tensor:
    """The tokens (N, L, D) at ids (N, K): (N, K, D)."""
    return tokens.gather(1, ids.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def training_noise(seed: int, epoch: int, samples: np.ndarray, patches: int) -> Tensor:
    """Mask noise of a training batch: (N, patches) float32, a pure function of its arguments."""
    return torch.from_numpy(uniforms(seed, "mask", epoch, samples, patches).astype(np.float32))


def held_out_noise(samples: np.ndarray, patches: int) -> Tensor:
    """Mask noise of held-out images: (N, patches) float32, the same every night."""
    return training_noise(HELD_OUT_SEED, 0, samples, patches)
