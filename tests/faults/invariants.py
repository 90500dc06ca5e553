"""What must hold after every fault, once the real `maejobs reconcile` has been called."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from running import lives, runs_of

from maejobs.keep.checkpoint import read_checkpoints
from maejobs.rundb.run import NEVER_CALLED, RUNNING, SKIPPED, SUCCEEDED, UNFINISHED

from .night import Nights

KEPT = 3  # checkpoints, by the night's own rotation
REST = 5  # calls of reconcile until nothing is left to be found
_AS_IF_NOT_BEGUN = {None, SKIPPED, *NEVER_CALLED}


@dataclass(frozen=True)
class Before:
    """How things stood before the fault: checkpoints' steps, newest first."""

    steps: tuple[int, ...]
    crontab: bytes
    succeeded: frozenset[str]


def look(nights: Nights) -> Before:
    runs = runs_of(nights.home)
    return Before(
        valid_steps(nights),
        _crontab(nights),
        frozenset(run.id for run in runs if run.state == SUCCEEDED),
    )


def check(nights: Nights, before: Before) -> None:
    """Fails, saying which, if one of the five does not hold."""
    settle(nights)
    no_valid_checkpoint_is_lost(nights, before)
    no_run_is_forgotten(nights, before)
    nothing_runs_without_a_process(nights)
    no_slot_was_run_twice(nights)
    assert _crontab(nights) == before.crontab, "the crontab has changed"
    assert "Traceback" not in nights.said(), nights.said()


def settle(nights: Nights) -> None:
    """Call `reconcile` until it finds nothing more; what it catches up with has its time.

    A process that is ending has no environment any more, and so is no longer seen here, but it
    still is a process to `reconcile`: what is under way is looked at again.
    """
    nights.wait_until_idle()
    nights.let_time_pass()
    for _ in range(REST):
        found = nights.reconcile()
        nights.wait_until_idle()
        if not any(found.values()) and not _under_way(nights):
            return
    if not any(found.values()):
        return
    raise AssertionError(f"reconcile finds something again and again: {found}")


def no_valid_checkpoint_is_lost(nights: Nights, before: Before) -> None:
    """The newest is at least as new, and no fewer are there than the rotation leaves."""
    steps = valid_steps(nights)
    assert steps[:1] >= before.steps[:1], f"the newest was {before.steps}, is {steps}"
    assert len(steps) >= min(len(before.steps), KEPT), f"of {before.steps} there are {steps}"


def no_run_is_forgotten(nights: Nights, before: Before) -> None:
    """Every command that began, every directory and every slot has its row; so has a success."""
    states = {run.id: run.state for run in runs_of(nights.home)}
    begun = {run for run in nights.noted("begin") if states.get(run) not in _AS_IF_NOT_BEGUN}
    assert begun == set(nights.noted("begin")), f"recorded are {states}, and begun {begun}"
    made = {path.parent.name for path in nights.home.runs_dir.glob("*/*/run.json")}
    assert made <= states.keys(), f"without a row: {made - states.keys()}"
    slots = {run.slot for run in runs_of(nights.home, "night")}
    assert set(nights.called) <= slots, f"slots without a row: {set(nights.called) - slots}"
    forgotten = {run for run in before.succeeded if states.get(run) != SUCCEEDED}
    assert not forgotten, f"had succeeded: {forgotten}"


def nothing_runs_without_a_process(nights: Nights) -> None:
    stuck = [run for run in _under_way(nights) if not lives(run.pid or run.supervisor_pid)]
    assert not stuck, f"{RUNNING} without a process: {stuck}"


def _under_way(nights: Nights) -> list[Any]:
    return [run for run in runs_of(nights.home) if run.state in UNFINISHED]


def no_slot_was_run_twice(nights: Nights) -> None:
    """No two commands were at work at once, and none after one that had come to its end."""
    assert nights.noted("twice") == []
    slots = {run.id: run.slot for run in runs_of(nights.home)}
    ended: set[datetime] = set()
    for word, run in _story(nights):
        assert word != "begin" or slots[run] not in ended, f"{run}: its slot was done already"
        if word == "end":
            ended.add(slots[run])
    good = Counter((r.job, r.slot) for r in runs_of(nights.home) if r.state == SUCCEEDED)
    twice = [slot for slot, count in good.items() if count > 1]
    assert not twice, f"succeeded twice: {twice}"


def valid_steps(nights: Nights) -> tuple[int, ...]:
    """The steps of the checkpoints of which every byte is right, newest first."""
    found = read_checkpoints(nights.campaign, deep=True)
    return tuple(checkpoint.step for checkpoint in found if checkpoint.valid)


def _crontab(nights: Nights) -> bytes:
    return Path(nights.home.crontab).read_bytes()


def _story(nights: Nights) -> list[tuple[str, str]]:
    lines = nights.ledger.read_text().splitlines() if nights.ledger.exists() else []
    return [(word, run) for word, run in map(str.split, lines)]
