"""Runs as a user starts, stops and looks at them."""

import fcntl
import json
import os
import pwd
import re
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import MAEJOBS
from databases import configure
from recorded_runs import a_run, at_home

from maejobs import clock
from maejobs.launch.process import boot_id, host_name
from maejobs.rundb.database import open_database
from maejobs.rundb.directory import keep_record
from maejobs.rundb.record import set_job, write_run
from maejobs.rundb.run import MISSED, SUCCEEDED, Run

SLOW = """for i in 1 2 3 4 5 6; do
  echo line $i
  echo '{"event": "progress", "step": '$i', "total": 6}' >> "$MAEJOBS_EVENTS"
  sleep 0.4
done
printf 'no newline'"""
SOME_MINUTE = r"\w{3} \d{4}-\d\d-\d\d \d\d:\d\d"
FAILS = 'command = ["sh", "-c", "echo oh no; exit 3"]\n'


@pytest.fixture
def slow(write_job, script):
    """A job that prints six lines within two seconds."""
    write_job("slow", f'command = ["{script(SLOW)}"]\ngrace = "2s"\n')


@pytest.fixture
def in_background(home):
    """Start a command and leave it running; killed at the end if need be."""
    started = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        env = {"PATH": "/usr/bin:/bin", "MAEJOBS_HOME": str(home.root), "HOME": str(home.root)}
        started.append(
            subprocess.Popen(
                [MAEJOBS, *arguments], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=30)


def wait_for_start(home, job):
    give_up = time.monotonic() + 90
    while not list((home.runs_dir / job).glob("*/log")):
        assert time.monotonic() < give_up
        time.sleep(0.05)


def newest(inside, job):
    return json.loads(inside("show", job, "--json").stdout)


def test_a_run_in_the_foreground_prints_its_output_and_its_verdict(slow, maejobs):
    done = maejobs("run", "slow")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("line 1\nline 2\n")
    assert "\nno newline\nslow-" in done.stdout
    assert done.stdout.endswith(": succeeded\n")
    assert "\x1b" not in done.stdout


def test_on_a_terminal_a_run_shows_a_progress_bar(slow, terminal):
    screen = terminal("run", "slow")
    assert screen.end() == 0
    assert "line 6\n" in screen.text
    assert "4/6" in screen.text or "5/6" in screen.text or "6/6" in screen.text
    assert "no newline\nslow-" in screen.text


def test_control_c_stops_a_run_in_good_order(write_job, script, terminal, inside):
    endless = script("echo line 1; while :; do sleep 0.1; done")
    write_job("slow", f'command = ["{endless}"]\ngrace = "2s"\n')
    screen = terminal("run", "slow")
    screen.wait_for("line 1")
    screen.type("\x03")
    assert screen.end() == 1
    assert ": cancelled (stopped by SIGINT to its supervisor)" in screen.text
    assert "Traceback" not in screen.text
    assert newest(inside, "slow")["state"] == "cancelled"


def test_a_run_outlives_the_reader_of_its_output(slow, home, inside):
    subprocess.run(
        ["bash", "-c", f'"{MAEJOBS}" run slow | head -n 1'],
        env={"PATH": "/usr/bin:/bin", "MAEJOBS_HOME": str(home.root)},
        check=True,
        capture_output=True,
    )
    assert newest(inside, "slow")["state"] == "succeeded"


FLOOD = """yes 'a line of forty bytes, or near to that' | head -n 50000
echo done
"""


def test_a_run_waits_for_nobody_who_shows_it(write_job, script, home, inside, in_background):
    write_job("flood", f'command = ["{script(FLOOD)}"]\n')
    unread = in_background("run", "flood")
    wait_for_start(home, "flood")
    give_up = time.monotonic() + 90
    while newest(inside, "flood")["state"] in ("queued", "running"):
        assert time.monotonic() < give_up
        time.sleep(0.1)
    assert newest(inside, "flood")["state"] == "succeeded"
    assert unread.poll() is None

    shown, _ = unread.communicate(timeout=30)

    lines = shown.decode().splitlines()
    assert (len(lines), lines[-2]) == (50_002, "done")
    assert lines[-1].endswith(": succeeded")


def test_a_run_that_nobody_reads_can_be_stopped(
    write_job, script, home, maejobs, inside, in_background
):
    endless = script("yes 'a line of forty bytes, or near to that'")
    write_job("flood", f'command = ["{endless}"]\n')
    unread = in_background("run", "flood")
    wait_for_start(home, "flood")
    time.sleep(1)
    assert maejobs("cancel", "flood").returncode == 0
    give_up = time.monotonic() + 90
    while newest(inside, "flood")["state"] != "cancelled":
        assert time.monotonic() < give_up
        time.sleep(0.1)
    assert unread.poll() is None
    unread.kill()


def test_a_run_says_that_it_waits_to_try_again(write_job, script, maejobs, terminal, inside):
    once = '[ -e "$MAEJOBS_HOME/ran" ] && exit 0; touch "$MAEJOBS_HOME/ran"; exit 3'
    write_job("twice", f'command = ["{script(once)}"]\nretries = 1\nretry_delay = "1s"\n')
    done = maejobs("run", "twice")
    assert done.returncode == 0
    (said,) = done.stderr.splitlines()
    assert re.fullmatch(
        r"maejobs: twice-\d+T\d+Z-m: failed \(exit code 3\); tried again in 1\.0s, at "
        r"\d\d:\d\d:\d\d \(Ctrl-C gives up\)",
        said,
    )
    write_job("patient", FAILS + 'retries = 1\nretry_delay = "1h"\n')
    screen = terminal("run", "patient", columns=200)
    screen.wait_for("tried again in 1h 00m 00s, at ")
    assert "may be tried again by itself; `maejobs cancel " in inside("retry", "patient").stderr
    screen.type("\x03")
    assert screen.end() == 1


def test_following_a_log_loses_no_line_and_ends_with_the_run(slow, home, maejobs, in_background):
    in_background("run", "slow")
    wait_for_start(home, "slow")
    done = maejobs("logs", "-f", "slow")
    assert done.returncode == 0
    assert done.stdout == "".join(f"line {n}\n" for n in range(1, 7)) + "no newline"
    assert done.stderr.endswith(": succeeded\n")


def test_following_a_log_tells_what_was_dropped_of_it(write_job, home, maejobs, in_background):
    write_job(
        "flood",
        """
        command = ["sh", "-c", "echo first; yes xxxxxxxxx | head -c 5000000; sleep 1; echo last"]
        log_limit = "1MB"
    """,
    )
    in_background("exec", "flood")
    wait_for_start(home, "flood")
    done = maejobs("logs", "-f", "flood")
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("first", "last")
    assert "\0" not in done.stdout
    told = [json.loads(line) for line in maejobs("logs", "flood", "--json").stdout.splitlines()]
    (gap,) = [line for line in told if line["dropped"]]
    assert 3_900_000 < gap["dropped"] < 4_100_000
    assert gap["line"] == "[maejobs: 4.0 MB dropped here, see log_limit]"


def test_cancel_reaches_the_command_within_a_second(
    write_job, script, home, maejobs, in_background
):
    told = "trap 'date +%s.%N; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    write_job("patient", f'command = ["{script(told)}"]\n')
    running = in_background("run", "patient")
    wait_for_start(home, "patient")
    give_up = time.monotonic() + 90
    while "ready" not in (text := maejobs("logs", "patient").stdout):
        assert time.monotonic() < give_up, text
    maejobs("cancel", "patient")
    now = time.time()
    assert running.wait(30) == 1
    assert float(maejobs("logs", "patient").stdout.split()[-1]) < now + 1.0


def test_a_running_job_shows_in_status_and_can_be_cancelled(
    slow, home, maejobs, inside, in_background
):
    running = in_background("run", "slow")
    wait_for_start(home, "slow")
    give_up = time.monotonic() + 90
    while status_of(inside, "slow")["state"] == "queued":
        assert time.monotonic() < give_up
    assert status_of(inside, "slow")["state"] == "running"
    cancelled = maejobs("cancel", "slow")
    assert cancelled.returncode == 0, cancelled.stderr
    assert running.wait(30) == 1
    who = pwd.getpwuid(os.getuid()).pw_name
    assert newest(inside, "slow")["reason"] == f"stopped by `maejobs cancel`, called by {who}"
    again = maejobs("cancel", "slow")
    assert again.returncode == 2
    assert "is not running: cancelled" in again.stderr


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        ("a\nb\nc\n", "2", "b\nc\n"),
        ("a\nb\nc", "2", "b\nc"),
        ("a\nb\n", "5", "a\nb\n"),
        ("a\n\n\n", "2", "\n\n"),
        ("a\nb\n", "0", ""),
        ("", "3", ""),
    ],
)
def test_the_last_lines_of_a_log(home, inside, text, count, expected):
    now = datetime.now(UTC)
    directory = home.runs_dir / "prints" / "prints-1"
    directory.mkdir(parents=True)
    run = Run(
        id="prints-1", job="prints", trigger="manual", attempt=1, queued=now, state=SUCCEEDED,
        host="here", directory=str(directory),
    )  # fmt: skip
    (directory / "run.json").write_text(run.to_json())
    (directory / "log").write_text(text)
    assert inside("logs", "prints", "-n", count).stdout == expected


def test_what_runs_on_another_host_is_said_to(home, inside):
    run = a_run(job="quick", state="running", host="another")
    run.directory = str(home.runs_dir / "quick" / run.id)
    Path(run.directory).mkdir(parents=True)
    keep_record(Path(run.directory), run)
    with open_database(home) as engine:
        write_run(engine, run)
    assert re.search("quick .* running .* on another", inside("status").stdout)
    assert status_of(inside, "quick")["host"] == "another"
    with (home.locks_dir / "job-quick.lock").open("w") as lock:  # as seen from beside a container
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = inside("cancel", "quick")
        assert (done.returncode, "runs on another, whose" in done.stderr) == (2, True)
    assert "`maejobs reconcile` settles it" in inside("cancel", "quick").stderr  # it was this host
    inside("reconcile")
    assert "is not running: lost" in inside("cancel", "quick").stderr


def test_a_reason_of_any_length_leaves_lists_readable(home, inside, write_job):
    write_job("pretrain", FAILS)
    at = clock.now()
    with open_database(home) as engine:
        write_run(engine, a_run(state=SUCCEEDED, queued=at, finished=at, reason="why " * 9999))
    for command in ("status", "runs"):
        longest = max(inside(command).stdout.splitlines(), key=len)
        assert 500 < len(longest) < 700
        assert longest.endswith("why …")
    assert len(inside("show", "pretrain").stdout) > 39_000


def test_a_home_that_was_moved_has_its_logs_still(home, inside, write_job):
    write_job("quick", 'command = ["echo", "hello"]\n')
    inside("run", "quick")
    moved = home.root.rename(home.root.with_name("moved"))
    assert inside("logs", "quick", "--home", str(moved)).stdout == "hello\n"


def test_log_lines_have_times_for_people_and_programs(write_job, inside):
    write_job("prints", "command = ['printf', 'a\\nb\\n']\n")
    inside("run", "prints")
    stamped = inside("logs", "prints", "-t").stdout.splitlines()
    assert [line[21:] for line in stamped] == ["a", "b"]
    assert [line[:2] for line in stamped] == ["20", "20"]
    lines = [json.loads(line) for line in inside("logs", "prints", "--json").stdout.splitlines()]
    assert [line["line"] for line in lines] == ["a", "b"]
    assert all(line["time"].endswith("+00:00") for line in lines)


def test_a_log_cannot_drive_the_terminal_but_is_piped_as_it_is(write_job, inside, terminal):
    write_job("rude", r"""command = ['printf', 'a\033[2J\n10 %%\r20 %%\n']""")
    inside("run", "rude")
    screen = terminal("logs", "rude")
    screen.end()
    assert screen.text == "a\\x1b[2J\n20 %\n"
    assert inside("logs", "rude").stdout == "a\x1b[2J\n10 %\r20 %\n"


def test_the_log_of_a_skipped_run_says_why(write_job, inside):
    write_job("quick", 'command = ["true"]\n')
    inside("pause", "quick", "--reason", "GPU lent to Anna")
    done = inside("exec", "quick")
    assert done.returncode == 75
    assert (done.stdout, done.stderr) == ("", "")  # or cron would mail what was meant to be
    log = inside("logs", "quick")
    assert "paused: GPU lent to Anna" in log.stdout + log.stderr
    assert "paused" in inside("runs").stdout
    assert "on pause" in inside("status").stdout
    assert inside("resume", "quick").returncode == 0
    assert inside("exec", "quick").returncode == 0


def test_the_log_of_a_run_that_never_printed_says_so(write_job, inside):
    write_job("quick", 'command = ["/no/such/program"]\n')
    inside("run", "quick")
    done = inside("logs", "quick")
    assert done.returncode == 0
    assert done.stdout == ""
    assert "failed (" in done.stderr
    assert done.stderr.endswith("and has printed nothing\n")


def test_the_log_of_a_missed_run_says_that_there_is_none(home, inside):
    now = datetime.now(UTC)
    missed = Run(
        id="quick-20261124T0200Z-1", job="quick", trigger="cron", attempt=1, slot=now, queued=now,
        state=MISSED, reason="no run was started for this slot", host="here", directory="/none",
    )  # fmt: skip
    with open_database(home) as engine:
        write_run(engine, missed)
    done = inside("logs", "quick-20261124T0200Z-1")
    assert done.returncode == 2
    assert "has no log: it is missed: no run was started for this slot" in done.stderr


def test_the_log_of_a_run_that_was_cleaned_up_says_so(home, inside):
    with open_database(home) as engine:
        write_run(engine, a_run(state=SUCCEEDED, directory="/none"))
    done = inside("logs", a_run().id)
    assert done.returncode == 2
    assert "has no log any more: its directory is gone, as `maejobs keep cleanup`" in done.stderr


def test_of_a_run_whose_process_is_gone_it_is_told_what_reconcile_made_of_it(home, inside):
    run = a_run(host=host_name(), boot_id=boot_id())
    run.directory = str(at_home(home, run.id))
    keep_record(Path(run.directory), run)
    with open_database(home) as engine:
        write_run(engine, run)

    assert "was running, its process is gone (`maejobs reconcile`" in inside("logs", run.id).stderr
    assert "`maejobs reconcile` settles it" in inside("cancel", run.id).stderr
    assert f"lost: {run.id}" in inside("reconcile").stdout
    assert f"{run.id}: lost (its process is gone)" in inside("logs", run.id, "-f").stderr
    assert "is not running: lost" in inside("cancel", run.id).stderr


def test_a_run_on_another_host_is_not_said_to_be_gone(home, inside):
    run = a_run()
    keep_record(at_home(home, run.id), run)
    assert f"{run.id}: is running and has" in inside("logs", run.id).stderr


def test_a_failed_run_can_be_retried_and_a_good_one_not(write_job, inside):
    write_job("fails", FAILS)
    first = inside("run", "fails")
    assert first.returncode == 1
    assert "failed (exit code 3)" in first.stdout
    old = newest(inside, "fails")
    assert inside("retry", "fails").returncode == 1
    assert newest(inside, "fails")["retry_of"] == old["id"]
    write_job("fails", 'command = ["true"]\n')
    assert inside("retry", old["id"]).returncode == 0
    refused = inside("retry", "fails")
    assert refused.returncode == 2
    assert "`maejobs run fails` runs it anew" in refused.stderr


def test_who_runs_a_job_by_hand_is_told_until_when_it_has_maybe_tomorrow(write_job, inside):
    write_job("fails", FAILS + 'until = "06:00"\n')
    told = rf"until {SOME_MINUTE}, in \d+ (h|min|s)"
    assert re.search(rf" \({told}\)\n", inside("run", "fails", "--dry-run").stdout)
    assert json.loads(inside("run", "fails", "--dry-run", "--json").stdout)["deadline"]
    for verb in ("run", "retry"):
        said = inside(verb, "fails").stderr
        assert re.fullmatch(rf"maejobs: fails-\w+-m\d* has {told}\n", said), said


def test_runs_are_told_to_programs(write_job, inside):
    write_job("fails", FAILS)
    told = json.loads(inside("run", "fails", "--json").stdout)
    assert (told["state"], told["exit_code"]) == ("failed", 3)
    (run,) = json.loads(inside("runs", "--json").stdout)
    assert run["id"] == told["id"]
    assert run["started"].endswith("+00:00")
    assert json.loads(inside("runs", "--state", "lost", "--json").stdout) == []


def test_exec_is_quiet_where_all_is_well(write_job, inside, monkeypatch):
    write_job("quick", 'command = ["echo", "hello"]\n')
    # Both calls have to be of one minute, which is their slot.
    monkeypatch.setattr("maejobs.clock.now", lambda: datetime(2026, 11, 24, 2, 0, 7, tzinfo=UTC))
    done = inside("exec", "quick")
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    again = inside("exec", "quick")
    assert again.returncode == 75
    assert "has succeeded" in again.stderr


def test_exec_speaks_where_a_gate_says_no_unasked(write_job, inside):
    write_job("big", 'command = ["true"]\ndisk = { path = "/", free = "1000000TB" }\n')
    done = inside("exec", "big")
    assert done.returncode == 75
    assert "skipped (disk_low)" in done.stderr


def test_a_job_that_never_was_leaves_no_record_but_one_that_cron_calls_does(
    home, write_job, inside, snapshot
):
    write_job("quick", 'command = ["false"]\n')
    before = snapshot()
    done = inside("exec", "nope")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("maejobs: no job 'nope' in ")
    assert done.stderr.count("\n") == 1
    assert snapshot() == before
    inside("schedule", "quick", "0 2 * * *")
    inside("run", "quick")
    old = newest(inside, "quick")["id"]
    (home.jobs_dir / "quick.toml").unlink()
    assert inside("retry", old).returncode == 2
    assert newest(inside, "quick")["id"] == old
    assert inside("exec", "quick").returncode == 2
    assert newest(inside, "quick")["state"] == "failed"


def test_a_job_is_recorded_where_the_crontab_cannot_be_asked(home, inside):
    configure(home, 'crontab = "jobs.d"\n')
    assert inside("exec", "gone").returncode == 2
    assert newest(inside, "gone")["state"] == "failed"


def status_of(inside, job):
    return next(r for r in json.loads(inside("status", "--json").stdout) if r["job"] == job)


def test_status_says_how_late_a_job_is_and_not_while_there_is_grace(home, write_job, inside):
    write_job("quick", 'command = ["true"]\nlate_after = "1h"\n')
    hour = datetime.now().astimezone() - timedelta(hours=3)
    inside("schedule", "quick", f"{hour.minute} {hour.hour} * * *")
    assert status_of(inside, "quick")["late_seconds"] is None  # scheduled after that slot
    with open_database(home) as engine:
        set_job(engine, "quick", scheduled_since=datetime.now(UTC) - timedelta(days=7))
    assert status_of(inside, "quick")["late_seconds"] == pytest.approx(3 * 3600, abs=120)
    assert "late by 3h 0" in inside("status").stdout
    write_job("quick", 'command = ["true"]\nlate_after = "4h"\n')
    assert status_of(inside, "quick")["late_seconds"] is None
    write_job("quick", 'command = ["true"]\nlate_after = "1h"\n')
    assert inside("exec", "quick").returncode == 0
    assert status_of(inside, "quick")["late_seconds"] is None


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_nothing_is_wider_than_the_terminal(home, write_job, inside, terminal, columns):
    write_job("quick", 'command = ["true"]\nsummary = "' + "many words " * 15 + '"\n')
    write_job("a-name-that-is-rather-long-for-a-job", FAILS)
    inside("run", "a-name-that-is-rather-long-for-a-job")
    inside("schedule", "quick", "0 2 * * *")
    for command in ("status", "runs", "jobs", "next"):
        screen = terminal(command, columns=columns)
        assert screen.end() == 0
        plain = subprocess.run(
            ["sed", r"s/\x1b\[[0-9;]*m//g"], input=screen.text, capture_output=True, text=True
        ).stdout
        # A run's id is never broken: it is there to be copied.
        lines = [line for line in plain.splitlines() if " " in line.strip()]
        assert max(map(len, lines)) <= columns, (command, plain)
        assert "…" not in plain


def test_colours_are_for_terminals_and_only_where_wanted(write_job, inside, terminal):
    write_job("fails", FAILS)
    inside("run", "fails")
    coloured, plain = terminal("runs"), terminal("runs", NO_COLOR="1")
    assert (coloured.end(), plain.end()) == (0, 0)
    assert "\x1b[31mfailed\x1b[0m" in coloured.text
    assert "\x1b" not in plain.text
    assert "\x1b" not in inside("runs").stdout


def test_empty_states_say_what_to_do(home, inside):
    assert "no runs yet" in inside("runs").stdout
    assert "`maejobs init` puts ours there" in inside("status").stdout
    assert "nothing is scheduled; try `maejobs schedule" in inside("next").stdout
    assert inside("init").returncode == 0
    assert "never ran" in inside("status").stdout
    assert "jobs: all there already" in inside("init").stdout
    assert {p.stem for p in home.jobs_dir.glob("*.toml")} == {
        p.stem for p in (Path(__file__).parents[2] / "jobs.d").glob("*.toml")
    }
    assert (home.jobs_dir / "pretrain.toml").stat().st_mode & 0o777 == 0o600
