"""Which slots are made up for; and that none is run twice, by real processes that race."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
import time_machine
from recorded_runs import NIGHT
from running import directories, only_run, runs_of, shell, wait_for

from maejobs import clock
from maejobs.cron.block import Entry, exec_command, render_block
from maejobs.cron.fires import ZONE_VARIABLE
from maejobs.errors import EXIT_NOT_NOW, NotNow
from maejobs.jobs.model import Job
from maejobs.privilege import Owner
from maejobs.rundb.database import open_database
from maejobs.rundb.record import set_job
from maejobs.rundb.run import CATCH_UP, FAILED, MISSED, SUCCEEDED, UNKNOWN
from maejobs.supervise.execute import execute
from maejobs.watch.catch_up import Newest, is_caught_up
from maejobs.watch.reconcile import Findings, reconcile

HOUR = timedelta(hours=1)
ASKS = 'catch_up = "latest"\n'


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    monkeypatch.setenv(ZONE_VARIABLE, "UTC")


# What is known in, the verdict out


def job(**keys) -> Job:
    return Job(name="night", command=["true"], **{"catch_up": "latest"} | keys)


def caught_up(after: timedelta, asked: Job | None = None, **known) -> bool:
    newest = {"state": MISSED, "next_slot": None, "last_success": None, "held": False} | known
    return is_caught_up(asked or job(), Newest(NIGHT, **newest), NIGHT + after, UTC)


@pytest.mark.parametrize(("state", "verdict"), [(MISSED, True), (UNKNOWN, True), (FAILED, False)])
def test_a_slot_that_nobody_started_is_made_up_for(state, verdict):
    assert caught_up(HOUR, state=state) is verdict


def test_a_job_that_does_not_ask_for_it_is_let_be():
    assert not caught_up(HOUR, job(catch_up="none"))
    assert Job(name="night", command=["true"]).catch_up == "none"


def test_not_when_it_is_too_late_for_that():
    assert caught_up(12 * HOUR)
    assert not caught_up(12.1 * HOUR)
    assert not caught_up(3 * HOUR, job(catch_up_within=2 * HOUR))


def test_not_past_the_deadline():
    asked = job(until=time(6, 0))
    assert caught_up(3.9 * HOUR, asked)
    assert not caught_up(4 * HOUR, asked)
    assert caught_up(4 * HOUR, job(timeout=HOUR))


def test_not_while_a_run_goes_on_or_the_job_is_paused():
    assert not caught_up(HOUR, held=True)


def test_not_when_the_next_slot_has_come():
    assert caught_up(HOUR, next_slot=NIGHT + 1.1 * HOUR)
    assert not caught_up(HOUR, next_slot=NIGHT + HOUR)


def test_not_after_a_run_by_hand_that_ended_well():
    assert caught_up(HOUR, last_success=NIGHT - 24 * HOUR)
    assert not caught_up(HOUR, last_success=NIGHT + HOUR / 2)


# Real processes


def schedule(home, *jobs: str) -> datetime:
    """Put the jobs into the crontab for a minute an hour ago, scheduled since before; that slot."""
    slot = (clock.now() - HOUR).replace(second=0, microsecond=0)
    text = f"{slot.minute} {slot.hour} * * *"
    executable = Path("/opt/venv/bin/maejobs")
    entries = [Entry(name, text, exec_command(executable, name, home.root)) for name in jobs]
    Path(home.crontab).write_bytes(render_block(entries))
    with time_machine.travel(slot - HOUR, tick=False):
        reconcile(home)
    return slot


def ended(home, count: int) -> list:
    """The rows of the runs that were to be caught up with, once `count` of them have ended."""

    def all_ended() -> list:
        found = runs_of(home)
        return found if sum(run.state in (SUCCEEDED, FAILED) for run in found) == count else []

    return wait_for(all_ended, 60)


@pytest.fixture
def started(monkeypatch):
    """The pids of what reconcile starts within this process; waited for in the end."""
    pids: list[int] = []
    spawn = os.posix_spawn

    def remember(*arguments, **options) -> int:
        pids.append(spawn(*arguments, **options))
        return pids[-1]

    monkeypatch.setattr(os, "posix_spawn", remember)
    yield pids
    for pid in pids:
        os.waitpid(pid, 0)


@pytest.mark.both_databases
def test_the_newest_missed_slot_is_run_once_and_known_as_such(home, write_job, started):
    write_job("night", shell("echo $MAEJOBS_RUN_ID") + ASKS)
    slot = schedule(home, "night")
    name = f"night-{slot:%Y%m%dT%H%MZ}-1"
    would = reconcile(home, dry_run=True)
    assert (would.started, started) == ([name], [])
    assert runs_of(home) == []

    found = reconcile(home)
    assert (found.started, [*found.missed, *found.unknown]) == ([name], [name])
    (run,) = ended(home, 1)
    assert (run.id, run.slot, run.trigger) == (name, slot, CATCH_UP)
    assert (run.state, run.reason) == (SUCCEEDED, None)
    assert (Path(run.directory) / "log").read_text() == f"{name}\n"
    assert reconcile(home) == Findings()


def test_a_job_that_does_not_ask_or_is_paused_starts_nothing(home, write_job, started):
    write_job("night", shell("true"))
    write_job("paused", shell("true") + ASKS)
    schedule(home, "night", "paused")
    with open_database(home) as engine:
        set_job(engine, "paused", paused_since=clock.now())
    assert reconcile(home).started == []


def test_a_slot_whose_run_ended_badly_is_not_made_up_for(home, write_job, started):
    write_job("night", shell("false") + ASKS)
    schedule(home, "night")
    reconcile(home)
    ended(home, 1)
    assert reconcile(home).started == []


def test_a_slot_to_come_that_a_clock_ahead_has_noted_is_not_made_up_for(home, write_job, started):
    write_job("night", shell("true") + ASKS)
    slot = schedule(home, "night")
    with time_machine.travel(slot + timedelta(days=2, hours=1), tick=False):
        assert len(reconcile(home, catch_up=False).missed) == 3
    assert reconcile(home).started == [f"night-{slot:%Y%m%dT%H%MZ}-1"]
    ended(home, 1)
    assert reconcile(home).started == []


def test_somebody_elses_home_gets_no_runs_of_roots(home, write_job, started, monkeypatch):
    write_job("night", shell("true") + ASKS)
    schedule(home, "night")
    monkeypatch.setattr("maejobs.watch.slots.owner_of", lambda path: Owner(99, 99))
    assert reconcile(home).started == []


# Races


class Race:
    """What is done in processes of their own, all at once; each ends when its children have."""

    def __init__(self, *runners: Callable[[], object]) -> None:
        gun, fire = os.pipe()
        pids = [self._start(runner, gun, fire) for runner in runners]
        os.close(gun)
        os.close(fire)
        self.codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]

    def _start(self, runner: Callable[[], object], gun: int, fire: int) -> int:
        if pid := os.fork():
            return pid
        code = 99
        try:
            os.close(fire)
            os.read(gun, 1)
            runner()
            code = 0
            while True:
                os.wait()
        except ChildProcessError:
            pass
        except NotNow as no:
            code = no.exit_code
        finally:
            os._exit(code)


@pytest.mark.fault
def test_two_reconciliations_at_once_start_each_of_ten_slots_once(home, write_job, tmp_path):
    """The commands fail: a slot that was run badly must not be run by whoever comes second."""
    names = [f"night{n}" for n in range(10)]
    for name in names:
        write_job(name, shell(f"echo started >> {tmp_path}/{name}; exit 1") + ASKS)
    schedule(home, *names)

    race = Race(lambda: reconcile(home), lambda: reconcile(home))

    assert race.codes == [0, 0]
    for name in names:
        assert (tmp_path / name).read_text() == "started\n"
        assert (only_run(home, name).trigger, only_run(home, name).state) == (CATCH_UP, FAILED)
        assert len(directories(home, name)) == 1


@pytest.mark.fault
def test_a_late_call_of_cron_and_a_catch_up_run_each_of_ten_slots_once(home, write_job, tmp_path):
    names = [f"night{n}" for n in range(10)]
    for name in names:
        write_job(name, shell(f"echo started >> {tmp_path}/{name}; sleep 0.2"))
        race = Race(
            *(lambda trigger=trigger: execute(home, name, trigger, NIGHT)  # noqa: B023
              for trigger in ("cron", CATCH_UP))
        )  # fmt: skip
        assert sorted(race.codes) == [0, EXIT_NOT_NOW]
        assert (tmp_path / name).read_text() == "started\n"
        assert only_run(home, name).state == SUCCEEDED


@pytest.mark.fault
def test_a_catch_up_that_comes_after_a_late_call_of_cron_has_failed_is_refused(home, write_job):
    write_job("night", shell("false"))
    execute(home, "night", "cron", NIGHT)
    with pytest.raises(NotNow, match="has been run"):
        execute(home, "night", CATCH_UP, NIGHT)
    assert only_run(home, "night").trigger == "cron"


def test_what_is_caught_up_with_is_retried_like_any_run(home, write_job):
    write_job("night", shell("false") + 'retries = 1\nretry_delay = "0s"\n')
    execute(home, "night", CATCH_UP, NIGHT)
    assert [(run.attempt, run.trigger) for run in runs_of(home)] == [(1, CATCH_UP), (2, "retry")]
