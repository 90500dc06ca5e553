"""Real photographs to measure with, as folders of JPEGs that ImageFolder reads."""

from pathlib import Path

import numpy as np
from PIL import Image

# Debian's mate-backgrounds: a dozen photographs of one to five megapixels.
PHOTOS = Path("/usr/share/backgrounds/mate/nature")
LONGER_SIDE = 512


def photographs(directory: Path = PHOTOS) -> list[Path]:
    """The photographs of mate-backgrounds, or the one that comes with matplotlib."""
    if found := sorted(directory.glob("*.jpg")):
        return found
    from matplotlib import cbook

    return [Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))]


def large(root: Path, count: int, photos: list[Path]) -> Path:
    """A folder of multi-megapixel JPEGs: the photographs as they are, enlarged if they are not."""
    for n in range(count):
        photo, path = photos[n % len(photos)], _path(root, n)
        with Image.open(photo) as image:
            if image.width * image.height > 1e6:
                path.write_bytes(photo.read_bytes())
            else:
                size = (image.width * 4, image.height * 4)
                image.resize(size, Image.Resampling.BICUBIC).save(path, quality=92)
    return root


def small(root: Path, count: int, photos: list[Path]) -> Path:
    """A folder of JPEGs as large as ImageNet's: 512 pixels on the longer side.

    Photographs of that size are taken as they are; others are made smaller.
    """
    for n in range(count):
        photo, path = photos[n % len(photos)], _path(root, n)
        with Image.open(photo) as image:
            if max(image.size) <= LONGER_SIDE:
                path.write_bytes(photo.read_bytes())
            else:
                image.thumbnail((LONGER_SIDE, LONGER_SIDE), Image.Resampling.LANCZOS)
                image.save(path, quality=95)
    return root


def tiny(root: Path, count: int) -> Path:
    """A folder of the bundled sample's images as JPEGs: 28 x 28 pixels, grey."""
    from mae.data.sources import open_source

    for n, pixels in enumerate(open_source("sample").train.pixels[:count, 0]):
        Image.fromarray(np.ascontiguousarray(pixels)).save(_path(root, n), quality=92)
    return root


def _path(root: Path, number: int) -> Path:
    path = root / f"class-{number % 2}" / f"{number:05d}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
