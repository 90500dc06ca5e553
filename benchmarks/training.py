"""A training step of ours beside transformers' and a plain formulation on timm's blocks.

`python -m benchmarks.training [ROUNDS]`: each contestant is a process of its own; they take their
steps in turn, so that a machine whose speed drifts is fair to each. Ratios are medians of the
ratios within a round; memory is each process's peak.
"""

import sys
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median

from benchmarks.contestants import BASE, TINY, Shape, serve

ROUNDS = 5
Key = tuple[str, str]  # contestant, precision


@dataclass(frozen=True)
class Bar:
    """Ours must be at least `least` times as fast as theirs."""

    ours: Key
    theirs: Key
    least: float


BARS = {
    BASE: [
        Bar(("mae", "fp32"), ("transformers", "fp32"), 1.03),
        Bar(("mae", "fp32"), ("timm", "fp32"), 1.03),
        Bar(("mae", "bf16"), ("transformers", "bf16"), 1.2),
        Bar(("mae", "bf16"), ("timm", "bf16"), 1.2),
        Bar(("mae compiled", "bf16"), ("transformers", "bf16"), 1.3),
        Bar(("mae", "bf16"), ("transformers", "fp32"), 3.0),
        Bar(("mae recomputing", "bf16"), ("transformers", "bf16"), 0.0),
    ],
    TINY: [
        Bar(("mae", "fp32"), ("transformers", "fp32"), 1.03),
        Bar(("mae", "fp32"), ("timm", "fp32"), 1.03),
    ],
}


def main(rounds: int = ROUNDS) -> None:
    """Print a table for each shape, and each bar beside what was reached."""
    for shape, bars in BARS.items():
        keys = list(dict.fromkeys(key for bar in bars for key in (bar.ours, bar.theirs)))
        seconds, memory = _measure(shape, keys, rounds)
        print(f"\ntraining step, {shape.name}, batch {shape.batch}")
        for key in keys:
            speed = shape.batch / median(seconds[key])
            name = " ".join(key)
            print(f"  {name:<24}{speed:9.2f} images/s {memory[key] / 1e9:7.2f} GB peak")
        for bar in bars:
            pairs = zip(seconds[bar.theirs], seconds[bar.ours], strict=True)
            ratio = median(theirs / ours for theirs, ours in pairs)
            room = memory[bar.ours] / memory[bar.theirs]
            names = f"{' '.join(bar.ours)} / {' '.join(bar.theirs)}"
            print(f"  {names:<44}{ratio:6.2f} x (bar {bar.least:.2f})  memory {room:.2f} x")


def _measure(
    shape: Shape, keys: list[Key], rounds: int
) -> tuple[dict[Key, list[float]], dict[Key, int]]:
    """Seconds of each contestant's steps, after two uncounted ones, and its peak memory."""
    context = get_context("spawn")
    lines: dict[Key, Connection] = {}
    for contestant, precision in keys:
        line, end = context.Pipe()
        arguments = (end, contestant, shape, precision)
        context.Process(target=serve, args=arguments, daemon=True).start()
        lines[contestant, precision] = line
    seconds: dict[Key, list[float]] = {key: [] for key in keys}
    memory: dict[Key, int] = {}
    for number in range(-2, rounds):
        for key, line in lines.items():
            line.send(True)
            taken, memory[key] = line.recv()
            if number >= 0:
                seconds[key].append(taken)
    for line in lines.values():
        line.send(False)
    return seconds, memory


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
