"""A run as a record: its fields, its states, and which state may follow which."""

import json
import re
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, get_args, get_origin, get_type_hints

QUEUED, RUNNING = "queued", "running"
SUCCEEDED, FAILED, TIMED_OUT, CANCELLED = "succeeded", "failed", "timed_out", "cancelled"
LOST, SKIPPED, MISSED, UNKNOWN = "lost", "skipped", "missed", "unknown"
CATCH_UP = "catch-up"  # the trigger of a run that makes up for a missed slot

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}")  # of a run or a job; no path, no pattern

UNFINISHED = frozenset({QUEUED, RUNNING})
NEVER_CALLED = frozenset({MISSED, UNKNOWN})  # slots for which nobody started a run
FINISHED = frozenset({SUCCEEDED, FAILED, TIMED_OUT, CANCELLED, LOST, SKIPPED}) | NEVER_CALLED

# The states a run's row may have just before each. A run that was thought lost or missed may still
# finish, so that a late success beats a wrong verdict; and a row may lag behind by some states,
# because the database was away when the supervisor passed through them.
_OPEN = frozenset({QUEUED, RUNNING, LOST}) | NEVER_CALLED
PREDECESSORS: dict[str, frozenset[str]] = {
    QUEUED: NEVER_CALLED,
    RUNNING: _OPEN - {RUNNING},
    SUCCEEDED: _OPEN,
    FAILED: _OPEN,
    TIMED_OUT: _OPEN,
    CANCELLED: _OPEN,
    SKIPPED: _OPEN - {RUNNING},
    LOST: UNFINISHED,
}
WATCH_VERDICTS = NEVER_CALLED | {LOST}  # passed on a run that could not speak for itself

LOOK_BACK = timedelta(days=30)  # how far back reconcile looks for slots that have no run
CLOCKS_DIFFER = timedelta(minutes=10)  # what lies further ahead is of a clock that was wrong
LONGEST_RUN = timedelta(days=7)  # of those that it takes for signs of life

_INSTANTS = frozenset({"slot", "queued", "started", "finished", "deadline"})


@dataclass
class Run:
    """One attempt at one slot of one job. Times are aware UTC, memory is bytes."""

    id: str
    job: str
    trigger: str  # cron, manual, retry, catch-up
    attempt: int
    queued: datetime
    host: str
    directory: str
    state: str = QUEUED
    slot: datetime | None = None
    reason: str | None = None
    outcome: str | None = None
    retry_of: str | None = None
    boot_id: str | None = None
    supervisor_pid: int | None = None
    supervisor_started: float | None = None
    pid: int | None = None
    pid_started: float | None = None
    started: datetime | None = None
    finished: datetime | None = None
    deadline: datetime | None = None
    command: list[str] | None = None
    config_hash: str | None = None
    revision: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    peak_memory: int | None = None
    cpu_seconds: float | None = None
    gpu_seconds: float | None = None
    failure_class: str | None = None  # see maejobs.jobs.failures
    pace: str | None = None  # fast or slow, where that is surprising
    energy: float | None = None  # joules, of its GPUs
    gpu_utilisation: float | None = None  # 0 to 1, of its GPUs on average
    peak_gpu_memory: int | None = None  # of all its GPUs together
    peak_tree_memory: int | None = None  # of all its processes together
    bytes_read: int | None = None
    bytes_written: int | None = None

    @property
    def duration(self) -> float | None:
        """Seconds from start to finish, if both are known, by a clock that nobody set back."""
        if self.started is None or self.finished is None or self.finished < self.started:
            return None
        return (self.finished - self.started).total_seconds()

    def to_json(self) -> str:
        """The record as one JSON object; times in ISO 8601."""
        return json.dumps(asdict(self), default=datetime.isoformat, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Run":
        """The record that `to_json` wrote. Raises ValueError where the text is not one."""
        try:
            data = json.loads(text)
        except RecursionError as error:
            raise ValueError(f"a run's record is no JSON: {error}") from error
        known = {field.name for field in fields(cls)}
        if not isinstance(data, dict):
            raise ValueError("a run's record is a JSON object")
        try:
            values = {name: _revive(name, value) for name, value in data.items() if name in known}
            run = cls(**values)
        except (TypeError, OverflowError) as error:
            raise ValueError(f"not a run's record: {error}") from error
        for name, hint in get_type_hints(cls).items():
            if not _fits(getattr(run, name), get_args(hint) or (hint,)):
                raise ValueError(f"not a run's record: {name} is {getattr(run, name)!a}")
        if run.state not in UNFINISHED | FINISHED:
            raise ValueError(f"not a run's record: state is {run.state!a}")
        return run


def run_of(row: Any) -> Run:
    """The run that a row of the table `runs` tells of."""
    return Run(**{field.name: getattr(row, field.name) for field in fields(Run)})


SLOT_FORMAT = "%Y%m%dT%H%MZ"  # in UTC


def run_name(job: str, slot: datetime, attempt: int) -> str:
    """The id of a slot's run, `pretrain-20261124T0200Z-1`: job, slot in UTC, attempt."""
    return f"{job}-{slot:{SLOT_FORMAT}}-{attempt}"


def _fits(value: Any, kinds: tuple[Any, ...]) -> bool:
    """Whether `value` is one of `kinds` and a database can hold it."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return (int in kinds or float in kinds) and abs(value) < 2**63
    texts = value if isinstance(value, list) else [value] if isinstance(value, str) else []
    if not all(isinstance(text, str) and _is_storable(text) for text in texts):
        return False
    return isinstance(value, tuple(get_origin(kind) or kind for kind in kinds))


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _revive(name: str, value: Any) -> Any:
    if name in _INSTANTS and value is not None:
        return datetime.fromisoformat(value).astimezone(UTC)
    return value
