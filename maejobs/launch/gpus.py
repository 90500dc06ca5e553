"""The GPUs of this host as NVML, NVIDIA's management library, tells of them."""

from dataclasses import dataclass
from typing import Any

import humanize

from maejobs.errors import MaejobsError


class NoGpus(MaejobsError):
    """NVML cannot be asked: no driver, or one that does not answer."""


@dataclass(frozen=True)
class Gpu:
    """One GPU: its number in PCI order, free memory in bytes, and the processes computing on it."""

    index: int
    free: int
    processes: tuple[int, ...]


def read_gpus() -> list[Gpu]:
    """All GPUs, by number. Raises NoGpus."""
    import pynvml

    try:
        pynvml.nvmlInit()
        try:
            return [_read(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise NoGpus(f"no GPU can be seen: {error}") from error


def _read(pynvml: Any, index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    processes = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    free = pynvml.nvmlDeviceGetMemoryInfo(handle).free
    return Gpu(index, free, tuple(process.pid for process in processes))


def why_busy(gpu: Gpu, free: int | None) -> str | None:
    """Why a job that asks for `free` bytes of memory cannot have the GPU; None: it can."""
    if gpu.processes:
        pids = ", ".join(map(str, gpu.processes))
        return f"GPU {gpu.index} computes for pid {pids}"
    if free is not None and gpu.free < free:
        sizes = f"{humanize.naturalsize(gpu.free)} of {humanize.naturalsize(free)}"
        return f"GPU {gpu.index} has {sizes} free"
    return None


def cuda_variables(gpus: list[int]) -> dict[str, str]:
    """What shows a command these GPUs and no other, numbered as NVML does."""
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus)),
    }
