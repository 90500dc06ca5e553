"""Small campaigns, and images on the disk, for all tests of mae."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TINY

from mae.config import Config
from mae.config_file import read_config
from mae.data.sources import SAMPLE, Arrays, open_source

# Networks this small only lose by waiting for a second thread, the more so on a busy machine.
torch.set_num_threads(1)


@pytest.fixture
def tiny() -> Config:
    """A campaign of twelve steps that takes a second."""
    return read_config("fashion-tiny", TINY)


@pytest.fixture(scope="session")
def sample() -> Arrays:
    """The bundled training images."""
    images = open_source("sample").train
    assert isinstance(images, Arrays)
    return images


@pytest.fixture
def folder(tmp_path: Path, sample: Arrays) -> Path:
    """120 real images as files, one folder a class, PNG and JPEG."""
    root = tmp_path / "images"
    for index in range(120):
        image = Image.fromarray(np.ascontiguousarray(sample.pixels[index, 0]))
        name = root / f"class-{sample.labels[index]}" / f"{index:03d}"
        name.parent.mkdir(parents=True, exist_ok=True)
        image.save(name.with_suffix(".png" if index % 2 else ".jpg"))
    return root


@pytest.fixture
def sample_directory() -> Path:
    return SAMPLE
