"""How the bundled sample was drawn from Fashion-MNIST: `python -m mae.data.make_sample`."""

from pathlib import Path

import numpy as np

from mae.data.idx import read_idx, write_idx
from mae.data.sources import FASHION_MNIST, SAMPLE

SIZES = {"train": 4000, "t10k": 1000}


def balanced(labels: np.ndarray, size: int, seed: int = 0) -> np.ndarray:
    """Sorted indices of `size` samples, as many of each class, drawn without replacement."""
    generator = np.random.default_rng(seed)
    classes = np.unique(labels)
    drawn = [
        generator.choice(np.flatnonzero(labels == each), size // len(classes), replace=False)
        for each in classes
    ]
    return np.sort(np.concatenate(drawn))


def make_sample(source: Path, target: Path) -> None:
    """Write the sample's four idx files into `target` from the full set in `source`."""
    for split, size in SIZES.items():
        images = read_idx(source / f"{split}-images-idx3-ubyte.gz")
        labels = read_idx(source / f"{split}-labels-idx1-ubyte.gz")
        chosen = balanced(labels, size)
        write_idx(target / f"{split}-images-idx3-ubyte.gz", images[chosen])
        write_idx(target / f"{split}-labels-idx1-ubyte.gz", labels[chosen])


if __name__ == "__main__":
    make_sample(FASHION_MNIST, SAMPLE)
