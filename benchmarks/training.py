"""A training step of ours beside transformers' and a plain formulation on timm's blocks.

`python -m benchmarks.training [ROUNDS]`: the two of a bar are processes of their own and take their
steps in turn, so that a machine whose speed drifts is fair to each. Ratios are medians of the
ratios within a round; memory is each process's peak. Bars in bfloat16 are for CPUs that multiply
it.
"""

import sys
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median

from benchmarks.bars import bar, verdict
from benchmarks.contestants import BASE, LARGE_BATCH, TINY, Shape, serve
from mae.train.device import BF16_FEATURES, cpu_features

ROUNDS, WARM_UP = 5, 2
Key = tuple[str, str]  # contestant, precision


@dataclass(frozen=True)
class Bar:
    """Ours must be `least` times as fast as theirs, with at most `most` times the memory."""

    ours: Key
    theirs: Key
    least: float
    most: float = 1.05


BARS = {
    BASE: [
        Bar(("mae", "fp32"), ("transformers", "fp32"), 1.03),
        Bar(("mae", "fp32"), ("timm", "fp32"), 1.03),
        Bar(("mae", "bf16"), ("transformers", "bf16"), 1.2),
        Bar(("mae", "bf16"), ("timm", "bf16"), 1.2),
        Bar(("mae compiled", "bf16"), ("transformers", "bf16"), 1.3),
        Bar(("mae", "bf16"), ("transformers", "fp32"), 3.0),
    ],
    # Where activations are most of the memory: weights and moments are not recomputed.
    LARGE_BATCH: [Bar(("mae recomputing", "bf16"), ("transformers", "bf16"), 0.0, most=0.5)],
    TINY: [
        Bar(("mae", "fp32"), ("transformers", "fp32"), 1.03),
        Bar(("mae", "fp32"), ("timm", "fp32"), 1.03),
    ],
}


def main(rounds: int = ROUNDS) -> None:
    """Print each bar beside what was reached, a pair of processes at a time."""
    able = bool(cpu_features() & BF16_FEATURES)
    for shape, bars in BARS.items():
        print(f"\ntraining step, {shape.name}, batch {shape.batch}")
        for one in bars:
            if one.ours[1] == "bf16" and not able:
                names = f"{' '.join(one.ours)} / {' '.join(one.theirs)}"
                print(f"  {names:<42} not measured: this CPU does not multiply bfloat16")
                continue
            ours, theirs = _measure(shape, (one.ours, one.theirs), rounds)
            ratio = median(t / o for o, t in zip(ours.seconds, theirs.seconds, strict=True))
            for key, told in ((one.ours, ours), (one.theirs, theirs)):
                speed = shape.batch / median(told.seconds)
                print(f"  {' '.join(key):<22}{speed:9.2f} images/s {told.peak / 1e9:6.2f} GB")
            names = f"{' '.join(one.ours)} / {' '.join(one.theirs)}"
            room = ours.peak / theirs.peak
            print(
                f"  {names:<42}{ratio:6.2f} x {bar(names, ratio, least=one.least)}, memory "
                f"{room:.2f} x {bar(f'{names}, memory', room, most=one.most)}"
            )


@dataclass
class Told:
    """What one contestant took: seconds of each counted step, and its peak memory in bytes."""

    seconds: list[float]
    peak: int = 0


def _measure(shape: Shape, keys: tuple[Key, Key], rounds: int) -> list[Told]:
    """Both contestants' steps in turn, after `WARM_UP` uncounted ones."""
    context = get_context("spawn")
    lines: list[Connection] = []
    for contestant, precision in keys:
        line, end = context.Pipe()
        arguments = (end, contestant, shape, precision)
        context.Process(target=serve, args=arguments, daemon=True).start()
        lines.append(line)
    told = [Told([]) for _ in keys]
    for number in range(-WARM_UP, rounds):
        for line, one in zip(lines, told, strict=True):
            line.send(True)
            seconds, one.peak = line.recv()
            if number >= 0:
                one.seconds.append(seconds)
    for line in lines:
        line.send(False)
    return told


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
    sys.exit(verdict())
