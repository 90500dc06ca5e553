"""Changing a table without losing anybody's line: lock, compare, back up, install, verify."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from maejobs import clock
from maejobs.cron.target import Target, TargetError
from maejobs.files import make_private_directory, write_atomically

BACKUP_SUFFIX = ".crontab"
BACKUPS_KEPT = 50
STAMP = "%Y%m%dT%H%M%S.%fZ"


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
    kept in `backups_dir`. `on_step` is told of each step before it is taken.

    Raises TableRejected, TableChanged, TargetError, and what `build` raises; then the old table
    stays, unless the message says that what was read back differs.
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
    change = Change(before, build(before or b""))
    if not change.is_empty:
        on_step(Step.CHECK)
        target.check(change.after)
    return change


def _install(target: Target, change: Change, backups_dir: Path, on_step: OnStep) -> None:
    backup = None
    if change.before is not None:
        on_step(Step.BACK_UP)
        backup = _back_up(change.before, backups_dir)
    on_step(Step.COMPARE)
    if target.read() != change.before:
        raise TableChanged(f"{target.name} was changed by somebody else meanwhile; try again")
    on_step(Step.INSTALL)
    target.install(change.after)
    on_step(Step.VERIFY)
    if (target.read() or b"") != change.after:
        kept = f"; what was there before is in {backup}" if backup else ""
        raise TargetError(f"{target.name} does not hold what was just written to it{kept}")


def _back_up(table: bytes, backups_dir: Path) -> Path:
    """Keep `table` in a file of its own named after the time, and the newest of its kind."""
    make_private_directory(backups_dir)
    backup = backups_dir / (clock.now().strftime(STAMP) + BACKUP_SUFFIX)
    write_atomically(backup, table)
    for old in sorted(backups_dir.glob(f"*{BACKUP_SUFFIX}"))[:-BACKUPS_KEPT]:
        old.unlink(missing_ok=True)
    return backup
