"""What a job is: the keys of a `jobs.d/NAME.toml`, their types, defaults and limits."""

import re
from datetime import time, timedelta
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from maejobs.jobs.failures import TRIED_AGAIN, check_retried
from maejobs.jobs.ping_url import check_ping_url
from maejobs.jobs.placeholders import check_placeholders
from maejobs.jobs.units import parse_duration, parse_size, parse_time_of_day

JOB_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
GPU_LOCK = re.compile(r"gpu[0-9]+", re.ASCII)  # the named lock of one GPU
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OURS = "MAEJOBS_"
SHORTEST_STALL = timedelta(seconds=1)
SMALLEST_LOG = 1_000_000  # bytes


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("a NUL character cannot be passed to a program")
    return text


def _lock_name(text: str) -> str:
    if not JOB_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a lock name; use lower-case letters, digits, - and _")
    return text


def check_variable(text: str) -> str:
    """`text` itself, if a job may set a variable of this name. Raises ValueError."""
    if not VARIABLE.fullmatch(text):
        raise ValueError(f"{text!r} is not the name of an environment variable")
    if text.startswith(_OURS):
        raise ValueError(f"{text} is set by maejobs itself; choose a name without {_OURS}")
    return text


def _some_time(duration: timedelta) -> timedelta:
    if duration < SHORTEST_STALL:
        raise ValueError("must be at least a second; leave it out for no such limit")
    return duration


def _a_minute(duration: timedelta) -> timedelta:
    if duration < timedelta(minutes=1):
        raise ValueError("must be at least 1m: cron starts a run at some time within its minute")
    return duration


def _not_zero(duration: timedelta) -> timedelta:
    if not duration:  # no slot could be in time
        raise ValueError("must be more than 0s, or be left out")
    return duration


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Size = Annotated[int, BeforeValidator(parse_size)]
TimeOfDay = Annotated[time, BeforeValidator(parse_time_of_day)]
Text = Annotated[str, AfterValidator(_no_nul)]
Argument = Annotated[str, AfterValidator(_no_nul), AfterValidator(check_placeholders)]
LockName = Annotated[str, AfterValidator(_lock_name)]
Variable = Annotated[str, AfterValidator(check_variable)]
Retried = Annotated[str, AfterValidator(check_retried)]
PingUrl = Annotated[str, AfterValidator(_no_nul), AfterValidator(check_ping_url)]
AlertedState = Literal["failed", "timed_out", "lost", "missed", "skipped"]

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)


class DiskRoom(BaseModel):
    """Start only where `path` has `free` bytes left, and room for so many more `checkpoints`."""

    model_config = _STRICT
    path: Argument
    free: Size | None = None
    checkpoints: Annotated[int, Field(ge=1, le=1000)] | None = None

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if self.free is None and self.checkpoints is None:
            raise ValueError("say how much room is needed, as free, checkpoints or both")
        return self


class GpuNeed(BaseModel):
    """Start only on so many GPUs that nobody computes on, each with `free` bytes of memory."""

    model_config = _STRICT
    count: Annotated[int, Field(ge=1, le=64)] = 1
    free: Size | None = None
    wait: Duration = timedelta(0)


class HostNeed(BaseModel):
    """Start only while the host's `load` a core is no more, and its battery as full as this."""

    model_config = _STRICT
    load: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] | None = None
    battery: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    wait: Duration = timedelta(0)

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if self.load is None and self.battery is None:
            raise ValueError("say what to look at: load, battery or both")
        return self


class Notify(BaseModel):
    """When somebody is told of the job's runs, and which dead man's switch hears of them.

    A bad end is a slot that came to one of the states in `on`. `ping` is a secret: who knows it can
    say that all is well.
    """

    model_config = _STRICT
    alert_after: Annotated[int, Field(ge=1, le=100)] = 1
    on: list[AlertedState] = ["failed", "timed_out", "lost", "missed"]
    ping: PingUrl | None = None
    log_lines: Annotated[int, Field(ge=0, le=1000)] = 20


class Job(BaseModel):
    """One job as its file describes it. `command`, `env` and paths may hold placeholders."""

    model_config = _STRICT

    name: str
    command: Annotated[list[Argument], Field(min_length=1)]
    summary: Text = ""
    schedule: Text | None = None
    until: TimeOfDay | None = None
    timeout: Annotated[Duration, AfterValidator(_not_zero)] | None = None
    grace: Duration = timedelta(seconds=30)
    stall_after: Annotated[Duration, AfterValidator(_some_time)] | None = None
    overlap: Literal["skip", "wait", "replace"] = "skip"
    wait: Duration = timedelta(hours=1)
    locks: list[LockName] = []
    gpu: GpuNeed | None = None
    disk: DiskRoom | None = None
    host: HostNeed | None = None
    retries: Annotated[int, Field(ge=0, le=20)] = 0
    infrastructure_retries: Annotated[int, Field(ge=0, le=20)] = 2
    retry: list[Retried] = list(TRIED_AGAIN)
    retry_delay: Duration = timedelta(minutes=1)
    late_after: Annotated[Duration, AfterValidator(_a_minute)] = timedelta(minutes=10)
    catch_up: Literal["none", "latest"] = "none"
    catch_up_within: Annotated[Duration, AfterValidator(_not_zero)] = timedelta(hours=12)
    env: dict[Variable, Argument] = {}
    env_file: Argument | None = None
    nice: Annotated[int, Field(ge=0, le=19)] = 0
    log_limit: Annotated[Size, Field(ge=SMALLEST_LOG)] = 64_000_000
    notify: Notify = Notify()

    @field_validator("gpu")
    @classmethod
    def _not_in_its_own_way(cls, gpu: GpuNeed | None, info: ValidationInfo) -> GpuNeed | None:
        named = [name for name in info.data.get("locks", []) if GPU_LOCK.fullmatch(name)]
        if gpu and named:
            raise ValueError(
                f"drop {', '.join(named)} from `locks`: the job would wait for itself, since "
                "each GPU that it is given is locked so"
            )
        return gpu
