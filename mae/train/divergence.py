"""A training that goes wrong: how it is seen, and which steps are left out the next time.

The loss is looked at when the history gets its line, so that no step waits for the device. The
campaign goes back to its last checkpoint, and the batches of the window that went wrong are passed
over: `skipped.json` in the campaign has them, with the evidence.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from mae.data.course import Course
from mae.errors import BadInput, TrainingFailed
from mae.files import write_atomically

ENOUGH, MOST = 8, 32  # windows that a new one is compared with
DEVIATIONS = 10.0  # median absolute deviations, scaled to standard ones
LEAST_RISE = 0.3  # of the median: below that nobody would call it a spike
MAD_TO_DEVIATION = 1.4826


@dataclass(frozen=True)
class Divergence:
    """Steps `first` to `last - 1` brought a loss (a window's mean) that is wrong, and why it is."""

    first: int
    last: int
    loss: float
    why: str
    begin: tuple[int, int]  # epoch, and place in its order, of the first sample
    end: tuple[int, int]  # and behind the last one

    @classmethod
    def of(cls, course: Course, first: int, last: int, loss: float, why: str) -> "Divergence":
        """Those steps, and the samples that they learnt from."""
        epoch, offset = course.place(last - 1)
        end = (epoch, offset + course.batch_size)
        return cls(first, last, loss, why, course.place(first), end)

    def __str__(self) -> str:
        return f"steps {self.first} to {self.last - 1}: {self.why}"

    def meets(self, course: Course, step: int) -> bool:
        """Whether a step would learn from any of the samples, in whatever batches."""
        epoch, offset = course.place(step)
        return (epoch, offset) < self.end and self.begin < (epoch, offset + course.batch_size)


class Diverged(Exception):
    """The training went wrong, and has to go back."""

    def __init__(self, divergence: Divergence) -> None:
        self.divergence = divergence
        super().__init__(str(divergence))


def why_diverged(loss: float, before: Sequence[float], share: float = 1.0) -> str | None:
    """Why a window's mean loss is wrong after those before it, oldest first; None: it is not.

    It is if it is not finite, or above the median of the last `MOST` by ten deviations and by
    three tenths; the deviation is the robust one, from the median absolute one. The mean of a
    `share` of a window's steps deviates by more: by the root of its inverse.
    """
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    recent = before[-MOST:]
    if len(recent) < ENOUGH:
        return None
    middle = median(recent)
    deviation = MAD_TO_DEVIATION * median(abs(value - middle) for value in recent)
    deviation /= math.sqrt(min(1.0, share))
    if loss <= middle + max(DEVIATIONS * deviation, LEAST_RISE * abs(middle)):
        return None
    return f"the loss is {loss:.4g}, where it was {middle:.4g} (median of {len(recent)} windows)"


def read_skipped(path: Path) -> list[Divergence]:
    """The divergences noted at `path`, oldest first. Raises BadInput for another file."""
    try:
        return [_divergence(**row) for row in json.loads(path.read_text())]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError, TypeError) as error:
        raise BadInput(f"{path}: not the skipped steps of a campaign: {error}") from None


def note_skipped(
    path: Path, divergence: Divergence, instead_from: int | None = None
) -> list[Divergence]:
    """Add a divergence to those at `path`, or put it in place of those from a step on; all."""
    found = [one for one in read_skipped(path) if instead_from is None or one.first < instead_from]
    found.append(divergence)
    write_atomically(path, json.dumps([asdict(one) for one in found], indent=2).encode())
    return found


def failed(divergences: list[Divergence], path: Path) -> TrainingFailed:
    """What a night fails with that went wrong too often; `path` has the steps."""
    told = "; ".join(map(str, divergences))
    return TrainingFailed(
        f"the training went wrong {len(divergences)} times ({told}); {path} has the steps: lower "
        "recipe.base_lr or set recipe.clip_grad"
    )


def _divergence(
    first: int, last: int, loss: float, why: str, begin: list[int], end: list[int]
) -> Divergence:
    epochs, places = zip(begin, end, strict=True)
    numbers = (first, last, *epochs, *places)
    if not all(isinstance(number, int) for number in numbers):
        raise ValueError(f"{numbers} are not all whole numbers")
    return Divergence(
        first, last, float(loss), str(why), (epochs[0], places[0]), (epochs[1], places[1])
    )
