"""One run from the call to the verdict."""

import os
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Timer
from types import SimpleNamespace

import pytest
from databases import locked
from running import (
    ORDERLY,
    READY,
    SLOT,
    STUBBORN,
    directories,
    end_of,
    kill,
    lives,
    log_of,
    only_run,
    patient_supervisor,
    runs_of,
    shell,
    supervisor,
    wait_for,
    wait_until_ready,
)

from maejobs.cron.fires import ZONE_VARIABLE
from maejobs.errors import EXIT_FAILED, EXIT_NOT_NOW, EXIT_USAGE, MaejobsError, UserError
from maejobs.launch.process import boot_id, group_members, host_name, start_time
from maejobs.supervise import disk_gate, gates
from maejobs.supervise.child import CANCEL, DEADLINE, STALL, Ending
from maejobs.supervise.execute import execute
from maejobs.supervise.locks import acquire, named_lock_file
from maejobs.supervise.verdict import judge

QUICK = 'command = ["true"]\n'
REPLACE = 'overlap = "replace"\n'


def ending(exit_code=None, signal=None, stopped_for=None, told_by=None) -> Ending:
    return Ending(exit_code, signal, 1.0, 1, stopped_for, told_by=told_by)


@pytest.mark.parametrize(
    ("how", "state", "reason"),
    [
        (ending(0), "succeeded", None),
        (ending(3), "failed", "exit code 3"),
        (ending(signal=9), "failed", "ended by SIGKILL"),
        (ending(signal=40), "failed", "ended by signal 40"),  # a real-time signal has no name
        (ending(0, stopped_for=DEADLINE), "succeeded", None),
        (ending(1, stopped_for=DEADLINE), "timed_out", "told to stop at the deadline; exit code 1"),
        (
            ending(signal=15, stopped_for=DEADLINE),
            "timed_out",
            "told to stop at the deadline; ended by SIGTERM",
        ),
        (
            ending(0, stopped_for=CANCEL, told_by=15),
            "cancelled",
            "stopped by SIGTERM to its supervisor",
        ),
        (
            ending(signal=9, stopped_for=CANCEL, told_by=1),
            "cancelled",
            "stopped by SIGHUP to its supervisor",
        ),
        (ending(0, stopped_for=STALL), "failed", "stalled, and was told to stop; exit code 0"),
        (
            ending(signal=9, stopped_for=STALL),
            "failed",
            "stalled, and was told to stop; ended by SIGKILL",
        ),
    ],
)
def test_the_verdict_follows_from_how_the_command_ended(how, state, reason):
    assert judge(how) == (state, reason)


def test_who_had_it_stopped_is_the_reason():
    met = ending(signal=15, stopped_for=CANCEL, told_by=15)
    assert judge(met, who="somebody") == ("cancelled", "stopped by somebody")


def test_a_command_that_said_it_paused_succeeds_though_our_term_met_it_on_its_way_out():
    met = ending(signal=15, stopped_for=DEADLINE)
    assert judge(met, said_well=True) == ("succeeded", None)
    # Without a deadline nobody told it to stop: something else went wrong.
    assert judge(ending(signal=11), said_well=True) == ("failed", "ended by SIGSEGV")
    assert judge(ending(0, stopped_for=STALL), said_well=True)[0] == "failed"


def test_everything_about_a_run_is_in_its_row(home, write_job):
    write_job("night", shell("i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; exec sleep 0.1"))
    before = datetime.now(UTC)

    verdict = execute(home, "night", "cron", SLOT)

    run = only_run(home, "night")
    assert (run.id, verdict.exit_code) == ("night-20261124T0200Z-1", 0)
    assert (run.slot, run.attempt, run.trigger, run.retry_of) == (SLOT, 1, "cron", None)
    assert (run.state, run.exit_code, run.signal, run.reason) == ("succeeded", 0, None, None)
    assert (run.host, run.boot_id, run.supervisor_pid) == (host_name(), boot_id(), os.getpid())
    assert before <= run.queued <= run.started < run.finished
    assert 0 <= run.pid_started - start_time(os.getpid()) < 3600
    assert run.cpu_seconds > 0
    assert 100_000 < run.peak_memory < 20_000_000
    assert run.command[0] == "sh"
    assert len(run.config_hash) == 16
    assert Path(run.directory).is_dir()


def test_a_failure_keeps_the_commands_own_code_and_gives_one(home, write_job):
    write_job("night", shell("exit 42"))

    assert execute(home, "night", "manual").exit_code == EXIT_FAILED

    run = only_run(home, "night")
    assert (run.state, run.exit_code, run.reason) == ("failed", 42, "exit code 42")


def test_death_by_a_signal_is_recorded_as_such(home, write_job):
    write_job("night", shell("kill -SEGV $$"))

    assert execute(home, "night", "manual").exit_code == EXIT_FAILED

    run = only_run(home, "night")
    assert (run.exit_code, run.signal, run.reason) == (None, signal.SIGSEGV, "ended by SIGSEGV")


def test_a_run_that_stops_in_good_order_at_its_deadline_succeeded(home, write_job):
    write_job("night", shell(ORDERLY) + 'timeout = "1s"\n')

    assert execute(home, "night", "manual").exit_code == 0
    assert log_of(home, "night").endswith("stopping\n")
    run = only_run(home, "night")
    assert run.deadline - run.started < timedelta(seconds=1.1)


def test_a_run_that_ignores_its_deadline_timed_out(home, write_job):
    write_job("night", shell(STUBBORN) + 'timeout = "0.5s"\ngrace = "0.5s"\n')

    assert execute(home, "night", "manual").exit_code == EXIT_FAILED

    run = only_run(home, "night")
    assert (run.state, run.signal) == ("timed_out", signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_supervisor_cancels_the_run_within_a_second(home, write_job, number):
    write_job(
        "night", shell("trap 'date +%s.%N; exit 0' TERM; " + READY + "while :; do sleep 0.05; done")
    )
    process = supervisor(home, "night")
    wait_until_ready(home, "night")
    told = time.time()

    process.send_signal(number)

    assert end_of(process) == EXIT_FAILED
    assert float(log_of(home, "night").split()[-1]) - told < 1.0
    assert only_run(home, "night").state == "cancelled"


def test_a_second_signal_ends_a_stubborn_run_at_once(home, write_job):
    write_job("night", shell(STUBBORN) + 'grace = "1h"\n')
    process = supervisor(home, "night")
    pid = wait_until_ready(home, "night")
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)

    process.send_signal(signal.SIGTERM)

    end_of(process)
    assert not lives(pid)
    assert only_run(home, "night").signal == signal.SIGKILL


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "paused"),
        ('disk = { path = "{home}", free = "900000TB" }\n', "disk_low"),
        ('until = "02:01"\n', "outside_window"),
    ],
)
def test_a_gate_that_says_no_skips_the_run_and_is_recorded(
    home, write_job, monkeypatch, text, reason
):
    monkeypatch.setenv(ZONE_VARIABLE, "UTC")
    write_job("night", shell("echo started") + text)
    if reason == "paused":
        home.pause_file("night").write_text("{}")
    long_ago = datetime(2026, 1, 1, 2, 0, tzinfo=UTC)

    verdict = execute(home, "night", "cron", long_ago)

    assert verdict.exit_code == EXIT_NOT_NOW
    run = only_run(home, "night")
    assert (run.state, run.reason, run.started) == ("skipped", reason, None)
    assert f"maejobs: {'its deadline' if reason == 'outside_window' else ''}" in log_of(
        home, "night"
    )
    assert "started" not in log_of(home, "night").splitlines()


def test_a_pause_for_a_reason_in_any_bytes_is_a_pause(home, write_job):
    write_job("night", QUICK)
    home.pause_file("night").write_text('{"reason": "caf\\udce9"}')

    assert execute(home, "night", "manual").run.reason == "paused"
    assert "paused: caf" in log_of(home, "night")


def test_until_is_read_in_the_zone_of_the_slot_whatever_tz_a_line_sets(
    home, write_job, monkeypatch
):
    monkeypatch.setenv(ZONE_VARIABLE, "America/New_York")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    write_job("night", QUICK + 'until = "06:00"\n')
    slot = datetime(2027, 1, 15, 7, 0, tzinfo=UTC)  # 02:00 in New York, 16:00 in Tokyo

    execute(home, "night", "cron", slot)

    assert only_run(home, "night").deadline == datetime(2027, 1, 15, 11, 0, tzinfo=UTC)


def test_until_is_read_in_cronies_zone_where_the_crontab_names_one(home, write_job, monkeypatch):
    monkeypatch.setenv(ZONE_VARIABLE, "Europe/Berlin")
    home = replace(home, configured_dialect="cronie")
    Path(home.crontab).write_text("CRON_TZ=America/New_York\n")
    write_job("night", QUICK + 'until = "06:00"\n')
    slot = datetime(2027, 1, 15, 7, 0, tzinfo=UTC)

    execute(home, "night", "cron", slot)

    assert only_run(home, "night").deadline == datetime(2027, 1, 15, 11, 0, tzinfo=UTC)


def test_a_gate_that_cannot_be_asked_lets_nothing_through(home, write_job):
    write_job("night", shell("echo started") + "infrastructure_retries = 0\n")
    home.pause_file("night").mkdir()

    assert execute(home, "night", "manual").exit_code == EXIT_FAILED

    run = only_run(home, "night")
    assert (run.state, run.started) == ("failed", None)
    assert run.failure_class == "could_not_start"
    assert "could not look whether it may start" in run.reason


def test_a_second_run_is_skipped_while_the_first_runs(home, write_job):
    write_job("night", shell(ORDERLY))
    first = supervisor(home, "night")
    wait_until_ready(home, "night")

    second = execute(home, "night", "manual")

    assert (second.run.reason, second.exit_code) == ("overlap", EXIT_NOT_NOW)
    first.send_signal(signal.SIGTERM)
    end_of(first)


def test_a_second_run_waits_for_the_first_if_its_job_says_so(home, write_job):
    write_job("night", shell(READY + "sleep 1") + 'overlap = "wait"\n')
    first = supervisor(home, "night")
    wait_until_ready(home, "night")

    second = execute(home, "night", "manual")

    assert second.run.state == "succeeded"
    assert end_of(first) == 0
    one, other = runs_of(home, "night")
    assert other.queued < one.finished
    assert other.started > one.finished - timedelta(seconds=0.5)


@pytest.mark.parametrize("reason", ["paused", "disk_low"])
def test_after_its_wait_it_is_looked_once_more_whether_it_may_start(
    home, write_job, monkeypatch, reason
):
    write_job("night", QUICK + 'disk = { path = "{home}", free = "1kB" }\n')

    really = gates.take_locks

    def take_locks(*arguments):
        if reason == "paused":
            home.pause_file("night").write_text("{}")
        else:
            monkeypatch.setattr(
                disk_gate.shutil, "disk_usage", lambda path: SimpleNamespace(free=0)
            )
        return really(*arguments)

    monkeypatch.setattr(gates, "take_locks", take_locks)

    assert execute(home, "night", "manual").run.reason == reason


def test_who_waits_no_longer_than_allowed_is_skipped(home, write_job):
    write_job("night", shell(ORDERLY) + 'overlap = "wait"\nwait = "0.3s"\n')
    first = supervisor(home, "night")
    wait_until_ready(home, "night")

    assert execute(home, "night", "manual").run.reason == "overlap"

    first.send_signal(signal.SIGTERM)
    end_of(first)


def test_a_second_run_replaces_the_first_if_its_job_says_so(home, write_job):
    write_job("night", shell(ORDERLY) + 'overlap = "replace"\n')
    first = supervisor(home, "night")
    wait_until_ready(home, "night")
    write_job("night", QUICK + 'overlap = "replace"\n')

    assert end_of(supervisor(home, "night", SLOT + timedelta(hours=1))) == 0

    end_of(first)
    old, new = runs_of(home, "night")
    assert [old.state, new.state] == ["cancelled", "succeeded"]
    assert old.reason == f"stopped by {new.id}, which replaces it"


def test_its_timeout_counts_from_the_start_and_not_from_the_wait(home, write_job):
    write_job("night", QUICK + 'locks = ["x"]\noverlap = "wait"\ntimeout = "0.2s"\n')
    lock = acquire(named_lock_file(home, "x"), "another")
    Timer(0.7, lock.release).start()

    run = execute(home, "night", "manual").run

    assert run.state == "succeeded"
    assert run.started - run.queued > timedelta(seconds=0.5)


def test_who_waited_in_vain_says_for_how_long(home, write_job):
    write_job("night", QUICK + 'locks = ["x"]\noverlap = "wait"\nwait = "0.6s"\n')
    with acquire(named_lock_file(home, "x"), "another"):
        execute(home, "night", "manual")
    assert log_of(home, "night").endswith("another holds the lock x (it waited for 1 second)\n")


def test_a_run_that_is_being_replaced_has_its_grace_whoever_else_comes_to_replace_it(
    home, write_job
):
    saving = "trap 'echo saving; sleep 0.7; echo saved; exit 0' TERM; "
    write_job("night", shell(saving + READY + "while :; do sleep 0.05; done") + REPLACE)
    first = supervisor(home, "night")
    wait_until_ready(home, "night")
    write_job("night", QUICK + REPLACE)
    second = supervisor(home, "night", SLOT + timedelta(hours=1))
    wait_for(lambda: "saving" in log_of(home, "night"))

    third = supervisor(home, "night", SLOT + timedelta(hours=2))

    ends = [end_of(process) for process in (first, second, third)]
    assert ends == [EXIT_FAILED, EXIT_FAILED, 0]
    old, waiting, newest = runs_of(home, "night")
    assert (old.state, old.exit_code) == ("cancelled", 0)
    assert old.reason == f"stopped by {waiting.id}, which replaces it"
    # Who waited for that end was to be replaced as well.
    assert (waiting.state, waiting.started) == ("cancelled", None)
    assert waiting.reason == f"stopped by {newest.id}, which replaces it, before it started"
    assert (directories(home, "night")[0] / "log").read_text().endswith("saving\nsaved\n")


def test_jobs_that_share_a_lock_take_turns(home, write_job):
    write_job("night", shell(ORDERLY) + 'locks = ["gpu"]\n')
    write_job("evaluate", QUICK + 'locks = ["gpu"]\n')
    night = supervisor(home, "night")
    wait_until_ready(home, "night")

    assert execute(home, "evaluate", "manual").run.reason == "locked"

    night.send_signal(signal.SIGTERM)
    end_of(night)
    assert execute(home, "evaluate", "manual").run.state == "succeeded"


def test_a_run_is_cancelled_while_it_waits_for_its_turn(home, write_job):
    write_job("night", shell(ORDERLY) + 'overlap = "wait"\n')
    first = supervisor(home, "night")
    wait_until_ready(home, "night")
    second = supervisor(home, "night", slot=SLOT + timedelta(days=1))
    wait_for(lambda: len(runs_of(home, "night")) == 2)

    second.send_signal(signal.SIGTERM)

    assert end_of(second, 5) == EXIT_FAILED
    waited = runs_of(home, "night")[-1]
    assert (waited.state, waited.started) == ("cancelled", None)
    assert waited.reason == "stopped by SIGTERM to its supervisor, before it started"
    assert first.poll() is None
    first.send_signal(signal.SIGTERM)
    end_of(first)


def test_a_killed_supervisors_lock_is_held_by_its_command_and_dies_with_it(home, write_job):
    write_job("night", shell(ORDERLY))
    process = supervisor(home, "night")
    pid = wait_until_ready(home, "night")
    process.kill()
    end_of(process)
    write_job("night", QUICK)

    assert execute(home, "night", "manual").run.reason == "overlap"

    for member in group_members(pid):
        kill(member, signal.SIGKILL)
    wait_for(lambda: not lives(pid))
    wait_for(lambda: execute(home, "night", "manual").run.state == "succeeded")


def test_a_signal_before_the_start_means_that_the_command_never_starts(home, write_job):
    started = home.root / "started"
    write_job("night", shell(f"touch {started}"))
    # The gates are passed, and the signal comes, while the record waits for the database.
    with locked(home):
        process = patient_supervisor(home, "night", 1.0)
        wait_for(
            lambda: (
                directories(home, "night") and (directories(home, "night")[0] / "run.json").exists()
            )
        )
        process.send_signal(signal.SIGTERM)
        end_of(process)

    assert not started.exists()
    assert '"state": "cancelled"' in (directories(home, "night")[0] / "run.json").read_text()


def test_a_failed_run_is_tried_again_as_often_as_its_job_allows(home, write_job):
    write_job("night", shell("exit 1") + 'retries = 2\nretry_delay = "0s"\n')

    assert execute(home, "night", "cron", SLOT).exit_code == EXIT_FAILED

    first, second, third = runs_of(home, "night")
    assert [run.attempt for run in (first, second, third)] == [1, 2, 3]
    assert [run.trigger for run in (first, second, third)] == ["cron", "retry", "retry"]
    assert [run.retry_of for run in (first, second, third)] == [None, first.id, second.id]


def test_a_crash_is_tried_again_and_success_is_the_end_of_it(home, write_job):
    crash_once = "cd $MAEJOBS_HOME; [ -e ran ] && exit 0; touch ran; kill -SEGV $$"
    write_job("night", shell(crash_once) + 'retries = 5\nretry_delay = "0s"\n')

    assert execute(home, "night", "cron", SLOT).exit_code == 0
    assert [run.state for run in runs_of(home, "night")] == ["failed", "succeeded"]


@pytest.mark.parametrize(
    "text",
    [
        'command = ["no-such-command"]\n',
        shell("sleep 60") + 'timeout = "0.2s"\n',
    ],
    ids=["could not start", "timed out"],
)
def test_what_would_only_happen_again_is_not_tried_again(home, write_job, text):
    write_job("night", text + "retries = 3\n")

    execute(home, "night", "cron", SLOT)

    assert only_run(home, "night").state in {"failed", "timed_out"}


def test_the_timeout_of_one_try_keeps_no_other_from_coming(home, write_job, monkeypatch):
    monkeypatch.setattr("maejobs.supervise.execute.wait", lambda *_: True)
    write_job("night", shell("exit 1") + 'timeout = "1m"\nretries = 1\nretry_delay = "1m"\n')

    execute(home, "night", "cron", SLOT)

    assert [run.state for run in runs_of(home, "night")] == ["failed", "failed"]


def test_a_signal_during_the_delay_before_a_retry_is_the_end_of_it(home, write_job):
    write_job("night", shell("exit 1") + "retries = 3\n")
    process = supervisor(home, "night")
    wait_for(lambda: [run for run in runs_of(home, "night") if run.finished])

    process.send_signal(signal.SIGTERM)

    assert end_of(process, 5) == EXIT_FAILED
    assert only_run(home, "night").state == "failed"


def test_a_bad_job_file_is_recorded_with_its_errors(home, write_job):
    write_job("night", 'command = ["true"]\ntimeuot = "1h"\n')

    with pytest.raises(UserError, match="did you mean timeout") as error:
        execute(home, "night", "cron", SLOT)

    assert error.value.exit_code == EXIT_USAGE
    run = only_run(home, "night")
    assert run.state == "failed"
    assert "night.toml:2: unknown key timeuot" in run.reason


def test_a_scheduled_job_without_a_file_is_recorded(home):
    with pytest.raises(UserError, match="no job 'night'"):
        execute(home, "night", "cron", SLOT)

    assert only_run(home, "night").state == "failed"


@pytest.mark.parametrize("name", ["../../outside", "/tmp/x", "", "Night", "a b"])
def test_what_is_no_jobs_name_leaves_nothing_behind(home, name):
    before = sorted(home.root.rglob("*"))

    with pytest.raises(UserError, match="is not a job name"):
        execute(home, name, "cron", SLOT)

    assert sorted(home.root.rglob("*")) == before
    assert runs_of(home) == []


def test_a_command_that_cannot_be_started_is_recorded_as_failed(home, write_job):
    write_job("night", 'command = ["no-such-command"]\n')

    assert execute(home, "night", "manual").exit_code == EXIT_FAILED

    run = only_run(home, "night")
    assert (run.state, run.started) == ("failed", None)
    assert run.reason == "could not start no-such-command: No such file or directory"


def test_where_no_run_directory_can_be_made_the_call_says_so(home, write_job, maejobs):
    write_job("night", QUICK)
    home.runs_dir.rmdir()
    home.runs_dir.write_text("")

    with pytest.raises(MaejobsError, match="cannot be made"):
        execute(home, "night", "manual")
    done = maejobs("exec", "night")

    assert (done.returncode, runs_of(home)) == (EXIT_FAILED, [])
    assert "maejobs: the run's directory" in done.stderr


def test_a_watcher_whose_terminal_is_gone_does_not_take_the_run_with_it(home, write_job):
    write_job("night", shell("sleep 1; echo done"))
    seen = []

    def watch(run, events):
        seen.append(run.id)
        raise BrokenPipeError

    assert execute(home, "night", "manual", watch=watch).run.state == "succeeded"
    assert log_of(home, "night") == "done\n"
    assert len(seen) == 1


def test_the_command_line_tells_how_a_run_ended_by_its_exit_code(home, write_job, inside):
    write_job("good", QUICK)
    write_job("bad", shell("exit 7"))
    write_job("broken", "command = 3\n")

    assert inside("exec", "good").returncode == 0
    home.pause_file("good").write_text("{}")
    assert inside("exec", "good").returncode == EXIT_NOT_NOW
    bad = inside("exec", "bad")
    assert bad.returncode == EXIT_FAILED
    assert "exit code 7" in bad.stderr
    assert inside("exec", "broken").returncode == EXIT_USAGE
