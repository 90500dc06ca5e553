"""A damaged block made whole again, once its owner has seen and asked for it.

Everybody else's lines stay, byte for byte and in order: those before the first marker above the
block, all others below it. Ours are the lines that name a job in their tag *and* call it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from maejobs.cron.block import (
    BEGIN_LINE,
    END_LINE,
    Entry,
    begins_block,
    is_marker,
    may_have_lacked_newline,
    parse_entry,
    render_block,
)
from maejobs.cron.schedule import command_words


@dataclass(frozen=True)
class Trouble:
    """What is wrong with the block, at a 1-based line."""

    line: int
    reason: str


@dataclass(frozen=True)
class OurLine:
    """A line of ours where it stands; `raw` without newline, `inside` the block or astray."""

    number: int
    raw: bytes
    entry: Entry
    inside: bool


@dataclass(frozen=True)
class Layout:
    """A table sorted: `head` and `tail` are everybody else's bytes above and below the block."""

    head: bytes
    ours: tuple[OurLine, ...]
    tail: bytes
    newline_added: bool
    troubles: tuple[Trouble, ...]


def repair(table: bytes) -> bytes:
    """`table` with one whole block, in the place of the first marker; itself if nothing is wrong.

    Markers are written anew, so what was written into one by hand goes. Where no line of ours is
    left, so does the block.
    """
    layout = lay_out(table)
    if not layout.troubles:
        return table
    return assemble(layout, [line.raw for line in layout.ours])


def lay_out(table: bytes, fetch: Callable[[Entry], bool] = lambda entry: False) -> Layout:
    """Sort the lines of `table`, whatever became of the block.

    Lines of ours that went astray are fetched from anywhere where the block is damaged, as nobody
    can tell where it ended; from outside a whole one, if `fetch` says so.
    """
    raws = table.split(b"\n")
    markers = [n for n, raw in enumerate(raws) if is_marker(raw)]
    troubles = _troubles(raws, markers)
    within = range(markers[0] + 1, markers[-1]) if markers else range(0)
    head: list[bytes] = []
    tail: list[bytes] = []
    ours = []
    for n, raw in enumerate(raws):
        if n in markers:
            continue
        inside = n in within
        entry = parse_entry(raw if inside and not troubles else raw.strip())
        whole = bool(entry) and inside and not troubles
        if entry and (whole or (_calls_its_job(entry) and (troubles or fetch(entry)))):
            ours.append(OurLine(n + 1, raw.strip(), entry, inside))
            continue
        line = raw if n == len(raws) - 1 else raw + b"\n"
        (tail if markers and n > markers[0] else head).append(line)
    above = b"".join(head)
    if markers:
        added = b"+newline" in raws[markers[0]] and may_have_lacked_newline(above)
    else:
        added = bool(above) and not above.endswith(b"\n")
    return Layout(above, tuple(ours), b"".join(tail), added, tuple(troubles))


def assemble(layout: Layout, lines: Sequence[bytes]) -> bytes:
    """The table with a block of `lines` between head and tail; without one if there is no line."""
    head, tail = layout.head, layout.tail
    if not lines:
        return head.removesuffix(b"\n") if layout.newline_added and not tail else head + tail
    begin, end = render_block([], layout.newline_added).split(b"\n", 1)
    if head and not head.endswith(b"\n"):
        head += b"\n"
    return head + b"\n".join([begin, *lines, end]) + tail


def _troubles(raws: Sequence[bytes], markers: Sequence[int]) -> list[Trouble]:
    """All that keeps the block from being read, in order; none just if `read_entries` reads it."""
    found = []
    opened = closed = None  # lines of the block's own markers
    for n in markers:
        number, raw = n + 1, raws[n]
        if not (BEGIN_LINE.fullmatch(raw) or END_LINE.fullmatch(raw)):
            found.append(Trouble(number, "this marker of maejobs was changed by hand"))
        if begins_block(raw):
            if opened is not None:
                found.append(
                    Trouble(number, f"a second maejobs block; the first begins at line {opened}")
                )
            opened, closed = number, None
        elif opened is None or closed is not None:
            found.append(Trouble(number, "a maejobs block ends here that never began"))
        else:
            closed = number
            found += [
                Trouble(m + 1, "this line inside the maejobs block is not one of ours")
                for m in range(opened, n)
                if parse_entry(raws[m]) is None
            ]
    if opened is not None and closed is None:
        found.append(Trouble(opened, "the maejobs block that begins here has no end"))
    return sorted(found, key=lambda trouble: trouble.line)


def _calls_its_job(entry: Entry) -> bool:
    return ("exec", entry.job) in pairwise(command_words(entry))
