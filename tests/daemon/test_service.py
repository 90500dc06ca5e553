"""The daemon as a process, on a table that is a file."""

import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import configure

from maejobs.cron.target import open_target
from maejobs.daemon import marks
from maejobs.daemon.marks import boot_file, heartbeat_file, is_new_boot, mark_boot
from maejobs.home import Home

PATIENCE_SECONDS = 75.0  # a minute boundary may be that far away
SECONDS_TO_START = 4.0
MOST_RESIDENT_KB = 40 * 1024


def start(home: Home) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "maejobs", "daemon", "--home", str(home.root)]
    return subprocess.Popen(
        [*command, "--crontab", home.crontab, "--grace", "20"], stdout=subprocess.PIPE, text=True
    )


def wait_for(path: Path, text: str) -> None:
    latest = time.monotonic() + PATIENCE_SECONDS
    while not path.exists() or text not in path.read_text():
        assert time.monotonic() < latest, f"{text!r} did not come in {path}"
        time.sleep(0.05)


@pytest.fixture
def daemons() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_runs_reboot_jobs_as_cron_would_and_passes_term_on(
    home: Home, tmp_path: Path, daemons: list[subprocess.Popen[str]]
) -> None:
    seen = tmp_path / "seen"
    Path(home.crontab).write_text(
        f"GREETING=hello there\n@reboot cat > {seen}; pwd >> {seen}; umask >> {seen}; "
        f'echo "$GREETING $LANG" >> {seen}; trap "echo got TERM >> {seen}; exit 0" TERM; '
        f"echo ready >> {seen}; while :; do sleep 0.1; done%one%two\n"
    )
    daemons.append(daemon := start(home))
    wait_for(seen, "ready")
    second = start(home)
    daemons.append(second)
    assert second.wait(20) == 2
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    assert int(status.partition("VmRSS:")[2].split()[0]) < MOST_RESIDENT_KB
    daemon.send_signal(signal.SIGTERM)
    output, _ = daemon.communicate(timeout=20)
    assert daemon.returncode == 0
    there = str(Path(pwd.getpwuid(os.geteuid()).pw_dir).resolve())
    expected = ["one", "two", there, "0022", "hello there ", "ready", "got TERM"]
    assert seen.read_text().splitlines() == expected
    assert "line 2: process" in output
    assert "ended with status 0" in output


@pytest.mark.slow
def test_waits_for_what_a_shell_has_started_that_term_ended_first(
    home: Home, tmp_path: Path, daemons: list[subprocess.Popen[str]]
) -> None:
    seen, command = tmp_path / "seen", tmp_path / "command"
    command.write_text(
        f"#!/bin/sh\ntrap 'sleep 2; echo recorded >> {seen}; exit 0' TERM\n"
        f"echo ready >> {seen}\nwhile true; do sleep 0.1; done\n"
    )
    command.chmod(0o700)
    # As in a line of ours: the comment keeps the shell from becoming the command.
    Path(home.crontab).write_text(f"@reboot {command} # maejobs:night\n")
    daemons.append(process := start(home))
    wait_for(seen, "ready")
    process.terminate()
    assert process.wait(15) == 0
    assert "recorded" in seen.read_text()


def test_who_is_to_be_killed_may_kill_what_it_has_started_and_record_that(
    home: Home, tmp_path: Path, daemons: list[subprocess.Popen[str]]
) -> None:
    seen, command = tmp_path / "seen", tmp_path / "command"
    command.write_text(  # stands in for a supervisor
        f"#!/bin/sh\ntold() {{ [ $times ] && {{ echo recorded >> {seen}; exit 1; }}\n"
        f"times=1; echo told >> {seen}; }}\ntrap told TERM\n"
        f"echo ready >> {seen}\nwhile true; do sleep 0.05; done\n"
    )
    command.chmod(0o700)
    Path(home.crontab).write_text(f"@reboot {command} # maejobs:night\n")
    daemons.append(process := start(home))
    wait_for(seen, "ready")
    process.terminate()
    wait_for(seen, "told")
    process.terminate()
    assert process.wait(15) == 0
    assert "recorded" in seen.read_text()


def test_a_thousand_entries_start_in_their_minute_and_take_little(
    home: Home, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    table = [f"*/1 0-23 1-31 * {n % 7},* date +\\%s >> {seen} # {n}\n" for n in range(400)]
    table += [f"0-59 {n % 24},* * * * date +\\%s >> {seen}\n" for n in range(600)]
    Path(home.crontab).write_text("".join(table))
    # So that the minute ends soon, with time for the daemon to start.
    shift = 60 - SECONDS_TO_START - time.time() % 60
    configure(home, f"clock_shift = {shift:.3f}\n")
    command = [sys.executable, "-m", "maejobs", "daemon", "--home", str(home.root)]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen([*command, "--crontab", home.crontab], stdout=log) as daemon,
    ):
        try:
            latest = time.monotonic() + 2 * PATIENCE_SECONDS
            while not seen.exists() or len(seen.read_text().splitlines()) < 1000:
                assert time.monotonic() < latest
                time.sleep(0.1)
            status = Path(f"/proc/{daemon.pid}/status").read_text()
        finally:
            daemon.terminate()
    starts = sorted(map(int, seen.read_text().split()[:1000]))
    assert starts[-1] - starts[0] < 60
    assert int(status.partition("VmHWM:")[2].split()[0]) < MOST_RESIDENT_KB


def test_a_boot_counts_once(tmp_path: Path) -> None:
    marker = tmp_path / "boot"
    assert is_new_boot(marker)
    mark_boot(marker)
    assert not is_new_boot(marker)
    marker.write_text("another boot\n")
    assert is_new_boot(marker)


def test_a_boot_counts_once_as_well_where_others_processes_are_hidden(tmp_path, monkeypatch):
    monkeypatch.setattr(marks, "FIRST_PROCESS", tmp_path / "hidden")
    mark_boot(tmp_path / "boot")
    assert not is_new_boot(tmp_path / "boot")


def test_takes_up_a_changed_table_on_hup_and_a_second_signal_kills(
    home: Home, tmp_path: Path, daemons: list[subprocess.Popen[str]]
) -> None:
    seen = tmp_path / "seen"
    stubborn = f"@reboot trap '' TERM; echo $$ > {seen}; while :; do sleep 0.1; done\n"
    Path(home.crontab).write_text(stubborn)
    daemons.append(daemon := start(home))
    wait_for(seen, "\n")
    heartbeat = heartbeat_file(home, open_target(home.crontab))
    wait_for(heartbeat, "next")
    Path(home.crontab).write_text(stubborn + "0 0 1 1 * true\n0 0 2 1 * true\n")
    beat = json.loads(heartbeat.read_bytes())
    assert (beat["pid"], beat["entries"], beat["next"]) == (daemon.pid, 1, None)
    daemon.send_signal(signal.SIGHUP)
    assert daemon.stdout is not None
    while "3 jobs" not in (line := daemon.stdout.readline()):
        assert line, "the daemon ended without taking the table up"
    daemon.send_signal(signal.SIGTERM)
    while "stopping" not in (line := daemon.stdout.readline()):
        assert line, "the daemon ended without stopping in order"
    daemon.send_signal(signal.SIGTERM)
    daemon.communicate(timeout=10)  # half of its grace
    assert daemon.returncode == 0
    status = Path(f"/proc/{seen.read_text().strip()}/status")
    assert not status.exists() or "zombie" in status.read_text()


def test_a_home_that_cannot_be_written_stops_no_job(
    home: Home, tmp_path: Path, daemons: list[subprocess.Popen[str]]
) -> None:
    seen = tmp_path / "seen"
    Path(home.crontab).write_text(f"HOME=/no/such\n@reboot pwd > {seen}\nSHELL=sh\n@reboot true\n")
    marker = boot_file(home, open_target(home.crontab))
    marker.mkdir()  # as little to be written as a file of a full disk, for root as well
    daemons.append(daemon := start(home))
    wait_for(seen, "/")
    daemon.send_signal(signal.SIGTERM)
    output, _ = daemon.communicate(timeout=20)
    assert daemon.returncode == 0
    assert "@reboot jobs will start with the next daemon, too" in output
    assert "line 4: cannot be started: SHELL=sh is no path" in output


def test_each_table_of_a_home_has_its_boot(home: Home, tmp_path: Path, daemons) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"@reboot touch {tmp_path / name}.seen\n")
        command = [sys.executable, "-m", "maejobs", "daemon", "--home", str(home.root)]
        argv = [*command, "--crontab", str(tmp_path / name)]
        daemons.append(subprocess.Popen(argv, stdout=subprocess.DEVNULL))
    for name in ("one", "two"):
        wait_for(tmp_path / f"{name}.seen", "")
