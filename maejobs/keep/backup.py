"""Checkpoints copied to another directory and proven there, and brought back again.

A backup is itself laid out like a campaign (`destination/<campaign name>/checkpoints/…`), so
whatever reads a campaign reads its backup too.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from maejobs.errors import MaejobsError, UserError
from maejobs.files import make_private_directory, real_path, write_atomically
from maejobs.keep.checkpoint import (
    CHECKPOINTS,
    StoredCheckpoint,
    checkpoints_directory,
    newest_valid,
    pin,
    read_checkpoints,
    verified,
)
from maejobs.keep.copy import Progress, copy_checkpoint, copy_small_files, require_room
from maejobs.keep.destinations import NOTE_NAME, note_place, require_mounted
from maejobs.keep.lock import hold
from maejobs.keep.manifest import MANIFEST
from maejobs.keep.retention import Policy
from maejobs.keep.rotate import decide, remove
from maejobs.keep.trash import NO_TIME, sweep

ORIGIN = "origin"  # names the campaign a backup is of, so that two of one name do not mix


@dataclass(frozen=True)
class BackupReport:
    """What a backup did, or, in a dry run, would do."""

    copied: list[str]  # new in the backup, compared with its SHA-256
    verified: list[str]  # there already, and still as its manifest says
    skipped: dict[str, str]  # ought to be in the backup and is not: why
    bytes: int  # of what was copied
    destination: Path  # the campaign's own directory below the one that was named
    removed: list[str] = field(default_factory=list)  # older backups that made way
    dry_run: bool = False
    undeleted: list[str] = field(default_factory=list)  # what could not be deleted, a line each


@dataclass(frozen=True)
class _Plan:
    missing: list[StoredCheckpoint]
    present: list[StoredCheckpoint]
    skipped: dict[str, str]


def back_up(
    campaign: Path,
    destination: Path,
    keep: int = 2,
    dry_run: bool = False,
    on_progress: Progress | None = None,
    verify: bool = False,
    afresh: bool = False,
) -> BackupReport:
    """Have the newest `keep` valid checkpoints, and pinned ones, in `destination` too.

    Sources are compared with their SHA-256 before they are copied, copies after; what is there
    already is checked by size, with `verify` by SHA-256. Configs, history and evaluations go along.
    Older backups make way only after a backup without a hitch; the newest proven one and pinned
    ones never do. A destination that has held copies and holds none is refused, unless `afresh`.

    Raises UserError for a destination that cannot be meant, MaejobsError where its disk is not
    mounted, there is no room or a copy fails, NotNow while another keeper is at work.
    """
    if keep < 1:
        raise UserError(f"keep = {keep}: a backup keeps at least one checkpoint")
    checkpoints_directory(campaign)
    campaign = real_path(campaign)
    target = _target(campaign, destination)
    note = campaign / NOTE_NAME
    if not afresh:
        require_mounted(note, target, (target / CHECKPOINTS).is_dir())
    if dry_run:
        plan = _plan(campaign, target, keep, verify)
        return _report(plan, target, [], dry_run=True)
    with _refusals(target), hold(campaign):
        make_private_directory(target / CHECKPOINTS)
        with hold(target):
            write_atomically(target / ORIGIN, os.fsencode(f"{campaign}\n"))
            undeleted = sweep(checkpoints_directory(target), NO_TIME).undeleted
            plan = _plan(campaign, target, keep, verify)
            require_room(plan.missing, target)
            copy_small_files(campaign, target, replace=True)
            for checkpoint in plan.missing:
                copy_checkpoint(checkpoint, target / CHECKPOINTS, on_progress)
            for checkpoint in plan.present:
                if checkpoint.pinned:
                    pin(target / CHECKPOINTS / checkpoint.name)
            if plan.missing or plan.present:
                note_place(note, target)
            removed = _make_way(plan, target, keep, undeleted)
            return _report(plan, target, removed, undeleted=undeleted)


def restore(
    backup: Path, campaign: Path, step: int | None = None, on_progress: Progress | None = None
) -> StoredCheckpoint:
    """Bring a checkpoint back from `backup` (the newest good one, or that of `step`), verified.

    `backup` is the directory given to `back_up`, or the campaign's own one below it. A damaged
    checkpoint in the campaign is replaced; a good one never is. Configs, history and evaluations
    come back where they are missing.

    Raises UserError where there is nothing to restore, or something good in its place.
    """
    campaign = campaign.absolute()
    chosen = choose_backup(backup, campaign, step)
    source = chosen.path.parent.parent
    with _refusals(campaign):
        make_private_directory(campaign / CHECKPOINTS)
        directory = checkpoints_directory(campaign)
        with hold(campaign):
            for existing in read_checkpoints(campaign):
                if existing.step != chosen.step:
                    continue
                if verified(existing).valid:
                    raise UserError(f"{existing.path}: is there and good; nothing was restored")
                if not existing.judged:
                    raise UserError(f"{existing.path}: {existing.problem}; move it away first")
                chosen = replace(chosen, pinned=chosen.pinned or existing.pinned)
            require_room([chosen], directory)
            copy_small_files(source, campaign, replace=False)
            copy_checkpoint(chosen, directory, on_progress)
        return next(c for c in read_checkpoints(campaign) if c.name == chosen.name)


def choose_backup(backup: Path, campaign: Path, step: int | None = None) -> StoredCheckpoint:
    """What `restore` would bring back: read and verified, nothing written. Raises UserError."""
    below = backup / real_path(campaign).name
    source = real_path(below if (below / CHECKPOINTS).is_dir() else backup)
    if source == real_path(campaign):
        raise UserError(f"{source}: is the campaign itself, not its backup")
    return _choose(source, step)


def _target(campaign: Path, destination: Path) -> Path:
    """The campaign's place in the destination. Raises UserError where that cannot be meant."""
    if destination.exists() and not destination.is_dir():
        raise UserError(f"{destination}: not a directory")
    target = real_path(destination / campaign.name)
    if campaign in (target, *target.parents):
        raise UserError(f"{destination}: is the campaign itself, or inside it; name another disk")
    if target in campaign.parents:
        raise UserError(f"{destination}: the campaign is inside its own backup directory {target}")
    origin = target / ORIGIN
    if origin.is_file() and (named := os.fsdecode(origin.read_bytes()).strip()) != str(campaign):
        raise UserError(
            f"{target}: holds the backup of {named}, not of {campaign}; name another destination,"
            f" or delete {origin} if the campaign has moved"
        )
    return target


def _plan(campaign: Path, target: Path, keep: int, verify: bool) -> _Plan:
    """What to copy, newest first, until `keep` good ones are, or will be, in the backup."""
    there = {c.name: c for c in read_checkpoints(target, verify)} if target.is_dir() else {}
    plan = _Plan([], [], {})
    sources = read_checkpoints(campaign)
    if there and not sources:
        why = f"holds no checkpoint, but {target} has copies of some; is its disk mounted?"
        raise MaejobsError(f"{campaign}: {why}")
    for source in sources:
        if len(plan.present) + len(plan.missing) >= keep and not source.pinned:
            continue
        copy = there.get(source.name)
        if source.valid and copy and copy.valid and _same_manifest(source, copy):
            plan.present.append(source)
        elif not (source := verified(source)).valid:
            plan.skipped[source.name] = f"damaged here: {source.problem}"
        elif copy and (copy.valid or not copy.judged):
            plan.skipped[source.name] = f"{copy.path} is another one: it is not overwritten"
        else:
            plan.missing.append(source)
    return plan


def _same_manifest(one: StoredCheckpoint, other: StoredCheckpoint) -> bool:
    return (one.path / MANIFEST).read_bytes() == (other.path / MANIFEST).read_bytes()


def _make_way(plan: _Plan, target: Path, keep: int, undeleted: list[str]) -> list[str]:
    """Which older backups went; what could not be deleted of them is put into `undeleted`."""
    if plan.skipped:  # something is wrong with the campaign: old backups may be needed yet
        return []
    wanted = {checkpoint.name for checkpoint in (*plan.missing, *plan.present)}
    removed = []
    for decision in decide(read_checkpoints(target), Policy(keep_last=keep)):
        if decision.keep or decision.checkpoint.name in wanted:
            continue
        try:
            if remove(decision.checkpoint):
                removed.append(decision.checkpoint.name)
        except MaejobsError as error:
            undeleted.append(str(error))
    return removed


def _choose(source: Path, step: int | None) -> StoredCheckpoint:
    if step is None:
        if newest := newest_valid(source, deep=True):
            return newest
        raise UserError(f"{source}: no valid checkpoint to restore{_campaigns_below(source)}")
    for checkpoint in read_checkpoints(source):
        if checkpoint.step == step:
            if (checkpoint := verified(checkpoint)).valid:
                return checkpoint
            raise UserError(f"{checkpoint.path}: cannot be restored: {checkpoint.problem}")
    raise UserError(f"{source}: no checkpoint of step {step}{_campaigns_below(source)}")


def _campaigns_below(source: Path) -> str:
    """What may have been meant, as the end of a message: a destination holds many campaigns'."""
    names = sorted(path.parent.name for path in source.glob(f"*/{CHECKPOINTS}") if path.is_dir())
    return f"; below it are the backups of {', '.join(names)}: name one" if names else ""


@contextmanager
def _refusals(place: Path) -> Iterator[None]:
    """Turn what the operating system refuses (no space, no permission) into a line for a user."""
    try:
        yield
    except OSError as error:
        raise MaejobsError(f"{error.filename or place}: {error.strerror or error}") from error


def _report(
    plan: _Plan,
    target: Path,
    removed: list[str],
    dry_run: bool = False,
    undeleted: Sequence[str] = (),
) -> BackupReport:
    return BackupReport(
        copied=[checkpoint.name for checkpoint in plan.missing],
        verified=[checkpoint.name for checkpoint in plan.present],
        skipped=plan.skipped,
        bytes=sum(checkpoint.bytes for checkpoint in plan.missing),
        destination=target,
        removed=removed,
        dry_run=dry_run,
        undeleted=list(undeleted),
    )
