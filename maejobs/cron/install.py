"""Changing a table without losing anybody's line: lock, compare, back up, install, verify."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from maejobs.cron.backups import back_up
from maejobs.cron.target import Target, TargetError
from maejobs.errors import MaejobsError


class Step(StrEnum):
    """The steps of a change, in their order."""

    LOCK = "lock"
    READ = "read"
    CHECK = "check"
    BACK_UP = "back up"
    COMPARE = "compare"
    INSTALL = "install"
    VERIFY = "verify"


OnStep = Callable[[Step], None]


class TableChanged(TargetError):
    """Somebody else changed the table between our reading and our writing; nothing was written."""


@dataclass(frozen=True)
class Change:
    """A table before and after; `before` is None where there was none."""

    before: bytes | None
    after: bytes

    @property
    def is_empty(self) -> bool:
        """Whether nothing changes; an empty table and no table are the same to cron."""
        return (self.before or b"") == self.after

    def diff(self) -> str:
        """The change as a unified diff, empty if there is none."""
        from difflib import unified_diff

        before, after = (
            [line + "\n" for line in table.decode(errors="backslashreplace").split("\n")]
            for table in (self.before or b"", self.after)
        )
        # What follows the last newline is a line only if there is something.
        for lines in (before, after):
            last = lines.pop()
            if last != "\n":
                lines.append(last + "\\ No newline at end of file\n")
        return "".join(unified_diff(before, after, "crontab (before)", "crontab (after)"))


def change_table(
    target: Target,
    build: Callable[[bytes], bytes],
    backups_dir: Path,
    dry_run: bool = False,
    on_step: OnStep = lambda step: None,
) -> Change:
    """Put `build(table)` in the place of `table`; with `dry_run` only say what would change.

    The table's lock keeps other maejobs out, of whichever home. The rest of the world knows no
    lock: the table is compared right before it is written, and read back after. What was there is
    kept below `backups_dir`. `on_step` is told of each step before it is taken.

    Raises TableRejected, TableChanged, TargetError, and what `build` raises; then the old table
    stays, or is put back if only a part of the new one arrived (a full disk). What somebody else
    wrote right after us is left alone.
    """
    if dry_run:
        return _plan(target, build, on_step)
    from maejobs.cron.table_lock import lock_table

    on_step(Step.LOCK)
    with lock_table(target):
        change = _plan(target, build, on_step)
        if not change.is_empty:
            _install(target, change, backups_dir, on_step)
        return change


def _plan(target: Target, build: Callable[[bytes], bytes], on_step: OnStep) -> Change:
    on_step(Step.READ)
    before = target.read()
    after = build(before or b"")
    if target.wants_newline and after not in (b"", before) and not after.endswith(b"\n"):
        after += b"\n"  # a table from elsewhere lacked it, and could not be given back without
    change = Change(before, after)
    if not change.is_empty:
        on_step(Step.CHECK)
        target.check(change.after)
    return change


def unless_changed(target: Target, shown: bytes | None, wanted: bytes) -> Callable[[bytes], bytes]:
    """What builds `wanted` as long as the table is still the one that was `shown` to somebody.

    Raises TableChanged otherwise.
    """

    def build(table: bytes) -> bytes:
        if table != (shown or b""):
            raise TableChanged(f"{target.name} was changed by somebody else meanwhile; try again")
        return wanted

    return build


def _install(target: Target, change: Change, backups_dir: Path, on_step: OnStep) -> None:
    kept = ""
    if change.before is not None:
        on_step(Step.BACK_UP)
        kept = f"; what was there before is in {back_up(change.before, backups_dir / target.slug)}"
    on_step(Step.COMPARE)
    if target.read() != change.before:
        raise TableChanged(f"{target.name} was changed by somebody else meanwhile; try again")
    on_step(Step.INSTALL)
    try:
        target.install(change.after)
    except TableChanged:
        raise  # what is there now is somebody's
    except MaejobsError:
        _mend(target, change, kept)
        raise
    on_step(Step.VERIFY)
    if (target.read() or b"") != change.after:
        done = _mend(target, change, kept)
        raise TargetError(f"{target.name} does not hold what was just written to it{done or kept}")


def _mend(target: Target, change: Change, kept: str) -> str:
    """Put the old table back where only a part of the new one arrived; what was done, in words.

    Anything else that is there now is the old table, or somebody's who wrote after us.
    """
    found, before = target.read() or b"", change.before or b""
    if found in (before, change.after) or not change.after.startswith(found):
        return ""
    target.install(before)
    if (target.read() or b"") != before:
        raise TargetError(f"{target.name} holds a part of what was just written to it{kept}")
    return ", but a part of it; the table from before was put back"
