"""A network small enough for tests, and the batches that it would meet."""

from collections.abc import Iterator

import torch

from mae.data.course import course_of
from mae.data.loader import Batch, training_batches
from mae.data.sources import Images
from mae.data.view import View

TINY = (
    "model.width=16",
    "model.depth=1",
    "model.heads=2",
    "model.decoder_width=16",
    "model.decoder_depth=1",
    "model.decoder_heads=2",
    "recipe.batch_size=16",
    "recipe.base_lr=4e-3",
    "recipe.steps=12",
)


def batches_of(
    images: Images, view: View, seed: int, size: int, steps: range, workers: int = 0
) -> Iterator[Batch]:
    """The training batches of these steps, on the CPU."""
    course = course_of(images, size)
    return training_batches(images, view, seed, course, steps, torch.device("cpu"), workers)
