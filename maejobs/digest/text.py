"""The digest in sections of lines, and as plain text. Pure."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import NamedTuple

from maejobs.digest.facts import MOST_LINES, Digest, RunFact, Safety, headline, to_do
from maejobs.rundb.run import SUCCEEDED


class Section(NamedTuple):
    """A heading, and its lines, each of cells."""

    title: str
    lines: list[list[str]]


def sections(digest: Digest) -> list[Section]:
    """The digest as it is told, whatever the form, without control characters."""
    return [
        Section(section.title, [[plain(cell) for cell in line] for line in section.lines])
        for section in _sections(digest)
    ]


def _sections(digest: Digest) -> list[Section]:
    unknown = None if digest.runs_known else "not known"
    unscheduled = "nothing is scheduled" if digest.schedule_known else "not known"
    unproblematic = "nothing" if digest.schedule_known else "not known"
    return [
        Section("What must I do?", [[line] for line in to_do(digest)] or [["nothing"]]),
        Section("Did it run?", list(_runs(digest)) or [[unknown or "nothing ran"]]),
        Section(
            "Is it safe?",
            [_safety(one) for one in digest.safety] or [[unknown or "no run wrote a checkpoint"]],
        ),
        Section("What comes?", list(_coming(digest)) or [[unscheduled]]),
        Section(
            "What is in another's way?",
            [[problem] for problem in digest.problems] or [[unproblematic]],
        ),
        Section(
            "Who was told?",
            [[f"{job} is told to be bad"] for job in digest.alerts] or [["no alert stands"]],
        ),
    ]


def title(digest: Digest) -> str:
    """Of a mail, say."""
    return f"maejobs on {digest.host}: {headline(digest)}"


def span(digest: Digest) -> str:
    """Of which time it tells, and whose clock all its times are of: it may be read elsewhere."""
    since, now = (_local(at, digest.zone) for at in (digest.since, digest.now))
    return plain(f"{since} to {now}, {digest.zone}")


def as_text(digest: Digest) -> str:
    """The digest as plain text, columns aligned."""
    lines = [title(digest), span(digest)]
    for section in sections(digest):
        lines += ["", section.title, *(f"  {line}" for line in _aligned(section.lines))]
    return "\n".join(lines) + "\n"


def _aligned(rows: list[list[str]]) -> Iterator[str]:
    columns = max(len(row) for row in rows)
    widths = [
        max((len(row[n]) for row in rows if len(row) > n + 1), default=0) for n in range(columns)
    ]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield "  ".join(cells).rstrip()


def plain(text: str) -> str:
    """`text` without control characters: what a command called its outcome may hold any."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _runs(digest: Digest) -> Iterator[list[str]]:
    """Each run; of a job that ran often only the last that did not succeed, and a count."""
    of_job: dict[str, list[RunFact]] = {}
    for run in digest.runs:
        of_job.setdefault(run.job, []).append(run)
    often = {job: runs for job, runs in of_job.items() if len(runs) > MOST_LINES}
    odd = {
        run.run
        for runs in often.values()
        for run in [run for run in runs if run.state != SUCCEEDED][-MOST_LINES:]
    }
    for run in digest.runs:
        if run.job not in often or run.run in odd:
            yield _run(run, digest.zone)
    for job, runs in often.items():
        counts = Counter(run.state for run in runs)
        told = ", ".join(f"{count:,} {state}" for state, count in counts.most_common())
        yield [job, f"{len(runs):,} runs", told]


def _run(run: RunFact, zone: tzinfo) -> list[str]:
    begin = _local(run.started or run.slot, zone)
    end = f"{run.finished.astimezone(zone):%H:%M}" if run.started and run.finished else ""
    how = run.state + (f", {run.tries} tries" if run.tries > 1 else "")
    return [run.job, f"{begin}–{end}" if end else begin, how, _progress(run), run.why]


def _progress(run: RunFact) -> str:
    if run.step is None:
        return ""
    if not run.total_steps:
        return f"step {run.step:,}"
    return f"{run.step:,} of {run.total_steps:,} ({100 * run.step // run.total_steps} %)"


def _safety(one: Safety) -> list[str]:
    valid = f"step {one.step:,} is valid" if one.step is not None else "no valid checkpoint"
    if one.backup is None:
        copied = "no job copies it"
    elif one.backup_step is None:
        copied = f"no valid copy in {one.backup}"
    else:
        behind = "" if one.backup_step == one.step else ", an older one"
        copied = f"step {one.backup_step:,} is copied to {one.backup}{behind}"
    return [one.campaign, valid, copied, *(f"{name} is damaged" for name in one.damaged)]


def _coming(digest: Digest) -> Iterator[list[str]]:
    for one in digest.coming:
        end = f"until {one.end.astimezone(digest.zone):%H:%M}" if one.end else ""
        often = f"the first of {one.times:,} within a day" if one.times > 1 else ""
        yield [one.job, _local(one.slot, digest.zone), end, often]


def _local(at: datetime | None, zone: tzinfo) -> str:
    return f"{at.astimezone(zone):%a %d %b %H:%M}" if at else ""
