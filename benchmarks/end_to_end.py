"""Pretraining from files to weights: a campaign of ours beside the usual stack, in one run.

`python -m benchmarks.end_to_end [ROUNDS]`: the demo's network on 28 x 28 JPEGs. Ours is the whole
of `mae pretrain` (reading, augmentation, steps, history, events, checkpoints), from a packed store
and from the folder; theirs is transformers' ViTMAE fed by torchvision's ImageFolder, with nothing
kept. They alternate; images a second are medians, and of each round's ratios the median is told.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from statistics import median

import torch
from click.testing import CliRunner

from benchmarks import photos
from benchmarks.bars import bar, verdict
from benchmarks.contestants import Shape, transformers_step
from benchmarks.loader import Bench, image_folder_batches
from mae.cli import main as mae
from mae.config_file import read_config
from mae.train import loop
from mae.train.campaign import Campaign, read_history
from mae.train.device import choose_device
from mae.train.events import Events
from mae.train.stopping import Stop

ROUNDS, STEPS, THREADS = 3, 60, 2
TINY = Shape("fashion-tiny", 28, 4, 96, 4, 6, 64, 2, 4, batch=64, channels=1)


def main(rounds: int = ROUNDS) -> None:
    """Print images a second of each, ratios, and how long our steps waited for data."""
    choose_device(THREADS)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        folder, store = photos.tiny(root / "images", 2000), root / "store"
        words = ["pack", str(folder), "--output", str(store), "--channels", "1"]
        CliRunner().invoke(mae, words, catch_exceptions=False)
        bench = Bench("end to end", folder, TINY.image, TINY.channels, TINY.batch, {}, {})
        waits: dict[str, list[float]] = {"mae, packed store": [], "mae, folder": []}
        sources = dict(zip(waits, (store, folder), strict=True))
        contestants: dict[str, Callable[[int], float]] = {
            name: lambda number, name=name: _ours(root, sources[name], number, waits[name])
            for name in sources
        }
        contestants["transformers, ImageFolder"] = lambda number: _theirs(bench)
        speeds: dict[str, list[float]] = {name: [] for name in contestants}
        for number in range(rounds):
            for name, run in contestants.items():
                speeds[name].append(run(number))
    print(f"end to end at 28, batch {TINY.batch}, {THREADS} threads:")
    theirs = speeds["transformers, ImageFolder"]
    for name, found in speeds.items():
        ratio = median(a / b for a, b in zip(found, theirs, strict=True))
        line = f"  {name:<28}{median(found):8.0f} images/s {ratio:5.2f} x"
        if name in waits:
            wait = median(waits[name])
            # A folder is decoded by the process that trains, in the demo's settings.
            told = bar(f"data wait, {name}", wait, most=0.05) if "packed" in name else ""
            line += f", waits for data {wait:.1%} of the time {told}"
        print(line)


def _ours(root: Path, source: Path, number: int, waits: list[float]) -> float:
    settings = (
        f"data.source={source}", f"recipe.steps={STEPS}", f"recipe.batch_size={TINY.batch}",
        f"run.threads={THREADS}", "run.log_every_steps=20",
    )  # fmt: skip
    campaign = Campaign(root / f"{source.name}-{number}")
    config = read_config("fashion-tiny", settings)
    begun = time.perf_counter()
    loop.pretrain(campaign.root, config, Stop(), Events(None))
    seconds = time.perf_counter() - begun
    waits += [row["data_wait"] for row in read_history(campaign)]
    return STEPS * TINY.batch / seconds


def _theirs(bench: Bench) -> float:
    torch.manual_seed(0)
    begun = time.perf_counter()
    step = transformers_step(TINY)
    for imgs, _labels in islice(image_folder_batches(bench, workers=0), STEPS):
        step(imgs)
    return STEPS * TINY.batch / (time.perf_counter() - begun)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
    sys.exit(verdict())
