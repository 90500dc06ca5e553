"""What must hold before a command starts."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Timer

import pytest
from recorded_runs import a_run
from running import wait_for

from maejobs.errors import NotNow
from maejobs.jobs.load import parse_job
from maejobs.supervise import gates
from maejobs.supervise.gates import (
    check_pause,
    check_window,
    take_locks,
)
from maejobs.supervise.locks import acquire

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)


def job(name: str = "night", text: str = ""):
    return parse_job(Path(f"{name}.toml"), name, f'command = ["true"]\n{text}')


def take(home, job, patience: float = 0.0, give_up=lambda: False, called: float = 1.0):
    run = a_run(job.name, id=f"{job.name}-1", boot_id="b", supervisor_started=called)
    return take_locks(home, job, run, patience, give_up)


def test_a_job_that_is_not_paused_passes(home):
    check_pause(home, "night")


def test_a_paused_job_does_not_start_and_says_why(home):
    home.pause_file("night").write_text('{"reason": "new disks"}')

    with pytest.raises(NotNow, match="night is paused: new disks; `maejobs resume night`") as no:
        check_pause(home, "night")
    assert no.value.reason == "paused"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"reason": null}', '"x"', "\xfc"])
def test_a_pause_without_a_readable_reason_is_a_pause(home, text):
    home.pause_file("night").write_text(text, encoding="latin-1")

    with pytest.raises(NotNow, match="night is paused"):
        check_pause(home, "night")


def test_a_deadline_that_has_come_is_outside_the_window():
    check_window(None, NOW)
    check_window(NOW + timedelta(seconds=1), NOW)
    with pytest.raises(NotNow, match="its deadline was 2026-11-24 02:00 UTC") as no:
        check_window(NOW, NOW)
    assert no.value.reason == "outside_window"


def test_a_second_run_of_a_job_is_an_overlap(home):
    held, _ = take(home, job())
    with held, pytest.raises(NotNow, match="night still runs: night-1") as no:
        take(home, job())
    assert no.value.reason == "overlap"

    take(home, job())[0].close()


def test_jobs_that_share_a_lock_exclude_each_other(home):
    held, _ = take(home, job("night", 'locks = ["gpu0", "campaign"]'))
    with held:
        with pytest.raises(NotNow, match="night-1 holds the lock gpu0") as no:
            take(home, job("evaluate", 'locks = ["gpu0"]'))
        take(home, job("backup", 'locks = ["disk"]'))[0].close()
    assert no.value.reason == "locked"


def test_all_its_locks_together_are_waited_for_so_long(home):
    names = ("job-night", "lock-a", "lock-b")
    held = [acquire(home.locks_dir / f"{name}.lock", "somebody") for name in names]
    for number, lock in enumerate(held, 1):
        Timer(0.15 * number, lock.release).start()

    with pytest.raises(NotNow) as no:
        take(home, job(text='locks = ["a", "b"]\noverlap = "wait"'), patience=0.25)

    assert no.value.reason == "locked"
    wait_for(lambda: acquire(home.locks_dir / "lock-b.lock", "another"))


def test_who_is_told_to_stop_replaces_nobody(home, monkeypatch):
    monkeypatch.setattr(gates, "stop_run", lambda *_: pytest.fail("the first is stopped"))
    monkeypatch.setattr(gates, "read_record", lambda _: a_run())
    held, _ = take(home, job())
    with held, pytest.raises(NotNow):
        take(home, job(text='overlap = "replace"'), patience=1.0, give_up=lambda: True)


def test_one_called_later_is_not_replaced_as_by_another_try_of_an_earlier_run(home, monkeypatch):
    stopped = []
    monkeypatch.setattr(gates, "stop_run", lambda *_: bool(stopped.append(1)))
    later = a_run(boot_id="b", supervisor_started=2.0)
    monkeypatch.setattr(gates, "read_record", lambda _: later)
    replaces = job(text='overlap = "replace"')
    held, _ = take(home, job())
    with held:
        with pytest.raises(NotNow, match="night still runs"):
            take(home, replaces, patience=5)
        assert not stopped
        with pytest.raises(NotNow):
            take(home, replaces, patience=0.5, called=3.0)
        assert stopped == [1]  # once, however often it looks


def test_who_does_not_get_all_locks_keeps_none(home):
    with acquire(home.locks_dir / "lock-b.lock", "somebody"), pytest.raises(NotNow):
        take(home, job(text='locks = ["a", "b", "c"]'))

    held, locks = take(home, job(text='locks = ["c", "a", "b", "a"]'))
    with held:
        assert [lock.path.name for lock in locks] == [
            "job-night.lock",
            "lock-a.lock",
            "lock-b.lock",
            "lock-c.lock",
        ]


def test_locks_of_gpus_are_taken_last_as_by_who_asks_for_any(home):
    held, locks = take(home, job(text='locks = ["gpu1", "store", "gpu0", "gpus"]'))
    with held:
        names = [lock.path.stem.removeprefix("lock-") for lock in locks[1:]]
    assert names == ["gpus", "store", "gpu0", "gpu1"]


def test_only_who_wants_to_wait_waits(home):
    asked = []
    with acquire(home.locks_dir / "lock-a.lock", "somebody"):
        for overlap in ("skip", "replace", "wait"):
            with pytest.raises(NotNow):
                take(
                    home,
                    job(text=f'locks = ["a"]\noverlap = "{overlap}"'),
                    patience=0.1,
                    give_up=lambda overlap=overlap: bool(asked.append(overlap)),
                )
    assert set(asked) == {"wait"}
