"""What fifteen minutes teach a tiny network on all of Fashion-MNIST, beside raw pixels.

`python -m benchmarks.learning [MINUTES] [DIRECTORY]`: the directory has the idx files, by default
those of Debian's dataset-fashion-mnist. The steps are as many as the machine seems to do in the
time, so that the schedule ends with it; a deadline holds it to that. The bar: probe and neighbours
above the random encoder's by five.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.bars import bar, verdict
from mae.config import Config
from mae.config_file import read_config
from mae.data.sources import Arrays, Images, open_source
from mae.evaluate.knn import knn_top1
from mae.evaluate.linear import linear_top1
from mae.evaluate.run import Bench
from mae.train import checkpoint as checkpoints
from mae.train import loop
from mae.train.campaign import Campaign, read_history
from mae.train.events import Events
from mae.train.stopping import Stop

MINUTES, BAR = 15.0, 5.0
SETTINGS = (
    "recipe.batch_size=256", "recipe.base_lr=1e-3", "recipe.warmup_epochs=1", "run.threads=2",
    "run.log_every_steps=50",
)  # fmt: skip
WARM_UP, TIMED = 20, 200  # steps


def main(minutes: float = MINUTES, source: str = "fashion-mnist") -> None:
    """Train for that long, then print what probe and neighbours make of each kind of features."""
    told = read_config("fashion-tiny", (*SETTINGS, f"data.source={source}"))
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        second = _steps_per_second(root / "timed", told)
        steps = max(1, int(0.95 * minutes * 60 * second))
        config = read_config(
            "fashion-tiny", (*SETTINGS, f"data.source={source}", f"recipe.steps={steps}")
        )
        begun = time.time()
        loop.pretrain(root / "campaign", config, Stop(begun + 60 * minutes), Events(None))
        took = (time.time() - begun) / 60
        done = read_history(Campaign(root / "campaign"))[-1]
        print(f"{done['step']} of {steps} steps, {done['epoch']:.1f} epochs, {took:.1f} minutes")
        splits = open_source(source)

        bench = Bench(config, splits, Stop(), print)
        campaign = Campaign(root / "campaign")
        found = checkpoints.newest_valid(campaign.checkpoints, print)
        ours, random = (bench.classification(bench.model(one)) for one in (found, None))
        raw = _raw(splits.train, splits.held_out)
    print(f"{'':<16}{'linear probe':>14}{'20 neighbours':>16}")
    for name, scores in (("raw pixels", raw), ("random encoder", random), ("mae", ours)):
        print(f"{name:<16}{scores['linear_top1']:>13.2f}%{scores['knn_top1']:>15.2f}%")
    gains = [ours[metric] - random[metric] for metric in ("linear_top1", "knn_top1")]
    told = bar("above random", min(gains), least=BAR)
    print(f"above random: {gains[0]:+.2f} and {gains[1]:+.2f} {told}")


def _steps_per_second(root: Path, config: Config) -> float:
    loop.pretrain(root, config, Stop(), Events(None), until_step=WARM_UP)
    begun = time.monotonic()
    loop.pretrain(root, config, Stop(), Events(None), until_step=WARM_UP + TIMED)
    return TIMED / (time.monotonic() - begun)


def _raw(train: Images, test: Images) -> dict[str, float]:
    found = []
    for images in (train, test):
        assert isinstance(images, Arrays)
        pixels = torch.from_numpy(images.pixels.reshape(len(images), -1).astype(np.float32) / 255)
        found += [pixels, torch.from_numpy(np.asarray(images.labels))]
    return {"linear_top1": linear_top1(*found, Stop()), "knn_top1": knn_top1(*found)}


if __name__ == "__main__":
    main(*(kind(told) for kind, told in zip((float, str), sys.argv[1:], strict=False)))
    sys.exit(verdict())
