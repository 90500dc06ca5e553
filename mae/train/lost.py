"""How a run of several processes ends when something goes wrong in one: all of them, in one line.

A process that fails says why in the store that the processes met at, and leaves; one that is killed
says nothing, but its id is there. The others find out when what they have begun together breaks
off. The first process prints the line; if it is dead, the next one that is alive does.
"""

import os
import platform
import sys
import time
import traceback
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psutil

from mae.errors import TrainingFailed, told

if TYPE_CHECKING:
    from mae.train.ranks import Ranks

# How long to look for another's failure, which is what most likely breaks off what was begun
# together: dying takes the kernel a while where there is much memory.
LOOK_SECONDS = 5.0


@dataclass(frozen=True)
class Others:
    """The processes of this run, as this one sees them, and the store that they share."""

    ranks: "Ranks"
    store: Any

    def dead(self) -> list[int]:
        """Which of them are no more, of those on this host."""
        return [rank for rank in range(self.ranks.world) if self._is_dead(rank)]

    def _is_dead(self, rank: int) -> bool:
        if not self.store.check([f"process-{rank}"]):
            return False
        host, _, pid = self.store.get(f"process-{rank}").decode().rpartition(" ")
        if host != platform.node():
            return False
        try:
            return psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True


def meet(ranks: "Ranks", patience: timedelta) -> Others:
    """Find the others, where the environment says. Raises TrainingFailed if there is nobody."""
    import torch.distributed as dist

    try:
        store, _, _ = next(dist.rendezvous("env://", timeout=patience))
        store = dist.PrefixStore("mae", store)
        store.set(f"process-{ranks.rank}", f"{platform.node()} {os.getpid()}")
    except (RuntimeError, ValueError) as error:
        raise TrainingFailed(f"the processes do not find each other: {_one_line(error)}") from None
    return Others(ranks, store)


def end_of_all(others: Others, error: Exception, debug: bool) -> int:
    """Tell the others why, and the user if that falls to this process; the exit code."""
    if debug:
        traceback.print_exception(error)
    try:
        line, code = _cause(others, error)
        if _speaks(others):
            print(f"mae: {line}", file=sys.stderr, flush=True)
        return code
    except RuntimeError:  # the store is gone, and whoever started us with it
        print("mae: what started the processes is gone", file=sys.stderr, flush=True)
        return 1


def _cause(others: Others, error: Exception) -> tuple[str, int]:
    """The line and the exit code that this run ends with, the same in every process."""
    rank, world = others.ranks.rank, others.ranks.world
    known = told(error)
    if known and others.ranks.first:  # all may have found the same: then without a number
        others.store.set("cause", f"{known[1]} {known[0]}")
        return known
    if known is None and isinstance(error, RuntimeError):
        # What breaks off because another process failed is a RuntimeError, as much else is.
        give_up = time.monotonic() + LOOK_SECONDS
        while time.monotonic() < give_up and not others.store.check(["cause"]):
            if dead := others.dead():
                names = " and ".join(map(str, dead))
                line = f"rank {names} of {world} died; start again to go on"
                known = f"{line} from the last checkpoint", 1
                break
            time.sleep(0.05)
    if known is None:
        known = f"{type(error).__name__}: {_one_line(error)}; `mae --debug` shows where", 1
    line, code = known
    if told(error):
        line = f"rank {rank} of {world}: {line}"
    cause = others.store.compare_set("cause", "", f"{code} {line}").decode()
    code, _, line = cause.partition(" ")
    return line, int(code)


def _speaks(others: Others) -> bool:
    before = set(range(others.ranks.rank))
    if not before <= set(others.dead()):
        return False
    mine = str(others.ranks.rank)
    return bool(others.store.compare_set("speaker", "", mine).decode() == mine)


def _one_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
