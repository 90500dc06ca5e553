"""The steps between two lines of the loss history: their losses, and how fast they were."""

import time
from dataclasses import dataclass, field
from statistics import fmean

from torch import Tensor

from mae.train.ranks import Ranks


@dataclass
class Window:
    """Losses since the history's last line, summed on the device so that no step waits for it."""

    total: Tensor
    first: int = 0  # the first of its steps
    steps: int = 0
    waited: float = 0.0  # seconds of the host's time, for batches: no device is asked
    begun: float = field(default_factory=time.monotonic)

    def add(self, loss: Tensor) -> None:
        self.total += loss
        self.steps += 1

    def close(self, batch_size: int, ranks: Ranks) -> tuple[float, float, float]:
        """Mean loss, images per second and the share of time waited for data; start anew.

        The loss is of all processes, which take part in it; the times are this one's.
        """
        loss = fmean(ranks.gathered(self.total.item() / self.steps))
        seconds = time.monotonic() - self.begun
        speed, data_wait = self.steps * batch_size / seconds, self.waited / seconds
        self.total.zero_()
        self.steps, self.waited, self.begun = 0, 0.0, time.monotonic()
        return loss, speed, data_wait
