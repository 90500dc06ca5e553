"""The log's bytes in one file, their times in another."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import shell

from maejobs.supervise.execute import execute
from maejobs.supervise.log import LogClock, read_times, thinned, time_at

EVENING = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "log", tmp_path / "log.times"


def test_growth_is_noted_with_the_offset_at_which_it_began(files):
    log, times = files
    clock = LogClock(log, times)
    clock.tick()  # there is no log yet
    log.write_text("first\n")
    clock.tick()
    clock.tick()  # nothing new
    with log.open("a") as file:
        file.write("second\n")
    clock.close()

    pairs = read_times(times)

    assert [offset for offset, _ in pairs] == [0, 6]
    assert abs(pairs[0][1] - datetime.now(UTC)) < timedelta(minutes=1)
    assert times.stat().st_mode & 0o777 == 0o600


def test_in_a_rehearsal_the_times_are_the_pretended_ones(files, monkeypatch):
    monkeypatch.setenv("MAEJOBS_CLOCK_SHIFT", "86400")
    log, times = files
    log.write_text("x")

    LogClock(log, times).close()

    ((_, at),) = read_times(times)
    assert timedelta(hours=23) < at - datetime.now(UTC) < timedelta(hours=25)


def test_times_that_cannot_be_written_cost_nothing_else(files):
    log, times = files
    times.mkdir()
    log.write_text("x")

    clock = LogClock(log, times)
    clock.tick()
    clock.close()


def test_broken_lines_are_left_out(files):
    _, times = files
    times.write_text("0 1000.5\nnonsense\n7\n9 1e400\n12 2000.0\n20 30")  # torn by a crash

    assert [offset for offset, _ in read_times(times)] == [0, 12, 20]
    assert read_times(times.with_name("none")) == []


def test_before_the_first_note_no_time_is_known():
    assert time_at([(10, EVENING)], 9) is None
    assert time_at([], 0) is None


@given(st.sets(st.integers(0, 1000), min_size=1), st.integers(0, 1100))
def test_a_byte_came_with_the_last_note_at_or_before_it(offsets, offset):
    pairs = [(o, EVENING + timedelta(seconds=o)) for o in sorted(offsets)]
    before = [at for o, at in pairs if o <= offset]

    assert time_at(pairs, offset) == (before[-1] if before else None)


def test_the_times_of_output_without_a_pause_stay_small_and_true(files, monkeypatch):
    monkeypatch.setattr("maejobs.supervise.log.LARGEST", 10_000)
    log, times = files
    moment = EVENING.timestamp()
    true = []
    with log.open("ab", buffering=0) as file:
        clock = LogClock(log, times)
        for tick in range(5_000):
            moment += 600 if tick in (1_000, 4_000) else 0.5
            monkeypatch.setattr("time.time", lambda moment=moment: moment)
            true.append((file.tell(), datetime.fromtimestamp(moment, UTC)))
            file.write(b"x")
            clock.tick()
            assert times.stat().st_size <= 10_030
        clock.close()

    pairs = read_times(times)

    assert pairs[0] == true[0]
    assert {true[1_000], true[4_000], true[-1]} <= set(pairs)
    errors = [at - time_at(pairs, offset) for offset, at in true]
    assert timedelta(0) <= min(errors)
    assert max(errors) < timedelta(seconds=20)  # of 62 minutes


def test_on_a_full_disk_the_times_go_on_unthinned(files, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("maejobs.supervise.log.LARGEST", 100)
    monkeypatch.setattr("maejobs.supervise.log.write_atomically", full)
    log, times = files
    clock = LogClock(log, times)
    for tick in range(20):
        log.write_text("x" * (tick + 1))
        clock.tick()
    clock.close()

    assert [offset for offset, _ in read_times(times)] == list(range(20))


@given(st.lists(st.floats(-1e6, 1e6), max_size=60), st.integers(0, 70))
def test_what_is_thinned_is_part_of_what_was_in_order_and_few(seconds, most):
    pairs = [(n, EVENING + timedelta(seconds=s)) for n, s in enumerate(seconds)]

    kept = thinned(pairs, most)

    assert len(kept) <= max(most, 1)
    assert kept == sorted(set(kept) & set(pairs))
    assert kept[:1] == pairs[:1]


def test_a_runs_lines_can_be_dated(home, write_job):
    write_job("talk", shell("echo early; sleep 1.2; echo late >&2"))

    run = execute(home, "talk", "manual").run

    log, pairs = (
        Path(run.directory, "log").read_bytes(),
        read_times(Path(run.directory, "log.times")),
    )
    assert log == b"early\nlate\n"
    gap = time_at(pairs, log.index(b"late")) - time_at(pairs, 0)
    assert timedelta(seconds=0.5) < gap < timedelta(seconds=10)
