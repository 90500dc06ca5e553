"""`maejobs doctor`: cron's environment, who may have a table, and who serves it."""

import grp
import os
from pathlib import Path

import pytest

from maejobs.cli import scheduler_check
from maejobs.cli.environment_check import differing, lacking, lines_above
from maejobs.cron.lines import parse_lines
from maejobs.cron.target import open_target
from maejobs.daemon.alone import is_served, only_daemon
from maejobs.launch.gpus import Gpu

BLOCK = b"# >>> maejobs (managed) >>>\n# <<< maejobs <<<\n"


def test_only_lines_above_the_block_change_it() -> None:
    lines = parse_lines(b"TZ=UTC\n# PATH=/x\n" + BLOCK + b"HOME=/tmp\n")
    assert [line.name for line in lines_above(lines)] == ["TZ"]
    assert lines_above(parse_lines(b"TZ=UTC\n")) == []


@pytest.mark.parametrize(
    ("table", "jobs", "missing"),
    [
        ({}, [{}], ["TMPDIR", "HF_HOME", "/opt/tool in PATH"]),
        ({"TMPDIR": "/t", "HF_HOME": "/h"}, [{}], ["HF_HOME", "/opt/tool in PATH"]),
        ({}, [{"HF_HOME": "/h", "TMPDIR": "/t", "PATH": "/p"}], []),
        ({}, [{"HF_HOME": "/h", "PATH": "/p"}, {"TMPDIR": "/t", "PATH": "/p"}], None),
        ({}, [], []),
    ],
)
def test_what_a_job_lacks(table, jobs, missing) -> None:
    caller = {"TMPDIR": "/s", "HF_HOME": "/secret", "EDITOR": "vi", "PATH": "/opt/tool:/bin:"}
    expected = ["TMPDIR", "HF_HOME"] if missing is None else missing
    assert lacking(caller, table, jobs, "/usr/bin:/bin") == expected


def test_an_environment_whose_programs_jobs_find_is_not_lacking() -> None:
    caller = {"VIRTUAL_ENV": "/home/anna/venv"}
    assert lacking(caller, {}, [{}], "/home/anna/venv/bin:/bin") == []
    assert lacking(caller, {}, [{}], "/opt/other/bin:/bin") == ["VIRTUAL_ENV"]


def test_the_doctor_names_what_lacks_and_no_value(home, write_job, maejobs) -> None:
    write_job("quick", 'command = ["true"]\n')
    Path(home.crontab).write_bytes(b"SHELL=/bin/bash\n" + BLOCK)
    told = maejobs("doctor", HF_HOME="/a/secret/place").stdout
    assert "set here but not for jobs: HF_HOME;" in told
    assert "secret" not in told
    assert "warning  SHELL in the crontab: line 1" in told


def test_the_doctor_tells_of_lines_of_a_home_that_was_moved(home, write_job, inside):
    write_job("quick", 'command = ["true"]\n')
    inside("schedule", "quick", "0 2 * * *")
    assert "is not there" not in inside("doctor").stdout
    table, moved = Path(home.crontab), str(home.root.with_name("before"))
    table.write_bytes(table.read_bytes().replace(bytes(home.root), moved.encode()))
    assert f"warning  entry quick: its home {moved} is not there, so" in inside("doctor").stdout
    # As one in a directory that may not be looked into, which there is none of for root.
    table.write_bytes(table.read_bytes().replace(moved.encode(), b"/" + 300 * b"h"))
    told = inside("doctor")
    assert "schedules no job of this home" in told.stdout, told.stderr
    assert "is not there, so" not in told.stdout


def test_the_doctor_tells_of_records_that_were_set_aside(home, inside):
    def told() -> list[str]:
        return [line for line in inside("doctor").stdout.splitlines() if "  records: " in line]

    assert told() == []
    for name in ("a.unreadable", "b.duplicate", "c.json", "d.unreadable", "e.unreadable"):
        (home.spool_dir / name).write_text("?")
    (line,) = told()
    assert f"4 (a.unreadable, b.duplicate, d.unreadable, …) set aside in {home.spool_dir}:" in line
    assert line.startswith("warning")


def test_the_doctor_tells_of_messages_that_were_set_aside(home, inside):
    assert " messages: " not in inside("doctor").stdout
    (home.notify_dir / "outbox").mkdir()
    (home.notify_dir / "outbox" / "alert-night.json").write_text("?")
    inside("notify", "send")
    told = inside("doctor").stdout
    assert f"messages: 1 (alert-night.unreadable) set aside in {home.notify_dir}/outbox:" in told


def test_the_doctor_names_a_sick_gpu_where_a_job_asks_for_any(inside, write_job, monkeypatch):
    gpus = [Gpu(0, 10, ()), Gpu(1, None, (), "GPU is lost")]
    monkeypatch.setattr("maejobs.launch.gpus.read_gpus", lambda: gpus)
    write_job("quick", 'command = ["true"]\n')
    assert "GPU" not in inside("doctor").stdout
    write_job("quick", 'command = ["true"]\ngpu = { count = 1 }\n')
    assert "warning  GPUs: GPU 1 cannot be used: GPU is lost\n" in inside("doctor").stdout


@pytest.mark.parametrize(
    ("runs", "told"),
    [
        ([], []),
        ([{"HOME": "/home/ada", "LANG": "C.UTF-8"}], ["LANG is C.UTF-8 for jobs, de_DE here"]),
        ([{"HOME": "/home/ada", "LANG": "de_DE"}, {"LANG": "de_DE"}],
         ["HOME is not set for jobs, /home/ada here"]),
    ],
)  # fmt: skip
def test_what_cron_sets_otherwise(runs, told) -> None:
    assert differing({"HOME": "/home/ada", "LANG": "de_DE", "TZ": ""}, runs) == told


def test_the_doctor_tells_the_shells_environment_from_crons(home, write_job, inside, monkeypatch):
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("HF_TOKEN", "a-secret")
    write_job("quick", 'command = ["true"]\n')
    told = inside("doctor").stdout
    assert "LANG is C.UTF-8 for jobs, de_DE.UTF-8 here; TZ is not set for jobs" in told
    assert "HF_TOKEN" in told
    assert "a-secret" not in told

    (home.root / "secrets").write_text("HF_TOKEN=another\n")
    (home.root / "secrets").chmod(0o600)
    write_job("quick", 'command = ["true"]\nenv_file = "secrets"\nenv = { LANG = "de_DE.UTF-8" }\n')
    Path(home.crontab).write_bytes(b"TZ=Asia/Tokyo\n" + BLOCK)
    told = inside("doctor").stdout
    assert "LANG is" not in told
    assert "TZ is" not in told
    assert "HF_TOKEN" not in told


def test_who_may_have_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = grp.getgrgid(os.getegid()).gr_name
    monkeypatch.setattr(scheduler_check, "CRON_GROUP", ours)
    allow, deny = tmp_path / "allow", tmp_path / "deny"

    def why(user: str) -> str | None:
        return scheduler_check.kept_out(user, allow, deny)

    assert why("joe") is None
    deny.write_text("joe\n")
    assert why("joe") == f"{deny} names joe"
    assert why("ann") is None
    allow.write_text("joe\n")
    assert why("joe") is None
    assert why("ann") == f"{allow} does not name ann"
    assert why("root") is None
    allow.chmod(0o600)
    assert "cannot be read by the group" in (why("joe") or "")


def test_the_doctor_sees_which_daemon_serves_a_file(home, maejobs) -> None:
    assert "no maejobs daemon runs" in maejobs("doctor").stdout
    target = open_target(home.crontab)
    with only_daemon(target):
        assert is_served(target)
        told = maejobs("doctor").stdout
    assert "good     daemon: maejobs daemon runs" in told
    assert "warning  heartbeat: maejobs daemon runs, but it leaves no heartbeat" in told
    assert not is_served(target)
    with only_daemon(target):
        pass
