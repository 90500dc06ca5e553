"""Loading images, against torchvision's ImageFolder with the same augmentation, in one run.

A packed store, our reader of folders and ImageFolder take the same JPEGs through a random resized
crop (.2 to 1, bicubic), a flip and normalisation, into batches of float32. Contestants alternate;
medians are printed, and of each round's ratios the median. Other photographs than those of Debian's
mate-backgrounds are taken from two directories: `python -m benchmarks.loader LARGE SMALL`.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import torch
from click.testing import CliRunner
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks import photos
from benchmarks.bars import bar, verdict
from mae.cli import main as mae
from mae.data.course import course_of
from mae.data.loader import training_batches
from mae.data.sources import open_source
from mae.data.view import View
from mae.train.device import choose_device

ROUNDS = 5
WORKERS = (0, 2)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Bench:
    """A folder of images, what they become, and the bars: ratios to ImageFolder's speed."""

    name: str
    folder: Path
    size: int
    channels: int
    batch: int
    steps: dict[str, int]  # batches that each contestant is timed for in a round
    bars: dict[str, float]

    @property
    def view(self) -> View:
        half = (0.5,) * self.channels
        return View(
            (self.size, self.size), self.channels, (0.2, 1), (3 / 4, 4 / 3), True, half, half
        )


def main(large: Path = photos.PHOTOS, small: Path | None = None) -> None:
    """Print images a second, ratios and bars, for large, small and tiny JPEGs."""
    choose_device(threads=1)  # as training does
    whole = photos.photographs(large)
    reduced = photos.photographs(small) if small else whole
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        few, some, many = ({"folder": n, "ImageFolder": n} for n in (3, 8, 40))
        smaller = photos.small(root / "small", 400, reduced)
        for bench in (
            Bench(
                "multi-megapixel JPEGs to 224", photos.large(root / "large", 48, whole), 224, 3, 16,
                few | {"packed": 40}, {"packed": 6, "folder": 1.3},
            ),
            Bench(
                "JPEGs of 512 pixels to 224", smaller, 224, 3, 32,
                some | {"packed": 40}, {"packed": 6, "folder": 1},
            ),
            Bench(
                "JPEGs of 28 x 28 to 28", photos.tiny(root / "tiny", 2000), 28, 1, 64,
                many | {"packed": 200}, {"packed": 6, "folder": 1},
            ),
        ):  # fmt: skip
            for workers in WORKERS:
                _compare(bench, root, workers)


def _compare(bench: Bench, root: Path, workers: int) -> None:
    store = root / f"{bench.folder.name}-store"
    command = ["pack", str(bench.folder), "--output", str(store), "--channels", str(bench.channels)]
    CliRunner().invoke(mae, command, catch_exceptions=False)
    contestants: dict[str, Callable[[], Iterable[object]]] = {
        "packed": lambda: _ours(bench, store, workers),
        "folder": lambda: _ours(bench, bench.folder, workers),
        "ImageFolder": lambda: image_folder_batches(bench, workers),
    }
    speeds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(ROUNDS + 1):
        for name, batches in contestants.items():
            speed = _speed(batches(), bench.steps[name]) * bench.batch
            if number:  # the first one warms the disk cache
                speeds[name].append(speed)
    sizes = [path.stat().st_size for path in bench.folder.rglob("*.jpg")]
    each = f"{sum(sizes) / len(sizes) / 1000:.0f} kB each"
    print(f"{bench.name}, {each}, {f'{workers} workers' if workers else 'in one process'}:")
    for name, found in speeds.items():
        line = f"  {name}: {median(found):.0f} images/s"
        if least := bench.bars.get(name):
            ratio = median(a / b for a, b in zip(found, speeds["ImageFolder"], strict=True))
            told = bar(f"{bench.name}, {name}", ratio, least=least)
            line += f", {ratio:.2f} times ImageFolder's {told}"
        print(line)


def _speed(batches: Iterable[object], steps: int) -> float:
    """Batches a second, from the first one's arrival on."""
    iterator = iter(batches)
    next(iterator)
    begun = time.perf_counter()
    assert len(list(islice((None for _ in iterator), steps))) == steps
    return steps / (time.perf_counter() - begun)


def _ours(bench: Bench, source: Path, workers: int) -> Iterable[object]:
    images, steps = open_source(str(source)).train, range(10_000)
    course = course_of(images, bench.batch)
    return training_batches(images, bench.view, 0, course, steps, CPU, workers)


def image_folder_batches(bench: Bench, workers: int) -> Iterable[Any]:
    """Images and labels from torchvision's ImageFolder, augmented as ours are, without end."""
    view = bench.view
    augmentation = transforms.Compose(
        [
            transforms.RandomResizedCrop(
                bench.size, view.crop_scale, interpolation=transforms.InterpolationMode.BICUBIC
            ),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(view.mean, view.std),
        ]
    )
    mode = "L" if bench.channels == 1 else "RGB"
    images = ImageFolder(
        str(bench.folder), augmentation, loader=lambda path: Image.open(path).convert(mode)
    )
    while True:
        yield from DataLoader(
            images, bench.batch, shuffle=True, drop_last=True, num_workers=workers
        )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
    sys.exit(verdict())
