"""A log too long loses its middle, while its command goes on writing."""

import errno
import re
import threading
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from recorded_runs import rows
from running import only_run, python
from small_disk import fill, needs_root, small_disk

from maejobs.rundb import events
from maejobs.supervise import attempt, log_limit
from maejobs.supervise.execute import execute
from maejobs.supervise.log_limit import LogLimit, middle, punch_hole
from maejobs.supervise.log_reader import read_lines

BLOCK = 4096
FLOOD = """
import sys
line = "x" * 990
for number in range(100_000):
    sys.stdout.write(f"{number:08} {line}\\n")
"""


TELLS_WITHOUT_END = """
import os
with open(os.environ["MAEJOBS_EVENTS"], "a") as events:
    for step in range(40_000):
        events.write('{"event": "metric", "name": "loss", "value": 0.5, "step": %d}\\n' % step)
    events.write('{"event": "outcome", "status": "completed"}\\n')
"""


def bytes_taken(path: Path) -> int:
    return path.stat().st_blocks * 512


def write_numbers(path: Path, *numbers: int) -> None:
    """Lines of 100 bytes, each with its number."""
    with path.open("ab") as file:
        for number in range(*numbers):
            file.write(b"%08d %s\n" % (number, b"." * 90))


@given(st.integers(0, 10**9), st.integers(1_000_000, 10**8), st.sampled_from([4096, 131072, 2**20]))
def test_head_and_tail_are_kept_and_no_more_than_the_limit_and_a_block(size, limit, block):
    begin, end = middle(size, limit, block)

    assert begin % block == end % block == 0
    assert 0 <= begin <= end
    if begin < end:
        assert end <= size
        assert limit <= begin + size - end < limit + block
    else:
        assert size < limit + block


def test_a_hole_takes_no_room_and_moves_no_byte(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"a" * BLOCK * 10)

    punch_hole(log, BLOCK, 9 * BLOCK)

    assert log.read_bytes() == b"a" * BLOCK + bytes(8 * BLOCK) + b"a" * BLOCK
    assert bytes_taken(log) == 2 * BLOCK


def test_a_short_log_is_left_whole(tmp_path):
    log = tmp_path / "log"
    write_numbers(log, 9_999)

    LogLimit(log, 1_000_000).tick()

    assert [line.dropped for line in read_lines(log, 0)] == [0] * 9_999


def test_its_first_and_last_lines_are_kept_and_a_note_stands_between(tmp_path):
    log = tmp_path / "log"
    limit = LogLimit(log, 1_000_000)
    for start in range(0, 100_000, 5_000):
        write_numbers(log, start, start + 5_000)
        limit.tick()

    lines = list(read_lines(log, 0))

    notes = [line for line in lines if line.dropped]
    assert len(notes) == 1
    assert re.fullmatch(rb"\[maejobs: 9\.0 MB dropped here, see log_limit\]\n", notes[0].text)
    assert lines[0].text.startswith(b"00000000 ")
    assert lines[-1].text.startswith(b"00099999 ")
    assert all(one.end == other.start for one, other in pairwise(lines))
    assert lines[-1].end == log.stat().st_size == 10_000_000
    assert sum(line.end - line.start for line in lines if not line.dropped) < 1_000_000 + BLOCK
    assert bytes_taken(log) < 1_000_000 + 2 * BLOCK


def test_of_what_is_dropped_while_it_is_read_no_zero_is_shown(tmp_path):
    log = tmp_path / "log"
    stop = threading.Event()
    limit = LogLimit(log, 1_000_000)

    def flood() -> None:
        number = 0
        while not stop.is_set():
            write_numbers(log, number, number + 2_000)
            number += 2_000
            limit.tick()

    log.touch()
    writer = threading.Thread(target=flood)
    writer.start()
    try:
        gaps = 0
        while gaps < 10:
            for line in read_lines(log, 0):
                gaps += bool(line.dropped)
                assert b"\0" not in line.text
    finally:
        stop.set()
        writer.join()


def test_where_no_hole_can_be_made_the_log_grows_and_somebody_is_told(
    tmp_path, monkeypatch, caplog
):
    def refuse(path, *_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported", str(path))

    monkeypatch.setattr(log_limit, "punch_hole", refuse)
    log = tmp_path / "log"
    write_numbers(log, 20_000)
    limit = LogLimit(log, 1_000_000)

    limit.tick()
    limit.tick()

    assert log.stat().st_size == 2_000_000
    (told,) = caplog.messages
    assert "is not kept within its limit: Operation not supported" in told


def test_a_log_that_is_not_there_yet_is_looked_at_again(tmp_path):
    limit = LogLimit(tmp_path / "log", 1_000_000)
    limit.tick()
    write_numbers(tmp_path / "log", 20_000)

    limit.tick()

    assert bytes_taken(tmp_path / "log") < 1_100_000


def test_the_log_of_a_command_that_floods_it_is_bounded_and_can_be_read(home, write_job, maejobs):
    write_job("night", python(FLOOD) + 'log_limit = "2MB"\n')

    assert execute(home, "night", "manual").exit_code == 0

    log = Path(only_run(home, "night").directory, "log")
    assert log.stat().st_size == 100_000_000
    assert bytes_taken(log) < 2_100_000
    done = maejobs("logs", "night")
    numbers = [int(line[:8]) for line in done.stdout.splitlines() if re.match(r"\d{8} x+$", line)]
    assert numbers[0] == 0
    assert numbers[-1] == 99_999
    assert "[maejobs: 98.0 MB dropped here, see log_limit]\n" in done.stdout
    assert len(done.stdout) < 2_100_000


def test_events_without_end_are_bounded_and_their_outcome_is_found(home, write_job, monkeypatch):
    monkeypatch.setattr(attempt, "MOST_BYTES", 400_000)
    for name, value in (("HEAD_BYTES", 100_000), ("TAIL_BYTES", 300_000)):
        monkeypatch.setattr(events, name, value)
    for name, value in (("CHUNK", 50_000), ("LONGEST_LINE", 20_000)):
        monkeypatch.setattr(events, name, value)
    write_job("night", python(TELLS_WITHOUT_END))
    assert execute(home, "night", "manual").exit_code == 0
    run = only_run(home, "night")
    stream = Path(run.directory, "events.jsonl")
    assert stream.stat().st_size > 2_500_000
    assert bytes_taken(stream) < 500_000
    assert run.outcome == "completed"
    (steps,) = rows(home, "SELECT min(step) AS first, max(step) AS last FROM metrics")
    assert steps == {"first": 0, "last": 39_999}


@needs_root
def test_on_a_full_disk_the_middle_gives_room_for_what_comes(tmp_path):
    log = tmp_path / "log"
    with small_disk(tmp_path, "2m"):
        fill(log, b"first\n" * 1000)
        LogLimit(log, 1_000_000).tick()
        with log.open("ab") as file:
            file.write(b"\nlast\n")

        assert [line.text for line in read_lines(log, 0)][-1] == b"last\n"
        assert bytes_taken(log) < 1_100_000
