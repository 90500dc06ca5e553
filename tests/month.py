"""A month of nights as a plan: which slots there are, what happens to each, what is to be recorded.

Written without maejobs, from crontab(5), cron(8) and the promises in docs/, so that a count made
from it is a second opinion.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Europe/Berlin")
MINUTE = timedelta(minutes=1)
RETRIES, HOSTS_RETRIES = 1, 2
COMPLETED = """echo '{"event": "outcome", "status": "completed"}' >> "$MAEJOBS_EVENTS"; """


@dataclass(frozen=True)
class Job:
    """One job's line: its `minutes` of the local day, on one `weekday` (Monday 0) or on all."""

    name: str
    expression: str
    minutes: frozenset[int]
    weekday: int | None = None
    wildcard: bool = False  # by cron's word: minute or hour starts with `*`
    catches_up: bool = False

    def is_at(self, wall: datetime) -> bool:
        is_day = self.weekday is None or wall.weekday() == self.weekday
        return is_day and 60 * wall.hour + wall.minute in self.minutes


JOBS = (
    Job("night", "30 2 * * *", frozenset({150})),
    Job("often", "15 */6 * * *", frozenset({15, 375, 735, 1095}), wildcard=True, catches_up=True),
    Job("sunday", "*/30 2 * * 0", frozenset({120, 150}), weekday=6, wildcard=True),
)


@dataclass(frozen=True)
class Fate:
    """What happens to a slot: the shell script that the command is, and how each try ends."""

    script: str
    tries: tuple[tuple[str, str | None], ...]
    share: int  # how often it is drawn, in proportion

    @property
    def starts(self) -> int:
        """How often the command is started."""
        return sum(state not in ("skipped", "missed", "unknown") for state, _ in self.tries)


def _failing(script: str, failure: str, times: int) -> Fate:
    return Fate(script, (("failed", failure),) * times, 4)


WELL = "well"
FATES = {
    WELL: Fate("exit 0", (("succeeded", None),), 30),
    "second try": Fate(
        "case $MAEJOBS_RUN_ID in *-1) exit 3;; esac",
        (("failed", "exit_code"), ("succeeded", None)),
        6,
    ),
    "fails": _failing("exit 3", "exit_code", 1 + RETRIES),
    "bad input": _failing("exit 2", "bad_input", 1),
    "disk full": _failing("echo No space left on device; exit 1", "no_space", 1 + HOSTS_RETRIES),
    "too long": Fate("exec sleep 60", (("timed_out", "timed_out"),), 1),
    "killed": Fate("echo ready; exec sleep 60", (("lost", "lost"),), 8),
    "supervisor killed": Fate(
        f"echo ready; until [ -e $MAEJOBS_RUN_DIR/go ]; do sleep 0.02; done; {COMPLETED}",
        (("succeeded", None),),
        4,
    ),
    "called twice": Fate("sleep 0.3", (("succeeded", None),), 4),
    "database away": Fate("exit 0", (("succeeded", None),), 4),
    "paused": Fate("exit 0", (("skipped", None),), 4),
    "not called": Fate("exit 0", (("missed", None),), 8),
}
HOST_OFF = Fate("exit 0", (("unknown", None),), 0)
OFF_SHARE = 0.12  # of the times of day at which something is due
NOBODY_STARTED = ("missed", "unknown")


@dataclass(frozen=True)
class Slot:
    """One slot, its fate, and that of the run which makes up for it, if one does."""

    job: Job
    at: datetime
    name: str
    fate: Fate
    made_up: Fate | None = None

    @property
    def record(self) -> list[tuple[str, int, str, str, str | None]]:
        """Each run's slot, attempt, trigger, state and class of failure."""
        trigger, fate = ("catch-up", self.made_up) if self.made_up else ("cron", self.fate)
        return [
            (self.at.isoformat(), number, trigger if number == 1 else "retry", state, failure)
            for number, (state, failure) in enumerate(fate.tries, 1)
        ]

    @property
    def starts(self) -> int:
        return (self.made_up or self.fate).starts


def minutes_of(first: date, nights: int) -> Iterator[tuple[datetime, datetime, datetime]]:
    """Each minute from the first day's midnight on, in UTC: its wall clock, and that before it."""
    begin = datetime.combine(first, time.min, ZONE).astimezone(UTC)
    end = datetime.combine(first + timedelta(days=nights), time.min, ZONE).astimezone(UTC)
    before = (begin - MINUTE).astimezone(ZONE).replace(tzinfo=None)
    while begin < end:
        wall = begin.astimezone(ZONE).replace(tzinfo=None)
        yield begin, wall, before
        begin, before = begin + MINUTE, wall


def slots_of(job: Job, first: date, nights: int) -> list[datetime]:
    """When cron starts the job. On the nights on which the clocks are changed, by cron(8):

    a wildcard job goes by the clock on the wall; another one runs once, at the first of two equal
    times, and where its time is left out, as soon as the clock has jumped over it.
    """
    found, seen = [], set()
    for at, wall, before in minutes_of(first, nights):
        times = {wall}
        if not job.wildcard:
            times = set() if wall in seen else {wall}
            left_out = (wall - before) // MINUTE - 1
            times |= {before + n * MINUTE for n in range(1, left_out + 1)}
        seen.add(wall)
        if any(job.is_at(wall) for wall in times):
            found.append(at)
    return found


def occasions(slots: Sequence[datetime]) -> list[list[datetime]]:
    """Slots less than an hour apart in one list: the host is on for all of them, or off."""
    found = [[slots[0]]]
    for earlier, later in pairwise(slots):
        if later - earlier < timedelta(hours=1):
            found[-1].append(later)
        else:
            found.append([later])
    return found


def plan(first: date, nights: int, seed: int) -> list[list[Slot]]:
    """What happens, occasion by occasion, in order."""
    draw = random.Random(f"{first} {seed}")
    due = sorted((at, job.name, job) for job in JOBS for at in slots_of(job, first, nights))
    drawn = []
    for times in occasions(sorted({at for at, _, _ in due})):
        is_off = draw.random() < OFF_SHARE
        drawn.append(
            [_drawn(job, at, is_off, draw) for at, _, job in due if times[0] <= at <= times[-1]]
        )
    return drawn


def _drawn(job: Job, at: datetime, is_off: bool, draw: random.Random) -> Slot:
    names = list(FATES)
    (name,) = draw.choices(names, [FATES[name].share for name in names])
    fate = HOST_OFF if is_off else FATES[name]
    made_up = None
    if job.catches_up and fate.tries[0][0] in NOBODY_STARTED:
        made_up = FATES[draw.choice([WELL, "second try", "fails"])]
    return Slot(job, at, "host off" if is_off else name, fate, made_up)
