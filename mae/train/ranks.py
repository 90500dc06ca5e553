"""The processes of one run: which of them this is, and what they decide together.

torchrun, and `mae pretrain --processes`, start each with RANK, LOCAL_RANK and WORLD_SIZE in its
environment. Without them there is one process, and nothing of torch.distributed is touched.

The first process alone writes and speaks. What it reads or finds out is told to the others
(`decided`); a stop, which any of them may see first, is agreed on while a step is computed
(`begin_agreeing`), so that no step waits for it. All of that goes between hosts over gloo, and no
GPU is asked. How a run ends that loses a process is in mae.train.lost.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from mae.errors import BadInput
from mae.loading import loading

T = TypeVar("T")
Agreed = Callable[[], tuple[str | None, bool]]

# A process that says nothing for so long is taken for dead; one that is dead is seen at once. The
# first one may list a large folder, or check a large checkpoint, while the others wait for it.
PATIENCE = timedelta(minutes=20)
REASONS = (None, "deadline", "SIGINT", "SIGTERM")  # to stop for; the last of several counts


@dataclass(frozen=True)
class Ranks:
    """One process of `world`, and number `local` on its host; from 0."""

    rank: int = 0
    world: int = 1
    local: int = 0
    words: Any = None  # the group that decisions are told in

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """This process's part of each batch. Raises BadInput if the parts would not be equal."""
        size, left = divmod(batch_size, self.world)
        if left:
            raise BadInput(
                f"recipe.batch_size {batch_size} cannot be shared equally by {self.world} "
                "processes; start a number of them that divides it, or change it"
            )
        return slice(self.rank * size, (self.rank + 1) * size)

    def decided(self, decide: Callable[[], T]) -> T:
        """What the first process makes of it, in all of them. What it raises ends them all."""
        if self.world == 1:
            return decide()
        import torch.distributed as dist

        told = [decide() if self.first else None]
        dist.broadcast_object_list(told, src=0, group=self.words)
        return told[0]

    def gathered(self, value: T) -> list[T]:
        """The value that each process gives, by rank, in all of them."""
        if self.world == 1:
            return [value]
        import torch.distributed as dist

        told: list[T | None] = [None] * self.world
        dist.all_gather_object(told, value, group=self.words)
        return told

    def begin_agreeing(self, stop: Callable[[], str | None], due: Callable[[], bool]) -> Agreed:
        """Why to stop, if any has a reason, and whether a checkpoint is due for the first.

        What is returned is called when a step has been computed. One process looks only then;
        several tell each other before the step, and so stop a step later at most.
        """
        if self.world == 1:
            return lambda: (stop(), due())
        import torch
        import torch.distributed as dist

        told = torch.tensor([REASONS.index(stop()), int(due())])
        work = dist.all_reduce(told, dist.ReduceOp.MAX, group=self.words, async_op=True)

        def agreed() -> tuple[str | None, bool]:
            work.wait()
            reason, checkpoint = told.tolist()
            return REASONS[reason], bool(checkpoint)

        return agreed


ALONE = Ranks()


def ranks_here() -> Ranks:
    """Which process this is, by its environment. Raises BadInput if that makes no sense."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    told = [os.environ.get(name) for name in names]
    if told[1] in (None, "1"):
        return ALONE
    if not all(word is not None and word.isdecimal() for word in told):
        raise BadInput(f"{', '.join(names)}: {told} are not what torchrun sets; unset them")
    rank, world, local = (int(word or 0) for word in told)
    return Ranks(rank, world, local)


@contextmanager
def joined(ranks: Ranks, debug: bool = False) -> Iterator[Ranks]:
    """The processes in touch with each other, for the length of a block.

    Several processes end with it: none may wait, while it leaves, for one that has left already.
    What goes wrong in any of them ends all, with one line.
    """
    if ranks.world == 1:
        yield ranks
        return
    with loading():
        import torch
        import torch.distributed as dist

        from mae.train.lost import end_of_all, meet

    others = meet(ranks, PATIENCE)
    try:
        cuda = torch.cuda.is_available()
        if cuda:
            _take_device(ranks)
        dist.init_process_group(
            "nccl" if cuda else "gloo",
            store=others.store,
            rank=ranks.rank,
            world_size=ranks.world,
            timeout=PATIENCE,
        )
        words = dist.new_group(backend="gloo", timeout=PATIENCE)
        yield Ranks(ranks.rank, ranks.world, ranks.local, words)
    except Exception as error:
        code = end_of_all(others, error, debug)
    else:
        code = 0
    sys.stdout.flush()
    sys.stderr.flush()
    # Not by way of the interpreter: a group that lost a process may hang or abort in there, and
    # gloo's threads now and then do so ("terminate called") where nothing is wrong.
    os._exit(code)


def _take_device(ranks: Ranks) -> None:
    import torch

    if ranks.local >= torch.cuda.device_count():
        raise BadInput(
            f"process {ranks.local} of this host finds {torch.cuda.device_count()} GPUs (numbered "
            "from 0); start one process a GPU"
        )
    torch.cuda.set_device(ranks.local)
