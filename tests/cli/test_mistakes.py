"""What a user does wrong gets one clear line and a stable exit code, never a traceback."""

import os
import subprocess
from pathlib import Path

import pytest
from conftest import MAEJOBS
from databases import change, configure, ruin, take_away, told_of_absence

from maejobs.rundb.database import place_of

QUICK = 'command = ["true"]\n'


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["stauts"], 2, "no such command 'stauts'; did you mean status?"),
        (["keep", "rotat"], 2, "did you mean rotate?"),
        (["schedule"], 2, "see `maejobs schedule --help`"),
        (["runs", "-n", "0"], 2, "0 is not in the range"),
        (["runs", "--state", "gone"], 2, "'gone' is not one of"),
        (["list", "extra"], 2, "unexpected extra argument (extra)"),
        (["--home", "", "list"], 2, "a home needs a name"),
        (["schedule", "quik", "0 2 * * *"], 2, "'quik' in {home}/jobs.d; did you mean quick?"),
        (["schedule", "../quick", "0 2 * * *"], 2, "'../quick' is not a job name"),
        (["schedule", "a\nb", "0 2 * * *"], 2, r"'a\nb' is not a job name"),
        (["schedule", "quick", "0 2 * *\n*"], 2, "a line break has no place here"),
        (["schedule", "quick", "0", "2", "bin", "etc", "usr"], 2, 'quote the expression, as in "0'),
        (["check", "0", "2", "bin", "etc", "usr"], 2, 'quote the expression, as in "0 2 * * *"'),
        (["unschedule", "quick"], 2, "quick is not scheduled in the file {home}/crontab"),
        (["next", "quik"], 2, "did you mean quick?"),
        (["next", "quick"], 2, "quick is not scheduled"),
        (["runs", "quik"], 2, "did you mean quick?"),
        (["run", "quik"], 2, "did you mean quick?"),
        (["pause", "quik"], 2, "did you mean quick?"),
        (["resume", "../x"], 2, "'../x' is not a job name"),
        (["show", "quick-20990101T0000Z-1"], 2, "no run and no job with runs is called"),
        (["show", "a\n\x1b[2Jb"], 2, r"'a\n\x1b[2Jb'"),
        (["logs", "../../x"], 2, "is called '../../x'"),
        (["logs", "/etc"], 2, "is called '/etc'"),
        (["logs", ".."], 2, "is called '..'"),
        (["logs", ""], 2, "is called ''"),
        (["logs", "*"], 2, "is called '*'"),
        (["cancel", "quick"], 2, "quick has not run yet"),
        (["retry", "quick"], 2, "quick has not run yet"),
        (["logs", "quick"], 2, "quick has not run yet"),
        (["show", "quick"], 2, "quick has not run yet; `maejobs run quick` starts it now"),
        (["retry", "quik"], 2, "see `maejobs runs`"),
        (["exec", "quik"], 2, "did you mean quick?"),
        (["exec", "../x"], 2, "'../x' is not a job name"),
        (["keep", "rotate", "/no/such"], 2, "Directory '/no/such' does not exist"),
        (["keep", "cleanup", "--max-age", "soon"], 2, "--max-age"),
        (["keep", "cleanup", "--history-age", "soon"], 2, "--history-age"),
        (["keep", "cleanup", "--history-count", "-1"], 2, "--history-count"),
        (["adopt", "wiki", "--matching", os.fsdecode(b"\xe9")], 2, "no job line of the crontab"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_one_line_names_the_thing(home, write_job, inside, snapshot, arguments, code, words):
    write_job("quick", QUICK)
    before = snapshot()
    done = inside(*arguments)
    assert done.returncode == code
    assert words.format(home=home.root) in done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("maejobs: ")
    _, *more = done.stderr.splitlines()
    assert all(line.startswith("  ") for line in more), done.stderr  # the caret, at most
    assert snapshot() == before


SHOWN_BEFORE_INIT = ["status", "status --json", "jobs", "jobs --json", "next", "plan"]


@pytest.mark.parametrize(
    "command", ["run quick", "runs", "logs quick", "pause q", *SHOWN_BEFORE_INIT]
)
def test_without_a_home_init_is_named(inside, tmp_path, monkeypatch, command):
    told = (2, "", f"maejobs: no home at {tmp_path}/none; `maejobs init` makes it\n")
    done = inside(*command.split(), "--home", str(tmp_path / "none"))
    assert (done.returncode, done.stdout, done.stderr) == told
    monkeypatch.setenv("MAEJOBS_HOME", str(tmp_path / "none"))
    done = inside(*command.split())
    assert (done.returncode, done.stdout, done.stderr) == told


def test_a_newcomer_is_told_what_to_do(inside, tmp_path, monkeypatch):
    monkeypatch.delenv("MAEJOBS_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    table = ("--crontab", str(tmp_path / "crontab"))
    for command, words in [
        (("jobs",), f"no jobs in {tmp_path}/.local/share/maejobs/jobs.d; `maejobs init` puts"),
        (("next", *table), "nothing is scheduled; try `maejobs schedule"),
        (("plan", *table), "nothing is scheduled; try `maejobs schedule"),
    ]:
        done = inside(*command)
        assert (done.returncode, done.stderr) == (0, "")
        assert words in done.stdout


@pytest.mark.parametrize("option", [[], ["--dry-run"]])
def test_a_home_that_no_line_of_a_crontab_could_name_is_not_made(inside, tmp_path, option):
    home = tmp_path / "a\nb"
    done = inside("init", "--home", str(home), *option)
    assert (done.returncode, done.stdout) == (2, "")
    assert "a\\nb': a crontab line cannot hold a control character; rename it" in done.stderr
    assert not home.exists()


def test_a_bad_configuration_names_the_key(home, inside):
    configure(home, "cronttab = 'x'\n")
    for arguments in (["list"], ["status"], ["exec", "quick"]):
        done = inside(*arguments)
        assert done.returncode == 2
        assert f"{home.config_file}: unknown key cronttab; did you mean crontab?" in done.stderr


def test_a_bad_job_file_names_every_error_with_its_line(home, write_job, inside):
    write_job("quick", 'comand = ["true"]\nretries = 99\n')
    write_job("good", QUICK)
    done = inside("jobs")
    assert done.returncode == 2
    assert "good" in done.stdout
    assert "quick.toml:1: unknown key comand; did you mean command?" in done.stderr
    assert "quick.toml:2: retries" in done.stderr
    assert "see `maejobs doctor`" in inside("status").stdout
    doctor = inside("doctor")
    assert doctor.returncode == 1
    assert "bad      job quick" in doctor.stdout


def damage(home, how):
    if how == "gone":
        take_away(home)
    elif how == "not a database":
        ruin(home)
    else:
        change(home, "UPDATE alembic_version SET version_num = '9999'")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("gone", "{absence}"),
        pytest.param(
            "not a database",
            "run database {place}: file is not a database",
            marks=pytest.mark.sqlite("puts something else in the place of its file"),
        ),
        ("newer", "is of version 9999, newer than this maejobs"),
    ],
)
def test_without_its_database_the_rest_is_still_shown(home, write_job, inside, how, words):
    write_job("quick", QUICK)
    inside("schedule", "quick", "0 2 * * *")
    damage(home, how)
    words = words.format(absence=told_of_absence(home), place=place_of(home))
    for arguments in (["runs"], ["show", "quick"], ["reconcile"]):
        done = inside(*arguments)
        assert done.returncode == 1
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
    status = inside("status")
    assert status.returncode == 1
    assert words in status.stderr
    assert "quick" in status.stdout
    assert "02:00, in " in status.stdout
    assert "bad      database" in inside("doctor").stdout
    run = inside("run", "quick")
    assert run.returncode == 0, run.stderr
    assert inside("logs", "quick").returncode == 0


@pytest.mark.both_databases
def test_a_newer_database_is_not_upgraded_to_this_version(home, inside):
    damage(home, "newer")
    for arguments in (["db", "upgrade"], ["db", "upgrade", "--dry-run"], ["init"]):
        done = inside(*arguments)
        assert done.returncode == 1
        assert f"{place_of(home)} is of version 9999, newer than this maejobs" in done.stderr
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""


def test_a_hand_edited_expression_spoils_only_its_own_row(home, write_job, inside):
    write_job("quick", QUICK)
    write_job("other", QUICK)
    inside("schedule", "quick", "0 2 * * *")
    inside("schedule", "other", "0 3 * * *")
    table = Path(home.crontab)
    table.write_text(table.read_text().replace("0 2 * * *", "0 5-3 * * *"))
    status = inside("status")
    assert status.returncode == 0
    assert "03:00, in " in status.stdout
    assert "quick" in inside("next").stderr
    assert "other" in inside("next").stdout
    assert "bad      entry quick: 0 5-3 * * *: bad hour" in inside("doctor").stdout


def test_a_password_in_the_database_url_is_not_shown(home, inside):
    home.config_file.write_text('crontab = "crontab"\ndatabase_url = "sqlite://me:secret@/x.db"\n')
    for arguments in (["db", "info"], ["doctor"], ["runs"], ["status"]):
        done = inside(*arguments)
        assert "Traceback" not in done.stderr
        assert "secret" not in done.stdout + done.stderr
        assert "me:***@" in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["list", "status"])
def test_a_full_disk_is_one_line(home, command):
    Path(home.crontab).write_text("0 2 * * * /bin/true\n")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [MAEJOBS, command],
            env={"MAEJOBS_HOME": str(home.root), "PATH": "/usr/bin:/bin"},
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert done.returncode == 1
    assert done.stderr == (b"maejobs: standard output cannot be written: No space left on device\n")


@pytest.mark.parametrize("command", ["list", "check @daily", "next", "status", "doctor", "diff"])
def test_a_closed_standard_output_is_no_mistake(home, inside, command):
    shell = f'exec "$0" {command} --home "$1" >&- 2>&-'
    done = subprocess.run(["sh", "-c", shell, MAEJOBS, home.root])
    assert done.returncode == inside(*command.split()).returncode
