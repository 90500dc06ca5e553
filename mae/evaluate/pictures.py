"""Pictures of a campaign: reconstructions, and curves over its nights."""

import itertools
import os
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from mae.evaluate.reconstruction import Reconstruction
from mae.files import write_atomically

METRICS = {
    "reconstruction_mse": "held-out MSE",
    "knn_top1": "kNN, %",
    "linear_top1": "linear probe, %",
}
# Inches: a square image's side, a word of 10 points, and as much as all rows may take.
SQUARE, WORD, TALLEST = 0.9, 0.6, 12.0


def save_reconstruction(path: Path, done: Reconstruction, title: str) -> None:
    """Input, masked input, the network's output, and it pasted into the input, one row each."""
    rows = {"input": done.imgs, "masked": done.masked}
    rows |= {"output": done.output, "pasted": done.pasted}
    count, _, height, width = done.imgs.shape
    line = SQUARE * height / width  # inches
    shrunk = min(1.0, TALLEST / (len(rows) * line))
    size = (1 + SQUARE * count * shrunk, 0.4 + len(rows) * line * shrunk)
    figure = Figure(figsize=size, layout="constrained")
    # One picture of all: forty pairs of axes take ten times as long.
    axis = figure.subplots()
    gap = max(2, height // 16)
    axis.imshow(_sheet(list(rows.values()), gap), cmap="gray", vmin=0, vmax=1)
    middles = [height / 2 + n * (height + gap) for n in range(len(rows))]
    # A low image leaves no room for a word beside the next.
    axis.set_yticks(middles, labels=rows, rotation=90 if line > WORD else 0, va="center")
    axis.tick_params(axis="y", length=0)
    axis.set_xticks([])
    axis.set_frame_on(False)
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


def _sheet(rows: list[Tensor], gap: int) -> np.ndarray:
    """Rows of images (N, C, H, W) in 0..1, `gap` white pixels apart: (height, width, channels)."""
    # More than three channels cannot be shown; the first one stands for them.
    shown = [row if row.shape[1] == 3 else row[:, :1] for row in rows]
    n, channels, height, width = shown[0].shape
    sheet = np.ones((len(rows) * (height + gap) - gap, n * (width + gap) - gap, channels))
    for line, row in enumerate(shown):
        for column, img in enumerate(row):
            y, x = line * (height + gap), column * (width + gap)
            sheet[y : y + height, x : x + width] = img.permute(1, 2, 0).cpu().numpy()
    return sheet


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = BytesIO()
    # Without metadata the same evaluation gives the same bytes.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a path in another script
        figure.savefig(picture, format="png", dpi=110, metadata={"Software": None})
    write_atomically(path, picture.getvalue())
