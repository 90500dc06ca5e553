"""The GPUs of this host as NVML, NVIDIA's management library, tells of them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import humanize

from maejobs.errors import MaejobsError

ANSWER_SECONDS = 60.0  # some eight GPUs that nobody keeps awake take a third of that
LOOK_SECONDS = 0.2


class NoGpus(MaejobsError):
    """NVML cannot be asked: no driver, or one that does not answer."""


@dataclass(frozen=True)
class Gpu:
    """One GPU: its number in PCI order, free memory in bytes, and the processes computing on it.

    `free` is None where it does not tell. `trouble` is why it cannot be asked at all: lost, or in
    parts (MIG) that this account may not look at. `uuid` is what CUDA is to know it by, if not by
    its number.
    """

    index: int
    free: int | None
    processes: tuple[int, ...]
    trouble: str | None = None
    uuid: str | None = None


def read_gpus(give_up: Callable[[], bool] = lambda: False) -> list[Gpu]:
    """All GPUs, by number, the sick ones with their trouble. Raises NoGpus: none can be asked.

    Asked by a thread, since a broken driver may never answer: it is not waited for beyond
    `ANSWER_SECONDS`, nor once `give_up` says so.
    """
    answers: SimpleQueue[list[Gpu] | Exception] = SimpleQueue()

    def ask() -> None:
        try:
            answers.put(_read_all())
        except Exception as error:  # whose it is to raise is the caller's thread
            answers.put(error)

    Thread(target=ask, name="gpus", daemon=True).start()
    latest = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            answer = answers.get(timeout=LOOK_SECONDS)
        except Empty:
            if give_up() or time.monotonic() >= latest:
                raise NoGpus("no GPU can be seen: their driver does not answer") from None
            continue
        if isinstance(answer, Exception):
            raise answer
        return answer


def _read_all() -> list[Gpu]:
    """Beside a sick one the others have their UUIDs: CUDA may leave it out, and count on."""
    import pynvml

    try:
        pynvml.nvmlInit()
        try:
            gpus = [_read(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise NoGpus(f"no GPU can be seen: {error}") from error
    if any(gpu.trouble for gpu in gpus):
        return gpus
    return [replace(gpu, uuid=None) for gpu in gpus]


def _read(pynvml: Any, index: int) -> Gpu:
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        processes = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
        uuid = pynvml.nvmlDeviceGetUUID(handle)
        try:
            free = pynvml.nvmlDeviceGetMemoryInfo(handle).free
        except pynvml.NVMLError_NotSupported:  # it computes in the host's own memory
            free = None
    except pynvml.NVMLError as error:
        return Gpu(index, None, (), str(error))
    return Gpu(index, free, tuple(process.pid for process in processes), uuid=uuid)


def why_busy(gpu: Gpu, free: int | None) -> str | None:
    """Why a job that asks for `free` bytes of memory cannot have the GPU; None: it can."""
    if gpu.trouble:
        return f"GPU {gpu.index} cannot be used: {gpu.trouble}"
    if gpu.processes:
        pids = ", ".join(map(str, gpu.processes))
        return f"GPU {gpu.index} computes for pid {pids}"
    if free is None:
        return None
    if gpu.free is None:
        return f"GPU {gpu.index} does not tell how much memory it has free"
    if gpu.free < free:
        sizes = f"{humanize.naturalsize(gpu.free)} of {humanize.naturalsize(free)}"
        return f"GPU {gpu.index} has {sizes} free"
    return None


def cuda_variables(gpus: Sequence[Gpu]) -> dict[str, str]:
    """What shows a command these GPUs and no other, numbered as NVML does."""
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": ",".join(gpu.uuid or str(gpu.index) for gpu in gpus),
    }
