"""The gate of jobs that ask for GPUs: free ones by NVML, and a lock on each, all or none."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial

from maejobs.errors import NotNow
from maejobs.home import Home
from maejobs.jobs.model import GpuNeed
from maejobs.launch.gpus import Gpu, NoGpus, read_gpus, why_busy
from maejobs.supervise.line import Line
from maejobs.supervise.locks import Lock, acquire, holder_of, named_lock_file

POLL_SECONDS = 1.0
LINE_NAME = "gpus.line"  # in the directory of the locks
TURN_NAME, TURN_SECONDS = "gpus-turn.lock", 10.0


def take_gpus(
    home: Home,
    need: GpuNeed,
    run_id: str,
    patience: float,
    give_up: Callable[[], bool],
    read: Callable[[], list[Gpu]] | None = None,
) -> tuple[ExitStack, list[Lock], list[Gpu]]:
    """As many GPUs as `need` asks for, and the locks on them.

    The lock of GPU 0 is the named lock `gpu0`, so that jobs which name it take turns with those
    that ask for any. Waits up to `patience` seconds, in line: only who is first may take any, so
    that one who needs several is not passed by others for ever. Raises NotNow (`gpu_busy`,
    `no_gpu`).
    """
    latest = time.monotonic() + patience
    read = read or partial(read_gpus, give_up)
    with Line(home.locks_dir / LINE_NAME, run_id) as line:
        while True:
            gpus = _enough(read, need.count)
            if first := line.ahead():
                why = [f"{first} waits for GPUs already"]
            else:
                with _turn(home, run_id, give_up):
                    stack, locks, taken, why = _try(home, need, run_id, gpus)
                if len(taken) == need.count:
                    return stack, locks, taken
                stack.close()
            left = latest - time.monotonic()
            if left <= 0 or give_up():
                raise NotNow("gpu_busy", "; ".join(why))
            line.join()
            time.sleep(min(POLL_SECONDS, left))


def _enough(read: Callable[[], list[Gpu]], count: int) -> list[Gpu]:
    """The host's GPUs, if it has `count` that can be used. Raises NotNow."""
    try:
        gpus = read()
    except NoGpus as error:
        raise NotNow("no_gpu", str(error)) from error
    sick = [why for gpu in gpus if gpu.trouble and (why := why_busy(gpu, None))]
    if len(gpus) - len(sick) < count:
        has = f"the host has {len(gpus)} GPUs, the job asks for {count}"
        raise NotNow("no_gpu", "; ".join([has, *sick]))
    return gpus


def _turn(
    home: Home, run_id: str, give_up: Callable[[], bool]
) -> AbstractContextManager[Lock | None]:
    """One looks at a time: two who want two might each take one, and both go without.

    Somebody who is held amid it (a stopped process) is not waited for.
    """
    path = home.locks_dir / TURN_NAME
    return acquire(path, run_id, TURN_SECONDS, give_up) or nullcontext()


def _try(
    home: Home, need: GpuNeed, run_id: str, gpus: list[Gpu]
) -> tuple[ExitStack, list[Lock], list[Gpu], list[str]]:
    """What can be had now, and why the others cannot."""
    stack = ExitStack()
    locks: list[Lock] = []
    taken: list[Gpu] = []
    why: list[str] = []
    for gpu in gpus:
        if len(taken) == need.count:
            break
        if busy := why_busy(gpu, need.free):
            why.append(busy)
            continue
        path = named_lock_file(home, f"gpu{gpu.index}")
        try:
            lock = acquire(path, run_id)
        except BaseException:
            stack.close()
            raise
        if lock is None:
            why.append(f"GPU {gpu.index} is taken by {holder_of(path)}")
            continue
        locks.append(stack.enter_context(lock))
        taken.append(gpu)
    return stack, locks, taken, why
