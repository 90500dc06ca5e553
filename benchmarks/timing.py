"""Times whole commands in turn, so that a machine whose speed drifts is fair to each."""

import subprocess
import time
from collections.abc import Sequence


def alternate(commands: Sequence[Sequence[str]], rounds: int) -> list[list[float]]:
    """Seconds of wall time of each command in each round, after one uncounted warm-up round."""
    seconds: list[list[float]] = [[] for _ in commands]
    for number in range(rounds + 1):
        for times, command in zip(seconds, commands, strict=True):
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if number:
                times.append(time.perf_counter() - start)
    return seconds
