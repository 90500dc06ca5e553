"""Which samples a step learns from: the way through the epochs, for one batch size or several."""

from dataclasses import dataclass
from typing import NamedTuple

from mae.data.sources import Images
from mae.errors import BadInput


class Since(NamedTuple):
    """Where a batch size came to be: steps done, and where in the samples' order they led."""

    step: int = 0
    epoch: int = 0
    offset: int = 0  # samples of the epoch's order that have been seen
    seen: int = 0  # samples of all epochs


BEGINNING = Since()


@dataclass(frozen=True)
class Course:
    """A pure function of the step: nothing has to be remembered but where the batch size began.

    An epoch is whole batches; what is left over waits for another epoch's order. With another batch
    size the epoch goes on where it was.
    """

    images: int
    batch_size: int
    since: Since = BEGINNING

    @property
    def per_epoch(self) -> int:
        """Steps of a whole epoch."""
        return self.images // self.batch_size

    @property
    def _rest(self) -> int:
        """Steps until the epoch ends in which the batch size began."""
        return (self.images - self.since.offset) // self.batch_size

    def place(self, step: int) -> tuple[int, int]:
        """The epoch of `step` (from 0), and how much of its order has been seen before."""
        done = step - self.since.step
        if done < self._rest:
            return self.since.epoch, self.since.offset + done * self.batch_size
        epochs, within = divmod(done - self._rest, self.per_epoch)
        return self.since.epoch + 1 + epochs, within * self.batch_size

    def epochs(self, step: int) -> float:
        """Epochs done before `step`."""
        epoch, offset = self.place(step)
        return epoch + offset / (self.per_epoch * self.batch_size)

    def seen(self, step: int) -> int:
        """Samples learnt from before `step`, each as often as it was."""
        return self.since.seen + (step - self.since.step) * self.batch_size

    def steps(self, epochs: float) -> int:
        """How many steps have been done once that many epochs are."""
        whole, part = int(epochs), epochs % 1
        if whole > self.since.epoch:
            between = (whole - self.since.epoch - 1) * self.per_epoch
            left = self._rest + between + round(part * self.per_epoch)
        else:
            left = round((epochs - self.epochs(self.since.step)) * self.per_epoch)
        return self.since.step + max(0, left)

    def changed(self, step: int, batch_size: int) -> "Course":
        """The same way, in batches of another size from `step` on."""
        if batch_size == self.batch_size:
            return self
        since = Since(step, *self.place(step), self.seen(step))
        return Course(self.images, batch_size, since)


def course_of(images: Images, batch_size: int) -> Course:
    """The way from the first step. Raises BadInput if there is not one whole batch."""
    if len(images) < batch_size:
        raise BadInput(
            f"recipe.batch_size {batch_size} is larger than the {len(images)} training images; "
            "lower it"
        )
    return Course(len(images), batch_size)
