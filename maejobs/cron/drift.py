"""Drift: what the crontab has and what jobs.d wants, side by side, and the table without it.

Pure: the table's bytes and what is wanted in, differences and bytes out. Lines of other homes are
nobody's drift. A job's entries besides its file's schedule were added with `schedule --also` and
are told, not taken away; where none of them is the file's, all give way to it, as with `schedule`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from maejobs.cron.block import Entry, render_block
from maejobs.cron.repair import OurLine, assemble, lay_out
from maejobs.cron.schedule import command_words

NEW_LINE = 0  # the number of a line that is not there yet


class DriftKind(StrEnum):
    """How a line differs from what is wanted."""

    BLOCK = "block"  # the block itself is damaged
    OUTSIDE = "outside"  # a line of ours stands outside the block
    MISSING = "missing"
    EXPRESSION = "expression"
    COMMAND = "command"
    DUPLICATE = "duplicate"
    ORPHAN = "orphan"  # its job file is gone
    ALSO = "also"  # no drift: an entry that was added to the file's


@dataclass(frozen=True)
class Drift:
    """One difference in words; `line` is 1-based, None for a line that is not there."""

    kind: DriftKind
    text: str
    job: str | None = None
    line: int | None = None


@dataclass(frozen=True)
class Comparison:
    """What differs; `table` is brought in line, and `changed` are the jobs whose lines that is."""

    drifts: tuple[Drift, ...]
    table: bytes
    changed: tuple[str, ...]

    @property
    def in_line(self) -> bool:
        """Whether crontab and jobs.d agree."""
        return all(drift.kind is DriftKind.ALSO for drift in self.drifts)


def compare(
    table: bytes,
    wanted: Mapping[str, str | None],
    command_of: Callable[[str], str],
    is_ours: Callable[[Entry], bool],
    jobs: Collection[str] | None = None,
    prune: bool = False,
    drop_also: bool = False,
) -> Comparison:
    """Compare `table` with what is wanted of the home whose entries `is_ours` knows.

    `wanted` holds the schedule of each job file; None: whatever the crontab says is right.
    `jobs` narrows the look to some (None: all). Orphans stay unless `prune`, further entries
    unless `drop_also`. A damaged block is repaired in any case: nothing can be written without.
    """

    def is_looked_at(entry: Entry) -> bool:
        return is_ours(entry) and (jobs is None or entry.job in jobs)

    layout = lay_out(table, is_looked_at)
    drifts = [
        Drift(DriftKind.BLOCK, f"line {trouble.line}: {trouble.reason}", line=trouble.line)
        for trouble in layout.troubles
    ]
    lines = {line.number: line.raw for line in layout.ours}
    added = []
    changed = []
    looked_at = [line for line in layout.ours if is_looked_at(line.entry)]
    picked = [job for job in wanted if jobs is None or job in jobs]
    for job in sorted({*picked, *(line.entry.job for line in looked_at)}):
        own = [line for line in looked_at if line.entry.job == job]
        if job in wanted:
            found, new = _compare_job(job, own, wanted[job], command_of(job), drop_also)
        else:
            found = [_orphan(line) for line in own]
            new = {line.number: None for line in own} if prune else {}
        drifts += found
        if new or any(drift.kind is DriftKind.OUTSIDE for drift in found):
            changed.append(job)
        for number, raw in new.items():
            if raw is None:
                del lines[number]
            elif number == NEW_LINE:
                added.append(raw)
            else:
                lines[number] = raw
    if not (changed or layout.troubles):
        return Comparison(tuple(drifts), table, ())
    after = assemble(layout, [*lines.values(), *added])
    return Comparison(tuple(drifts), after, tuple(changed))


def _compare_job(
    job: str, lines: Sequence[OurLine], schedule: str | None, command: str, drop_also: bool
) -> tuple[list[Drift], dict[int, bytes | None]]:
    """What differs, and what becomes of lines by number: other bytes, or None if taken out."""
    drifts = [
        Drift(DriftKind.OUTSIDE, f"line {n} starts {job} from outside our block", job, n)
        for n in (line.number for line in lines if not line.inside)
    ]
    texts = [line.entry.expression for line in lines]
    if schedule is not None and not lines:
        text = f"{job} is to run at {schedule}, and has no line"
        return [Drift(DriftKind.MISSING, text, job)], {NEW_LINE: _render(job, schedule, command)}
    if schedule is not None and schedule not in texts:
        first, *others = (line.number for line in lines)
        place = f"line {first}" if not others else f"lines {', '.join(map(str, (first, *others)))}"
        text = f"{place}: {job} runs at {' and '.join(texts)}; its file says {schedule}"
        drifts.append(Drift(DriftKind.EXPRESSION, text, job, first))
        return drifts, {
            first: _render(job, schedule, command),
            **dict.fromkeys(others),
        }
    changes: dict[int, bytes | None] = {}
    for position, (line, text) in enumerate(zip(lines, texts, strict=True)):
        n = line.number
        if text in texts[:position]:
            told = f"line {n}: {job} is there twice with {text}, and would start twice"
            drifts.append(Drift(DriftKind.DUPLICATE, told, job, n))
            changes[n] = None
            continue
        if schedule is not None and text != schedule:
            drifts.append(Drift(DriftKind.ALSO, f"line {n}: {job} runs also at {text}", job, n))
            if drop_also:
                changes[n] = None
                continue
        if command_words(line.entry) != command_words(Entry(job, text, command)):
            told = f"line {n}: {job} is called as `{line.entry.command}`; it is to be `{command}`"
            drifts.append(Drift(DriftKind.COMMAND, told, job, n))
            changes[n] = _render(job, text, command)
    return drifts, changes


def _orphan(line: OurLine) -> Drift:
    job = line.entry.job
    text = f"line {line.number}: there is no job file of {job} any more; its runs would fail"
    return Drift(DriftKind.ORPHAN, text, job, line.number)


def _render(job: str, expression: str, command: str) -> bytes:
    """The line, without its newline. Raises UserError for what cannot stand on one."""
    return render_block([Entry(job, expression, command)]).split(b"\n")[1]
