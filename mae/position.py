"""Fixed sine-cosine position embeddings, as the published MAE code computes them."""

import numpy as np
from numpy.typing import NDArray


def get_2d_sincos_pos_embed(
    embed_dim: int, grid_size: int | tuple[int, int], cls_token: bool = False
) -> NDArray[np.float64]:
    """Position embedding of a grid of patches: (h * w, embed_dim) float64, row by row.

    The first half of the channels encodes the column and the second half the row: width comes
    first. Checkpoints store the embedding, so swapping the halves would break them quietly. With
    `cls_token` a row of zeros comes in front. `grid_size` is (rows, columns), or one number.
    """
    if embed_dim % 4:
        raise ValueError(f"the width must be a multiple of 4 for a 2-D embedding, not {embed_dim}")
    height, width = (grid_size, grid_size) if isinstance(grid_size, int) else grid_size
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    halves = [sincos(embed_dim // 2, columns.ravel()), sincos(embed_dim // 2, rows.ravel())]
    embedding = np.concatenate(halves, axis=1)
    if cls_token:
        embedding = np.concatenate([np.zeros((1, embed_dim)), embedding])
    return embedding


def sincos(dim: int, positions: NDArray[np.integer]) -> NDArray[np.float64]:
    """Embedding of positions along one axis: (M,) to (M, dim), all sines before all cosines."""
    frequencies = 10000.0 ** -(np.arange(dim // 2) / (dim / 2))
    angles = np.outer(positions, frequencies)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
