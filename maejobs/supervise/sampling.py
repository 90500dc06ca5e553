"""Samples of what a run takes of its host, while it runs, and their totals on its record.

Done by a thread: a driver or a network disk that does not answer keeps nobody from seeing to the
deadline. Whatever goes wrong costs samples and nothing else.
"""

import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from maejobs.files import FILE_MODE
from maejobs.launch.gpu_meter import GpuLoad, GpuMeter
from maejobs.launch.tree import Tree
from maejobs.launch.usage import Usage
from maejobs.rundb.run import Run
from maejobs.rundb.samples import SAMPLE, SAMPLES_NAME

FIRST_SECONDS = 0.5
USUAL_SECONDS = 15.0
FULL_LENGTH = 2000  # samples after which they become rarer, so that their file stays small
CLOSING_SECONDS = 1.0  # for the last look; a driver that hangs is not waited for
_log = logging.getLogger(__name__)


class Look(NamedTuple):
    """The state of things `at` so many seconds of a clock that never jumps."""

    at: float
    usage: Usage
    gpus: GpuLoad = GpuLoad()
    disk_free: int | None = None


@dataclass
class Totals:
    """What looks come to. None: nobody told; of `gpu_busy`, seconds times utilisation."""

    peak_memory: int = 0
    peak_gpu_memory: int | None = None
    energy: float | None = None
    gpu_busy: float = 0.0
    gpu_watched: float = 0.0  # seconds for which a utilisation was told

    def add(self, before: Look, now: Look) -> None:
        """Count what has been between two looks."""
        seconds = now.at - before.at
        self.peak_memory = max(self.peak_memory, now.usage.memory)
        if now.gpus.memory is not None:
            self.peak_gpu_memory = max(self.peak_gpu_memory or 0, now.gpus.memory)
        if now.gpus.utilisation is not None:
            self.gpu_busy += now.gpus.utilisation * seconds
            self.gpu_watched += seconds
        if (joules := energy_between(before, now)) is not None:
            self.energy = (self.energy or 0.0) + joules

    @property
    def gpu_utilisation(self) -> float | None:
        return self.gpu_busy / self.gpu_watched if self.gpu_watched else None


def pause_after(elapsed: float) -> float:
    """How long to wait for the next sample, so many seconds into the run. Pure.

    Often in the beginning, since many runs are short; rarer and rarer from 2000 usual ones on, so
    that not even a month of them is much.
    """
    return max(FIRST_SECONDS, min(elapsed, USUAL_SECONDS), elapsed / FULL_LENGTH)


def energy_between(before: Look, now: Look) -> float | None:
    """Joules by the GPUs' counters, else by their power; None where they tell neither. Pure."""
    first, last = before.gpus, now.gpus
    if first.energy is not None and last.energy is not None and last.energy >= first.energy:
        return last.energy - first.energy
    if last.power is None:
        return None
    power = last.power if first.power is None else (first.power + last.power) / 2
    return power * (now.at - before.at)


def sample_of(before: Look, now: Look) -> dict[str, float | None]:
    """The sample that stands for the time between two looks. Pure.

    What an orphan had used is gone with it where no cgroup counts; nothing is ever negative.
    """
    seconds = now.at - before.at
    then, usage = before.usage, now.usage
    return {
        "seconds": round(seconds, 3),
        "cpu": round(max(usage.cpu_seconds - then.cpu_seconds, 0.0) / seconds, 4),
        "memory": usage.memory,
        "bytes_read": max(usage.bytes_read - then.bytes_read, 0),
        "bytes_written": max(usage.bytes_written - then.bytes_written, 0),
        "disk_free": now.disk_free,
        "gpu_utilisation": now.gpus.utilisation,
        "gpu_memory": now.gpus.memory,
        "gpu_power": now.gpus.power,
        "gpu_temperature": now.gpus.temperature,
    }


@contextmanager
def sampled(run: Run, tree: Tree, disk: Path, gpus: Sequence[int]) -> Iterator[None]:
    """Sample the command's `tree` and GPUs inside; afterwards the totals are on `run`.

    `disk` is a place on the disk whose room matters, `gpus` are NVML's numbers. GPU seconds are
    those for which each GPU was held, whatever it did.
    """
    sampler = _Sampler(tree, Path(run.directory) / SAMPLES_NAME, disk, gpus)
    began = time.monotonic()
    sampler.start()
    try:
        yield
    finally:
        totals = sampler.stop()
        if gpus:
            run.gpu_seconds = len(gpus) * (time.monotonic() - began)
        run.energy, run.gpu_utilisation = totals.energy, totals.gpu_utilisation
        run.peak_gpu_memory = totals.peak_gpu_memory
        run.peak_tree_memory = totals.peak_memory or None


class _Sampler:
    """The thread, from `start` to `stop`."""

    def __init__(self, tree: Tree, file: Path, disk: Path, gpus: Sequence[int]) -> None:
        self._tree = tree
        self._file = file
        self._disk = disk
        self._gpus = gpus
        self._meter: GpuMeter | None = None
        self._ending = threading.Event()
        self._totals = Totals()
        self._thread = threading.Thread(target=self._run, name="samples", daemon=True)

    def start(self) -> None:
        try:
            self._thread.start()
        except RuntimeError as error:  # a limit of threads
            _log.debug("no samples: %s", error)

    def stop(self) -> Totals:
        """What it all came to, as far as it is known by now."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(CLOSING_SECONDS)
        return self._totals

    def _run(self) -> None:
        began = time.monotonic()
        before = Look(began, Usage(0.0, 0, 0, 0))
        try:
            self._meter = GpuMeter(self._gpus) if self._gpus else None
            before = before._replace(gpus=self._load())
        except Exception as error:
            _log.debug("no samples of GPUs: %s", error)
        while not self._ending.wait(pause_after(time.monotonic() - began)):
            try:
                now = Look(time.monotonic(), self._tree.usage(), self._load(), _free(self._disk))
                self._totals.add(before, now)
                self._write(sample_of(before, now))
                before = now
            except Exception as error:  # no more files to be had, say: that may pass
                _log.debug("a sample is lost: %s", error)
        try:
            if self._meter:
                self._totals.add(before, Look(time.monotonic(), before.usage, self._load()))
                self._meter.close()
        except Exception as error:
            _log.debug("no last look at the GPUs: %s", error)

    def _load(self) -> GpuLoad:
        return self._meter.read() if self._meter else GpuLoad()

    def _write(self, sample: dict[str, float | None]) -> None:
        known = {name: value for name, value in sample.items() if value is not None}
        line = json.dumps({"event": SAMPLE, "time": round(time.time(), 3)} | known) + "\n"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self._file, flags | os.O_NONBLOCK, FILE_MODE)
            try:
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)
        except OSError as error:  # a full disk, say: it may have room again
            _log.debug("a sample is lost: %s", error)


def _free(disk: Path) -> int | None:
    try:
        return shutil.disk_usage(disk).free
    except OSError:
        return None
