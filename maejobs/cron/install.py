"""Changing a table without losing anybody's line: lock, compare, back up, install, verify."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from maejobs import clock
from maejobs.cron.target import Target, TargetError
from maejobs.files import make_private_directory, write_atomically

LOCK_NAME = "crontab.lock"
LOCK_TIMEOUT = 60.0  # seconds
BACKUP_SUFFIX = ".crontab"
BACKUPS_KEPT = 50
STAMP = "%Y%m%dT%H%M%S.%fZ"


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
    locks_dir: Path,
    backups_dir: Path,
    dry_run: bool = False,
) -> Change:
    """Put `build(table)` in the place of `table`; with `dry_run` only say what would change.

    The lock keeps other maejobs out. The rest of the world knows no lock: the table is compared
    right before it is written, and read back after. What was there is kept in `backups_dir`.

    Raises TableRejected, TableChanged, TargetError, and what `build` raises; then the old table
    stays, unless the message says that what was read back differs.
    """
    if dry_run:
        return _plan(target, build)
    from filelock import FileLock, Timeout

    lock = FileLock(make_private_directory(locks_dir) / LOCK_NAME, LOCK_TIMEOUT, mode=0o600)
    try:
        lock.acquire()
    except Timeout as error:
        raise TargetError(
            f"{target.name} is being changed by another maejobs: its lock {lock.lock_file} was "
            f"not free within {LOCK_TIMEOUT:.0f} s"
        ) from error
    try:
        change = _plan(target, build)
        if not change.is_empty:
            _install(target, change, backups_dir)
        return change
    finally:
        lock.release()


def _plan(target: Target, build: Callable[[bytes], bytes]) -> Change:
    before = target.read()
    change = Change(before, build(before or b""))
    if not change.is_empty:
        target.check(change.after)
    return change


def _install(target: Target, change: Change, backups_dir: Path) -> None:
    backup = _back_up(change.before, backups_dir) if change.before is not None else None
    if target.read() != change.before:
        raise TableChanged(f"{target.name} was changed by somebody else meanwhile; try again")
    target.install(change.after)
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
