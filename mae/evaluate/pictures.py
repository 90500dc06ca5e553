"""Pictures of a campaign: reconstructions, and curves over its nights."""

import itertools
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from mae.evaluate.reconstruction import Reconstruction

METRICS = {
    "reconstruction_mse": "held-out MSE",
    "knn_top1": "kNN, %",
    "linear_top1": "linear probe, %",
}


def save_reconstruction(path: Path, done: Reconstruction, title: str) -> None:
    """Input, masked input, the network's output, and it pasted into the input, one row each."""
    rows = {"input": done.imgs, "masked": done.masked}
    rows |= {"output": done.output, "pasted": done.pasted}
    count = len(done.imgs)
    figure = Figure(figsize=(1 + 0.9 * count, 4.0), layout="constrained")
    axes = figure.subplots(len(rows), count, squeeze=False)
    for line, (name, imgs) in zip(axes, rows.items(), strict=True):
        for axis, img in zip(line, imgs, strict=True):
            axis.imshow(_displayable(img), cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(name)
    # A path may have dollars in it, which are no formula, and bytes that are no UTF-8.
    shown = os.fsencode(title).decode(errors="replace")
    figure.suptitle(shown, fontsize=10, parse_math=False)
    _save(figure, path)


def save_curves(
    path: Path, history: list[dict[str, Any]], evaluations: list[dict[str, Any]]
) -> None:
    """Training loss with the nights' boundaries, and evaluation metrics over the steps."""
    known = [m for m in METRICS if any(m in e["metrics"] for e in evaluations)]
    figure = Figure(figsize=(4 * (1 + len(known)), 3.4), layout="constrained")
    loss, *others = figure.subplots(1, 1 + len(known), squeeze=False)[0]
    loss.plot([r["step"] for r in history], [r["loss"] for r in history], linewidth=1)
    loss.set(title="training loss", xlabel="step")
    nights = [a["step"] for a, b in itertools.pairwise(history) if a["night"] < b["night"]]
    for metric, axis in zip(known, others, strict=True):
        _draw_metric(axis, metric, evaluations)
    for axis in (loss, *others):
        for boundary in nights:
            axis.axvline(boundary, color="0.8", linewidth=1, zorder=0)
    _save(figure, path)


def _draw_metric(axis: Axes, metric: str, evaluations: list[dict[str, Any]]) -> None:
    points = [(e["step"], e["metrics"][metric]) for e in evaluations if metric in e["metrics"]]
    axis.plot(*zip(*points, strict=True), marker="o", color="C1")
    baseline = evaluations[-1]["metrics"].get(f"random_{metric}")
    if baseline is not None:
        axis.axhline(baseline, color="0.5", linestyle=":", label="random weights")
        axis.legend(frameon=False)
    axis.set(title=METRICS[metric], xlabel="step")


def _displayable(img: Tensor) -> np.ndarray:
    # More than three channels cannot be shown; the first one stands for them.
    shown = img if img.shape[0] == 3 else img[:1]
    return shown.permute(1, 2, 0).cpu().numpy()


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{path.name}")
    # Without metadata the same evaluation gives the same bytes.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a path in another script
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
    temporary.replace(path)
