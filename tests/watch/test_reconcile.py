"""Reconciliation on real processes, a real crontab file and a clock that is moved."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import psutil
import pytest
import time_machine
from databases import away, take_away, told_of_absence
from recorded_runs import NIGHT, a_run, at_home, row, rows
from running import SLOT, Supervisor, end_of, runs_of, shell, wait_for

from maejobs.cron.block import Entry, exec_command, render_block
from maejobs.cron.fires import ZONE_VARIABLE
from maejobs.cron.schedule import RECONCILE
from maejobs.cron.target import open_target
from maejobs.cron.zone import zone_of_slots
from maejobs.daemon.alone import only_daemon
from maejobs.daemon.marks import heartbeat_file, write_heartbeat
from maejobs.home import Home
from maejobs.launch.process import boot_id, host_name, start_time
from maejobs.notify import unpinged
from maejobs.rundb import events
from maejobs.rundb.database import DatabaseUnavailable, open_database
from maejobs.rundb.directory import keep_record, keep_stopped_by
from maejobs.rundb.events import EVENTS_NAME
from maejobs.rundb.record import write_run
from maejobs.rundb.run import (
    CANCELLED,
    FAILED,
    LOOK_BACK,
    LOST,
    MISSED,
    QUEUED,
    RUNNING,
    SKIPPED,
    SUCCEEDED,
    UNKNOWN,
)
from maejobs.rundb.spool import spool_run, spooled_runs
from maejobs.supervise.cancel import find_record
from maejobs.supervise.locks import acquire
from maejobs.supervise.slot import scheduled_expressions, slot_of
from maejobs.watch import renamed
from maejobs.watch.reconcile import Findings, reconcile
from maejobs.watch.untold import untold_runs

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
NIGHTLY = "0 2 * * *"
WATCH = (RECONCILE, "2-59/5 * * * *")
NOBODY = {"pid": 2**22 + 1, "pid_started": 1.0}


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    monkeypatch.setenv(ZONE_VARIABLE, "UTC")


@pytest.fixture
def process():
    """A process that lives until the test is over or kills it."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield child
    child.kill()
    child.wait(30)


def kill(child: subprocess.Popen) -> None:
    os.kill(child.pid, signal.SIGKILL)
    child.wait(30)


def supervised_by(child: subprocess.Popen) -> dict:
    return {"supervisor_pid": child.pid, "supervisor_started": start_time(child.pid)}


def record(home: Home, **fields):
    """A run of this host and boot in the database, its directory made."""
    run = a_run(host=host_name(), boot_id=fields.pop("boot_id", boot_id()), **fields)
    run.directory = str(at_home(home, run.id))
    with open_database(home) as engine:
        write_run(engine, run)
    return run


def of_a_container_before(home: Home, **fields):
    """A run with its record in this home, of a host that had another name."""
    run = a_run(host="f00dcafe", boot_id=boot_id(), **fields, **NOBODY)
    run.directory = str(at_home(home, run.id))
    keep_record(Path(run.directory), run)
    with open_database(home) as engine:
        write_run(engine, run)
    return run


def tell(run, *lines: str) -> None:
    (Path(run.directory) / EVENTS_NAME).write_text("".join(line + "\n" for line in lines))


def schedule(home: Home, *jobs: tuple[str, str], of: Home | None = None) -> None:
    """Make the crontab hold these (job, expression), of this home or another."""
    executable = Path("/opt/venv/bin/maejobs")
    owner = (of or home).root
    entries = [Entry(job, text, exec_command(executable, job, owner)) for job, text in jobs]
    Path(home.crontab).write_bytes(render_block(entries))


def at(moment: datetime, home: Home):
    with time_machine.travel(moment, tick=False):
        return reconcile(home)


def missed(home: Home, state: str = MISSED) -> list[datetime]:
    found = rows(home, f"SELECT slot FROM runs WHERE state = '{state}' ORDER BY slot")
    return [datetime.fromtimestamp(r["slot"], UTC) for r in found]


# Runs whose process is gone


def test_a_run_whose_supervisor_lives_is_left_alone(home, process):
    record(home, **supervised_by(process))
    assert reconcile(home).lost == []
    assert row(home, "SELECT state FROM runs") == {"state": RUNNING}


@pytest.mark.both_databases
@pytest.mark.fault
def test_a_run_whose_processes_were_killed_is_lost(home, process):
    run = record(home, **supervised_by(process), **NOBODY)
    kill(process)
    assert reconcile(home).lost == [run.id]
    found = row(home, "SELECT state, failure_class, reason, finished FROM runs")
    assert (found["state"], found["failure_class"]) == (LOST, LOST)
    assert found["reason"] == "its process is gone"
    assert abs(found["finished"] - time.time()) < 60
    assert reconcile(home).lost == []


@pytest.mark.fault
def test_a_run_whose_command_lives_on_is_left_alone_until_that_ends(home, process):
    run = record(home, supervisor_pid=2**22 + 1, supervisor_started=1.0, pid=process.pid,
                 pid_started=start_time(process.pid))  # fmt: skip
    assert reconcile(home).lost == []
    kill(process)
    assert reconcile(home).lost == [run.id]


@pytest.mark.fault
def test_another_process_with_the_same_pid_is_not_taken_for_the_run_s(home, process):
    run = record(
        home,
        supervisor_pid=process.pid,
        supervisor_started=psutil.Process(process.pid).create_time() - 100,
    )
    assert reconcile(home).lost == [run.id]


@pytest.mark.fault
def test_a_run_of_before_the_last_boot_is_lost(home, process):
    run = record(home, boot_id="another-boot", **supervised_by(process))
    assert reconcile(home).lost == [run.id]
    assert row(home, "SELECT reason FROM runs") == {"reason": "the host restarted"}


def test_a_queued_run_whose_supervisor_died_is_lost_too(home):
    run = record(home, state=QUEUED, started=None)
    assert reconcile(home).lost == [run.id]


def test_a_run_of_another_host_is_that_host_s_to_judge(home):
    with open_database(home) as engine:
        write_run(engine, a_run(host="elsewhere", boot_id="another-boot"))
    assert reconcile(home).lost == []


@pytest.mark.fault
@pytest.mark.parametrize("state", [RUNNING, QUEUED])
def test_a_run_of_this_host_by_a_name_that_it_had_before_is_lost(home, inside, state):
    run = of_a_container_before(home, state=state)

    assert reconcile(home).lost == [run.id]

    done = inside("cancel", run.id)
    assert f"{run.id} is not running: lost" in done.stderr
    assert reconcile(home).lost == []


def test_a_run_of_a_container_beside_this_one_is_left_alone(home):
    of_a_container_before(home)
    with acquire(home.locks_dir / "job-pretrain.lock", "the one beside"):
        assert reconcile(home).lost == []


def test_its_end_is_told_if_nobody_has_told_it(home):
    run = of_a_container_before(home, state=FAILED)
    unpinged.note(home, run)
    with acquire(home.locks_dir / "job-pretrain.lock", "the one beside"):
        assert untold_runs(home, None) == []
    assert untold_runs(home, None) == [run]


def test_a_run_on_a_disk_that_other_hosts_write_to_is_left_alone(home, monkeypatch):
    of_a_container_before(home)
    monkeypatch.setattr(renamed, "why_refused", lambda path: "NFS")
    assert reconcile(home).lost == []


@pytest.mark.fault
def test_a_clock_that_is_not_set_yet_judges_nobody(home, caplog):
    schedule(home, ("pretrain", NIGHTLY), WATCH)
    at(NIGHT + HOUR, home)
    run = record(home, night=1, boot_id="before")
    before = row(home, "SELECT * FROM jobs")

    assert at(datetime(2010, 1, 1, tzinfo=UTC), home) == Findings()

    assert "the host's clock says 2010-01-01" in caplog.text
    assert row(home, "SELECT * FROM jobs") == before
    found = at(NIGHT + DAY + HOUR, home)
    assert (found.lost, found.missed, found.unknown) == ([run.id], [], [])


@pytest.mark.fault
@pytest.mark.parametrize("status", ["completed", "paused"])
@pytest.mark.parametrize("state", [RUNNING, QUEUED])
def test_a_run_that_told_of_a_good_end_has_succeeded(home, process, status, state):
    run = record(home, state=state, **supervised_by(process))
    tell(run, '{"event": "progress", "step": 9}', f'{{"event": "outcome", "status": "{status}"}}')
    kill(process)
    findings = reconcile(home)
    assert (findings.ended_well, findings.lost) == ([run.id], [])
    assert row(home, "SELECT state, outcome, step FROM v_runs") == {
        "state": SUCCEEDED,
        "outcome": status,
        "step": 9,
    }
    assert row(home, "SELECT last_state, last_outcome FROM v_jobs") == {
        "last_state": SUCCEEDED,
        "last_outcome": status,
    }


@pytest.mark.fault
def test_what_there_was_no_time_for_is_taken_up_by_the_next_call(home, monkeypatch):
    runs = [record(home, night=night, **NOBODY) for night in range(2)]
    line = '{"event": "metric", "name": "loss", "value": 1}'
    for run in runs:
        tell(run, *3 * [line], '{"event": "outcome", "status": "completed"}')
    monkeypatch.setattr(events, "CHUNK", len(line) + 5)
    monkeypatch.setattr("maejobs.watch.reconcile.LONGEST_SECONDS", 0.0)
    before = rows(home, "SELECT * FROM runs")
    assert reconcile(home, dry_run=True).ended_well == [run.id for run in runs]
    assert (rows(home, "SELECT * FROM runs"), spooled_runs(home.spool_dir)) == (before, [])
    assert reconcile(home).ended_well == [run.id for run in runs]
    assert row(home, "SELECT count(*) AS n FROM metrics") == {"n": 2}
    monkeypatch.setattr("maejobs.watch.reconcile.LONGEST_SECONDS", 60.0)
    assert reconcile(home).taken_up == [run.id for run in runs]
    assert row(home, "SELECT count(*) AS n FROM metrics") == {"n": 6}
    assert rows(home, "SELECT state FROM runs") == 2 * [{"state": SUCCEEDED}]


def test_a_run_that_told_of_a_bad_end_is_lost_but_what_it_told_is_kept(home):
    run = record(home)
    tell(run, '{"event": "outcome", "status": "diverged"}', '{"event": "note", "text": "bye"}')
    assert reconcile(home).lost == [run.id]
    assert row(home, "SELECT outcome FROM runs") == {"outcome": "diverged"}
    assert row(home, "SELECT count(*) n FROM events") == {"n": 2}


@pytest.mark.fault
def test_one_run_whose_events_cannot_be_read_does_not_hide_the_others(home):
    first, second = record(home, night=0), record(home, night=1)
    (Path(first.directory) / EVENTS_NAME).mkdir()
    assert reconcile(home).lost == [first.id, second.id]


def test_a_command_that_lived_on_unseen_and_ended_well_is_lost_no_more(home):
    run = record(home, night=(datetime.now(UTC) - NIGHT).days)
    assert reconcile(home).lost == [run.id]
    assert reconcile(home).lost == []
    tell(run, '{"event": "progress", "step": 9}', '{"event": "outcome", "status": "completed"}')
    assert reconcile(home, dry_run=True).ended_well == [run.id]
    assert reconcile(home).ended_well == [run.id]
    assert row(home, "SELECT state, step, failure_class FROM runs") == {
        "state": SUCCEEDED,
        "step": 9,
        "failure_class": None,
    }
    assert reconcile(home).ended_well == []


def test_a_run_that_somebody_had_stopped_is_cancelled_and_not_lost(home):
    stopped = record(home, night=(datetime.now(UTC) - NIGHT).days)
    keep_stopped_by(Path(stopped.directory), "us")
    tell(stopped, '{"event": "outcome", "status": "paused"}')

    assert reconcile(home, dry_run=True).cancelled == [stopped.id]
    assert reconcile(home) == Findings(cancelled=[stopped.id])
    assert row(home, "SELECT state, reason, failure_class FROM runs") == {
        "state": CANCELLED,
        "reason": "stopped by us",
        "failure_class": None,
    }
    assert reconcile(home) == Findings()


def test_one_that_was_held_to_be_lost_and_stopped_then_is_cancelled(home):
    run = record(home, night=(datetime.now(UTC) - NIGHT).days)
    assert reconcile(home).lost == [run.id]
    keep_stopped_by(Path(run.directory), "us")
    assert reconcile(home).cancelled == [run.id]
    assert row(home, "SELECT state, failure_class FROM runs") == {
        "state": CANCELLED,
        "failure_class": None,
    }


def test_a_supervisor_that_was_only_thought_lost_still_has_the_last_word(home):
    run = record(home)
    reconcile(home)
    run.state, run.finished = SUCCEEDED, NIGHT + DAY
    spool_run(home.spool_dir, run)
    assert reconcile(home).taken_up == [run.id]
    assert row(home, "SELECT state, reason FROM runs") == {"state": SUCCEEDED, "reason": None}


def test_spooled_runs_are_taken_up_before_anything_is_judged(home):
    record(home)
    spool_run(home.spool_dir, a_run(state=SUCCEEDED, finished=NIGHT))
    findings = reconcile(home)
    assert (len(findings.taken_up), findings.lost) == (1, [])


def test_without_a_database_it_says_so(home):
    take_away(home)
    with pytest.raises(DatabaseUnavailable, match=re.escape(told_of_absence(home))):
        reconcile(home)


# Slots that never started


@pytest.mark.fault
def test_a_dry_run_finds_the_same_and_writes_nothing(home, process):
    run = record(home, **supervised_by(process), **NOBODY)
    spooled = a_run(id="night-spooled", attempt=7, directory=str(at_home(home, "night-spooled")))
    spool_run(home.spool_dir, spooled)
    kill(process)
    found = reconcile(home, dry_run=True)
    assert (found.lost, found.taken_up) == ([run.id], [spooled.id])
    assert row(home, "SELECT state FROM runs") == {"state": RUNNING}
    assert reconcile(home) == found


def test_slots_that_never_started_are_missed_once(home):
    schedule(home, ("pretrain", NIGHTLY))
    assert at(NIGHT - DAY / 2, home).missed == []
    assert at(NIGHT + 1.5 * DAY, home).missed == [
        "pretrain-20260301T0200Z-1",
        "pretrain-20260302T0200Z-1",
    ]
    assert at(NIGHT + 1.5 * DAY, home).missed == []
    assert at(NIGHT + 1.6 * DAY, home).missed == []
    assert missed(home) == [NIGHT, NIGHT + DAY]


def test_a_slot_with_a_run_of_whatever_state_is_not_missed(home, process):
    schedule(home, ("pretrain", NIGHTLY))
    at(NIGHT - DAY / 2, home)
    record(home, night=0, state=SKIPPED, finished=NIGHT)
    record(home, night=1, **supervised_by(process))
    assert at(NIGHT + 1.5 * DAY, home).missed == []


def test_slots_before_the_job_was_scheduled_are_not_missed(home):
    schedule(home, ("pretrain", NIGHTLY))
    assert at(NIGHT + timedelta(hours=1), home).missed == []
    assert at(NIGHT + timedelta(hours=2), home).missed == []
    assert len(at(NIGHT + 1.5 * DAY, home).missed) == 1


def test_a_slot_is_not_missed_within_late_after(home, write_job):
    write_job("pretrain", 'command = ["true"]\nlate_after = "1h"\nsummary = "Nights"\n')
    schedule(home, ("pretrain", NIGHTLY))
    at(NIGHT - DAY / 2, home)
    assert at(NIGHT + timedelta(minutes=59), home).missed == []
    assert at(NIGHT + timedelta(minutes=60), home).missed == ["pretrain-20260301T0200Z-1"]
    assert row(home, "SELECT summary FROM v_jobs") == {"summary": "Nights"}


def test_a_job_without_a_readable_file_gets_ten_minutes(home, write_job):
    write_job("pretrain", "command = ")
    schedule(home, ("pretrain", NIGHTLY))
    at(NIGHT - DAY / 2, home)
    assert at(NIGHT + timedelta(minutes=9), home).missed == []
    assert len(at(NIGHT + timedelta(minutes=11), home).missed) == 1


def test_a_changed_schedule_starts_anew(home):
    schedule(home, ("pretrain", NIGHTLY))
    at(NIGHT - DAY / 2, home)
    schedule(home, ("pretrain", "0 3 * * *"))
    assert at(NIGHT + DAY / 2, home).missed == []
    assert at(NIGHT + 1.5 * DAY, home).missed == ["pretrain-20260302T0300Z-1"]


@pytest.mark.fault
def test_a_clock_that_was_a_year_ahead_hides_no_slot_once_it_is_right(home):
    schedule(home, ("pretrain", NIGHTLY))
    at(NIGHT + 365 * DAY, home)
    at(NIGHT + 366 * DAY, home)
    at(NIGHT - DAY / 2, home)
    assert at(NIGHT + 1.5 * DAY, home).missed == [
        "pretrain-20260301T0200Z-1",
        "pretrain-20260302T0200Z-1",
    ]


@pytest.mark.fault
def test_once_the_clock_is_right_a_job_is_told_as_it_is_now(home):
    schedule(home, ("pretrain", NIGHTLY))
    record(home, night=0, state=SUCCEEDED, finished=NIGHT + HOUR)
    at(NIGHT + 365 * DAY, home)
    ahead = record(home, night=365, state=SUCCEEDED, finished=NIGHT + 365 * DAY + HOUR)
    with time_machine.travel(NIGHT + 1.2 * DAY, tick=False):
        last = record(home, night=1, state=FAILED, finished=NIGHT + DAY + HOUR)
    for run in (ahead, last):
        keep_record(Path(run.directory), run)
    at(NIGHT + 1.2 * DAY, home)
    told = row(home, "SELECT * FROM jobs WHERE name = 'pretrain'")
    assert (told["last_run"], told["last_state"]) == ("pretrain-20260302T0200Z-1", FAILED)
    assert told["last_slot"] == (NIGHT + DAY).timestamp()
    assert told["last_success"] == (NIGHT + HOUR).timestamp()
    assert told["scheduled_since"] == (NIGHT + 1.2 * DAY).timestamp()
    with time_machine.travel(NIGHT + 1.2 * DAY, tick=False):
        assert find_record(home, "pretrain").state == FAILED
    assert len(rows(home, "SELECT id FROM runs")) == 3  # nothing of the record is rewritten


def test_a_job_that_was_not_in_the_crontab_for_a_while_missed_nothing_then(home):
    schedule(home, ("pretrain", NIGHTLY))
    at(NIGHT - DAY / 2, home)
    schedule(home, ("other", NIGHTLY))
    at(NIGHT + DAY / 2, home)
    assert row(home, "SELECT schedule FROM jobs WHERE name = 'pretrain'") == {"schedule": None}
    schedule(home, ("pretrain", NIGHTLY))
    at(NIGHT + 5.5 * DAY, home)
    assert missed(home) == []


def test_a_job_on_two_schedules_misses_each_minute_once(home):
    schedule(home, ("pretrain", NIGHTLY), ("pretrain", "0 */2 * * *"))
    at(NIGHT - timedelta(minutes=30), home)
    at(NIGHT + timedelta(hours=3), home)
    assert missed(home) == [NIGHT, NIGHT + timedelta(hours=2)]


def test_homes_that_share_a_crontab_do_not_mix(home, tmp_path):
    schedule(home, ("pretrain", NIGHTLY), of=Home(tmp_path / "another"))
    at(NIGHT - DAY / 2, home)
    assert at(NIGHT + DAY / 2, home).missed == []
    assert rows(home, "SELECT * FROM jobs") == []


def test_only_the_last_month_is_looked_at(home):
    schedule(home, ("pretrain", NIGHTLY))
    at(NIGHT - DAY / 2, home)
    found = at(NIGHT + 365 * DAY + timedelta(hours=1), home).missed
    assert len(found) == LOOK_BACK.days


def test_a_late_start_turns_the_missed_run_into_a_run(home):
    schedule(home, ("pretrain", NIGHTLY))
    at(NIGHT - DAY / 2, home)
    at(NIGHT + DAY / 2, home)
    record(home, state=SUCCEEDED, finished=NIGHT + DAY)
    assert missed(home) == []
    assert row(home, "SELECT state, reason FROM runs") == {"state": SUCCEEDED, "reason": None}
    assert at(NIGHT + DAY / 2, home).missed == []


@pytest.mark.fault
@pytest.mark.parametrize(
    "table",
    [b"", b"# >>> maejobs >>>\n", b"\xff\x00\n", None],
    ids=["empty", "half a block", "binary", "directory"],
)
def test_a_crontab_that_says_nothing_does_not_keep_lost_runs_from_being_found(home, table):
    run = record(home)
    if table is None:
        Path(home.crontab).mkdir()
    else:
        Path(home.crontab).write_bytes(table)
    assert reconcile(home).lost == [run.id]


@pytest.mark.fault
def test_a_line_that_cron_would_not_take_costs_only_its_own_job(home):
    schedule(home, ("broken", "99 99 * * *"), ("pretrain", NIGHTLY))
    at(NIGHT - DAY / 2, home)
    assert at(NIGHT + DAY / 2, home).missed == ["pretrain-20260301T0200Z-1"]


@pytest.mark.both_databases
@pytest.mark.fault
def test_several_reconciliations_at_once_find_everything_once(home):
    schedule(home, ("pretrain", "0 * * * *"))
    at(datetime.now(UTC) - DAY / 2, home)
    for night in range(5):
        record(home, job="gone", night=night)
    script = (
        "import sys; from maejobs.home import open_home; "
        "from maejobs.watch.reconcile import reconcile; "
        "f = reconcile(open_home(sys.argv[1])); "
        "print(*f.lost, *f.missed, *f.unknown, sep='\\n')"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(home.root)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    told = [name for racer in racers for name in racer.communicate(timeout=60)[0].split()]
    assert [racer.returncode for racer in racers] == [0] * 3
    assert rows(home, "SELECT count(*) n FROM runs WHERE state = 'lost'") == [{"n": 5}]
    # Some are unknown where this host has not been up for so long.
    slots = rows(home, "SELECT 1 FROM runs WHERE state IN ('missed', 'unknown')")
    assert 11 <= len(slots) <= 13
    assert sorted(set(told)) == sorted(r["id"] for r in rows(home, "SELECT id FROM runs"))
    assert len(told) == len(set(told))


# The zone of the slots


@pytest.mark.parametrize(
    ("dialect", "above", "zone"),
    [
        ("debian", "TZ=America/New_York\n", "UTC"),
        ("debian", "CRON_TZ=America/New_York\n", "UTC"),
        ("cronie", "CRON_TZ=America/New_York\n", "America/New_York"),
    ],
)
def test_who_runs_a_slot_and_who_misses_it_mean_the_same_minute(
    home, write_job, monkeypatch, dialect, above, zone
):
    """Whatever `TZ` the table or somebody's shell sets; or it would be run once more."""
    monkeypatch.setenv("TZ", "America/New_York")
    home = replace(home, configured_dialect=dialect)
    write_job("pretrain", shell("true") + 'catch_up = "latest"\n')
    schedule(home, WATCH, ("pretrain", NIGHTLY))
    table = Path(home.crontab)
    table.write_text(above + table.read_text())
    slot = datetime(2026, 3, 2, 2, 0, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    watch(home, slot - HOUR, slot)
    expressions = scheduled_expressions(home, "pretrain")
    assert slot_of(slot + HOUR / 100, expressions, zone_of_slots(home)) == slot
    record(home, slot=slot, state=SUCCEEDED, finished=slot + HOUR / 60)
    for hours in range(1, 23, 4):
        found = at(slot + hours * HOUR, home)
        assert (found.missed, found.unknown, found.started) == ([], [], [])


def test_by_hand_the_slots_are_those_of_our_own_daemon(home, monkeypatch, inside):
    """Which a container may have told its zone by `TZ`, that nobody's shell knows of."""
    monkeypatch.delenv(ZONE_VARIABLE)
    schedule(home, WATCH, ("pretrain", NIGHTLY))
    target = open_target(home.crontab)
    write_heartbeat(heartbeat_file(home, target), {"zone": "Asia/Tokyo"})
    with time_machine.travel(datetime(2026, 3, 1, 16, 0, tzinfo=UTC), tick=False):
        with only_daemon(target):
            inside("reconcile")
        monkeypatch.delenv(ZONE_VARIABLE)
    with time_machine.travel(datetime(2026, 3, 1, 18, 0, tzinfo=UTC), tick=False):
        with only_daemon(target):
            inside("reconcile")
        assert [f"{slot:%H:%M}" for slot in missed(home, UNKNOWN)] == ["17:00"]


# Slots at which maejobs itself was not there


def watch(home: Home, since: datetime, until: datetime) -> None:
    """Let reconcile run as cron lets it; every ten minutes, to be done sooner."""
    while since <= until:
        at(since, home)
        since += timedelta(minutes=10)


@pytest.fixture
def watched(home):
    """A home whose crontab calls reconcile, with a job for 02:00; it ran until half past one."""
    schedule(home, WATCH, ("pretrain", NIGHTLY))
    watch(home, NIGHT - HOUR, NIGHT - HOUR / 2)
    return home


def test_a_slot_at_which_reconcile_ran_is_missed(watched):
    watch(watched, NIGHT - HOUR / 2, NIGHT + HOUR / 2)
    assert (missed(watched), missed(watched, UNKNOWN)) == ([NIGHT], [])


def test_a_slot_at_which_nothing_ran_is_unknown_and_no_fault_of_the_job(watched):
    found = at(NIGHT + 5 * HOUR, watched)
    assert (found.unknown, found.missed) == (["pretrain-20260301T0200Z-1"], [])
    assert row(watched, "SELECT reason FROM v_runs WHERE state = 'unknown'") == {
        "reason": "maejobs was not there: the host was off, the home away, or cron stopped"
    }
    assert at(NIGHT + 5 * HOUR, watched).unknown == []


def test_of_slots_before_and_after_the_host_came_back_the_first_are_unknown(home):
    schedule(home, WATCH, ("hourly", "0 * * * *"))
    watch(home, NIGHT - HOUR, NIGHT + HOUR / 2)
    watch(home, NIGHT + 2.5 * HOUR, NIGHT + 3.5 * HOUR)
    assert missed(home, UNKNOWN) == [NIGHT + HOUR, NIGHT + 2 * HOUR]
    assert missed(home) == [NIGHT, NIGHT + 3 * HOUR]


def test_a_run_that_was_under_way_shows_that_maejobs_was_there(watched):
    record(watched, job="other", state=SUCCEEDED, finished=NIGHT + HOUR)
    assert at(NIGHT + 5 * HOUR, watched).missed == ["pretrain-20260301T0200Z-1"]


def test_a_run_elsewhere_or_one_that_nobody_saw_end_shows_nothing(watched):
    record(watched, job="gone", boot_id="another-boot")
    with open_database(watched) as engine:
        write_run(engine, a_run(job="other", state=SUCCEEDED, finished=NIGHT + HOUR))
    assert at(NIGHT + 5 * HOUR, watched).unknown == ["pretrain-20260301T0200Z-1"]


def test_where_nothing_looks_regularly_only_a_restart_excuses(home, monkeypatch):
    schedule(home, ("pretrain", NIGHTLY))
    at(NIGHT - HOUR, home)
    monkeypatch.setattr("maejobs.watch.slots.booted", lambda: NIGHT + DAY / 2)
    at(NIGHT + 1.5 * DAY, home)
    assert (missed(home, UNKNOWN), missed(home)) == ([NIGHT], [NIGHT + DAY])


def test_a_late_run_replaces_unknown(watched):
    at(NIGHT + 5 * HOUR, watched)
    record(watched, state=SUCCEEDED, finished=NIGHT + DAY)
    assert row(watched, "SELECT state, reason FROM runs") == {"state": SUCCEEDED, "reason": None}


@pytest.mark.both_databases
@pytest.mark.fault
def test_without_a_database_it_is_noted_that_reconcile_was_there(watched):
    with away(watched):
        for minutes in range(-20, 60, 10):
            with pytest.raises(DatabaseUnavailable):
                at(NIGHT + timedelta(minutes=minutes), watched)
    at(NIGHT + HOUR, watched)
    assert (missed(watched), missed(watched, UNKNOWN)) == ([NIGHT], [])


# A restart


@pytest.mark.fault
def test_a_run_of_before_a_restart_is_lost_whoever_has_its_pid_and_a_late_success_wins(
    home, write_job, tmp_path, monkeypatch
):
    """The boot id alone is changed: pid and start time are those of a process that lives."""
    go = tmp_path / "go"
    write_job("slow", shell(f"for n in $(seq 600); do [ -e {go} ] && exit; sleep 0.05; done"))
    supervisor = Supervisor(home, "slow", SLOT)
    run = wait_for(lambda: [run for run in runs_of(home) if run.state == RUNNING])[0]
    assert reconcile(home).lost == []

    monkeypatch.setattr("maejobs.watch.reconcile.boot_id", lambda: "the-next-boot")
    assert reconcile(home).lost == [run.id]
    assert row(home, "SELECT state, reason FROM runs") == {
        "state": LOST,
        "reason": "the host restarted",
    }
    assert reconcile(home).lost == []

    go.touch()
    assert end_of(supervisor) == 0
    assert row(home, "SELECT state, reason, exit_code FROM runs") == {
        "state": SUCCEEDED,
        "reason": None,
        "exit_code": 0,
    }
    assert reconcile(home) == Findings()
