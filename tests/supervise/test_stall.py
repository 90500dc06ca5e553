"""Signs of life: who gives none for long enough is stopped."""

from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import ORDERLY, STUBBORN, log_of, only_run, runs_of, shell
from small_disk import fill, needs_root, small_disk

from maejobs.supervise.execute import execute
from maejobs.supervise.stall import LONGEST_LOOK_SECONDS, Silence, Watchdog

BEAT = 'echo \'{"event": "progress", "step": 1}\' >> "$MAEJOBS_EVENTS"; '
LOOKS = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=30)


def test_silence_is_counted_from_the_last_byte_of_the_log_where_there_is_no_stream():
    silence = Silence(100.0)

    assert silence.look(101.0, events=0, log=0) == 1.0
    assert silence.look(102.0, events=0, log=5) == 0.0
    assert silence.look(104.0, events=0, log=5) == 2.0


def test_once_there_is_a_stream_only_its_bytes_count():
    silence = Silence(100.0)

    assert silence.look(101.0, events=7, log=5) == 0.0
    assert silence.look(103.0, events=7, log=9) == 2.0
    assert silence.look(104.0, events=8, log=9) == 0.0


def test_time_in_which_we_were_held_up_ourselves_is_not_silence():
    silence = Silence(100.0)

    assert silence.look(100.0 + 8 * 3600, events=0, log=0) == LONGEST_LOOK_SECONDS


@given(LOOKS)
def test_without_a_byte_silence_is_all_the_time_there_was(steps):
    silence = Silence(0.0)

    for now in accumulate(steps):
        silent = silence.look(now, 0, 0)

    assert silent == pytest.approx(sum(steps))


@given(LOOKS, st.data())
def test_silence_is_never_longer_than_since_the_last_byte(steps, data):
    silence, size, last = Silence(0.0), 0, 0.0

    for now in accumulate(steps):
        if grown := data.draw(st.integers(0, 2)):
            size, last = size + grown, now
        assert silence.look(now, size, 0) == pytest.approx(now - last)


def test_a_command_without_a_sign_of_life_is_stopped_in_good_order_and_has_failed(home, write_job):
    write_job("night", shell(ORDERLY) + 'stall_after = "1.5s"\ninfrastructure_retries = 0\n')

    execute(home, "night", "manual")

    run = only_run(home, "night")
    assert (run.state, run.exit_code) == ("failed", 0)
    assert run.reason == "stalled, and was told to stop; exit code 0"
    assert log_of(home, "night").endswith("stopping\n")


def test_one_that_does_not_stop_either_is_killed(home, write_job):
    write_job(
        "night",
        shell(STUBBORN) + 'stall_after = "1s"\ninfrastructure_retries = 0\ngrace = "0.3s"\n',
    )

    execute(home, "night", "manual")

    assert only_run(home, "night").reason == "stalled, and was told to stop; ended by SIGKILL"


@pytest.mark.parametrize("sign", [BEAT, "echo; "], ids=["events", "output"])
def test_who_gives_signs_of_life_is_left_alone(home, write_job, sign):
    write_job(
        "night", shell(f"for i in 1 2 3 4 5 6; do {sign} sleep 0.5; done") + "stall_after=2\n"
    )

    execute(home, "night", "manual")

    assert only_run(home, "night").state == "succeeded"


def test_who_prints_but_no_longer_tells_how_it_gets_on_has_stalled(home, write_job):
    write_job(
        "night",
        shell(BEAT + "while :; do echo again; sleep 0.1; done")
        + "stall_after = 1\ninfrastructure_retries = 0\n",
    )

    execute(home, "night", "manual")

    assert only_run(home, "night").reason.startswith("stalled")


def test_a_stalled_run_is_tried_again_if_its_job_allows(home, write_job):
    once = "[ -e $MAEJOBS_HOME/ran ] && exit 0; touch $MAEJOBS_HOME/ran; exec sleep 60"
    write_job(
        "night", shell(once) + 'stall_after = 1\ninfrastructure_retries = 1\nretry_delay = "0s"\n'
    )

    assert execute(home, "night", "manual").run.state == "succeeded"
    assert [run.state for run in runs_of(home, "night")] == ["failed", "succeeded"]


@needs_root
def test_on_a_full_disk_nobody_is_said_to_be_silent(tmp_path: Path):
    with small_disk(tmp_path, "64k"):
        watchdog = Watchdog(tmp_path / "events", tmp_path / "log", patience=0.0)
        fill(tmp_path / "much")
        assert not watchdog.stalled()

        (tmp_path / "much").unlink()
        assert watchdog.stalled()
        assert list(tmp_path.iterdir()) == []
