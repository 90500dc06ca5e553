"""What GPUs are doing, by NVML: asked again and again while a run has them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from maejobs.launch.gpus import NoGpus


class GpuLoad(NamedTuple):
    """Of several GPUs at one moment; None: they do not tell.

    `utilisation` is the mean, from 0 to 1; `memory` (bytes), `power` (watts) and `energy` (joules
    since their driver was loaded) are sums; `temperature` (°C) is that of the hottest.
    """

    utilisation: float | None = None
    memory: int | None = None
    power: float | None = None
    temperature: float | None = None
    energy: float | None = None


class GpuMeter:
    """Asks the GPUs with these numbers. Raises NoGpus where NVML cannot be asked at all.

    NVML stays open until `close`: to open it may take a second, and wakes what sleeps.
    """

    def __init__(self, indices: Sequence[int]) -> None:
        import pynvml

        self._nvml: Any = pynvml
        try:
            pynvml.nvmlInit()
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in indices]
        except pynvml.NVMLError as error:
            raise NoGpus(f"GPUs {list(indices)} cannot be asked: {error}") from error

    def read(self) -> GpuLoad:
        """What they do now."""
        nvml = self._nvml
        used = self._all(lambda gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu)
        memory = self._all(lambda gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).used)
        milliwatts = self._all(nvml.nvmlDeviceGetPowerUsage)
        degrees = self._all(
            lambda gpu: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU)
        )
        millijoules = self._all(nvml.nvmlDeviceGetTotalEnergyConsumption)
        return GpuLoad(
            utilisation=sum(used) / len(used) / 100 if used else None,
            memory=sum(memory) if memory else None,
            power=sum(milliwatts) / 1000 if milliwatts else None,
            temperature=float(max(degrees)) if degrees else None,
            energy=sum(millijoules) / 1000 if millijoules else None,
        )

    def close(self) -> None:
        self._nvml.nvmlShutdown()

    def _all(self, ask: Callable[[Any], int]) -> list[int]:
        """What each answers; nothing where one of them does not tell, so that no sum is too low."""
        try:
            return [int(ask(handle)) for handle in self._handles]
        except self._nvml.NVMLError:
            return []
