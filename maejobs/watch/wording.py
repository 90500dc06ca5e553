"""What is said of a problem: which slot, what becomes of it, and how that is known."""

from datetime import datetime, timedelta, tzinfo

from maejobs.cron.clock_changes import ClockChange, Surprise
from maejobs.watch.collisions import Collision, Effect
from maejobs.watch.plan import Firing

SHORT = timedelta(minutes=10)  # what is shorter is told to the second

FATES = {
    Effect.SKIPPED: "be skipped",
    Effect.WAITS: "wait",
    Effect.REPLACES: "stop the run before it",
}
SURPRISES = {
    Surprise.MOVED: "is left out by the clocks: it runs at {end}",
    Surprise.SKIPPED: "is left out by the clocks: it is skipped",
    Surprise.TWICE: "comes twice: it runs twice",
}


def collision(met: Collision, zone: tzinfo) -> str:
    """`evaluate Tue 24 Nov 05:30 would be skipped: pretrain of 02:00 holds gpu0 until 06:00 …`."""
    first, second = met.first, met.second
    if met.at_once:
        fate = {
            Effect.SKIPPED: "one of them is skipped" if met.certain else "one may be skipped",
            Effect.WAITS: "one waits for the other",
        }[met.effect]
        both = f"{first.job.name} and {second.job.name} both start {day(second.slot, zone)}"
        return f"{both} and need {met.lock}: {fate}"
    would = f"{'would' if met.certain else 'may'} {FATES[met.effect]}"
    who, holds = (
        ("its run", "goes on") if met.lock is None else (first.job.name, f"holds {met.lock}")
    )
    return (
        f"{second.job.name} {day(second.slot, zone)} {would}: {who} of "
        f"{near(first.slot, second.slot, zone)} {holds} until {_until(met, zone)}"
    )


def _until(met: Collision, zone: tzinfo) -> str:
    """Until when the first holds on, and how that is known."""
    first, second = met.first, met.second
    end = first.usual_end if met.certain else first.long_end
    if end is not None and end > second.slot:
        known = "as a rule" if met.certain else "on a long day (p95)"
        if end == first.deadline:
            known = "its deadline"
        return f"{near(end, first.slot, zone, second.slot)}, {known}"
    latest = near(first.busy_until or first.slot, first.slot, zone, second.slot)
    if end is not None:
        return f"{latest}, its deadline and grace"
    return f"{latest} at the latest; how long it takes is not known yet"


def stopped(firing: Firing, zone: tzinfo) -> str:
    """`report Tue 24 Nov 02:00 would be stopped at 03:00, its deadline: as a rule …`."""
    expected, slot = firing.job.expected, firing.slot
    if expected.overruns_often:
        why = f"so were {expected.overruns} of its last {expected.runs} runs"
    else:
        why = f"as a rule it takes until {near(slot + (expected.usual or SHORT), slot, zone)}"
    end = near(firing.deadline or slot, slot, zone)
    return f"{firing.job.name} {day(slot, zone)} would be stopped at {end}, its deadline: {why}"


def moved_slot(
    job: str, expression: str, change: ClockChange, slot: datetime, what: Surprise, zone: tzinfo
) -> str:
    """`pretrain Sun 28 Mar 02:30 is left out by the clocks: it runs at 03:00 (30 2 * * *)`."""
    becomes = SURPRISES[what].format(end=f"{change.at.astimezone(zone):%H:%M}")
    return f"{job} {slot:%a %d %b %H:%M} {becomes} ({expression})"


def changed_night(firing: Firing, change: ClockChange, zone: tzinfo) -> str:
    """`pretrain Sat 27 Mar 22:00 has 1 h less until 06:00: the clocks go forward`."""
    minutes = abs(change.after - change.before) // timedelta(minutes=1)
    span = f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"
    less, turn = ("less", "forward") if change.forward else ("more", "back")
    end = near(firing.deadline or firing.slot, firing.slot, zone)
    return (
        f"{firing.job.name} {day(firing.slot, zone)} has {span} {less} until {end}, "
        f"its deadline: the clocks go {turn}"
    )


def day(at: datetime, zone: tzinfo) -> str:
    """A slot as it is named in a problem: `Tue 24 Nov 05:30`."""
    return f"{at.astimezone(zone):%a %d %b %H:%M}"


def near(at: datetime, slot: datetime, zone: tzinfo, other: datetime | None = None) -> str:
    """`at` as told beside `slot`: its time of day; the day if another.

    With seconds where it is close to the slot or to the `other` slot.
    """
    here = at.astimezone(zone)
    close = min(abs(at - slot), abs(at - (other or slot))) < SHORT
    time = f"{here:%H:%M:%S}" if close and here.second else f"{here:%H:%M}"
    return time if here.date() == slot.astimezone(zone).date() else f"{here:%a} {time}"
