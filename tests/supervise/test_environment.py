"""The environment of a run: built, not inherited."""

import os
import pwd
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from running import log_of, shell

from maejobs.jobs.load import parse_job
from maejobs.supervise.environment import build_environment, placeholder_values
from maejobs.supervise.execute import execute

DEADLINE = datetime(2026, 11, 24, 5, 0, tzinfo=UTC)
CRONS = {"HOME": "/home/ada", "LOGNAME": "ada", "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}


@pytest.fixture
def built(home):
    def build(text: str = "", deadline=None, **inherited: str) -> dict[str, str]:
        job = parse_job(Path("night.toml"), "night", f'command = ["true"]\n{text}')
        values = placeholder_values(home, job, "night-1", Path("/runs/night-1"))
        events = Path("/runs/night-1/events.jsonl")
        return build_environment(home, job, values, events, deadline, CRONS | inherited)

    return build


def test_our_interpreter_comes_first_on_the_path(built):
    first, *rest = built()["PATH"].split(":")

    assert first == str(Path(sys.executable).parent)
    assert {"/usr/bin", "/bin", "/usr/local/bin"} <= set(rest)


def test_the_account_is_told_as_a_login_would(built):
    environment = built()

    assert environment["HOME"] == "/home/ada"
    assert environment["USER"] == environment["LOGNAME"] == pwd.getpwuid(os.getuid()).pw_name
    assert environment["LANG"] == "C.UTF-8"


def test_a_number_that_no_user_has_is_told_as_such(built, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 54321)  # as in a container

    environment = built()

    assert (environment["HOME"], environment["USER"]) == ("/home/ada", "54321")


def test_a_caller_without_a_home_directory_gets_the_accounts(home, monkeypatch):
    job = parse_job(Path("night.toml"), "night", 'command = ["true"]\n')
    values = placeholder_values(home, job, "night-1", Path("/runs"))

    environment = build_environment(home, job, values, Path("/runs/e"), None, {})

    assert environment["HOME"] == pwd.getpwuid(os.getuid()).pw_dir


def test_zone_and_language_are_passed_on_and_nothing_else(built):
    environment = built(
        TZ="Asia/Tokyo", LANG="de_DE.UTF-8", AWS_SECRET_ACCESS_KEY="x", PYTHONPATH="x"
    )

    assert environment["TZ"] == "Asia/Tokyo"
    assert environment["LANG"] == "de_DE.UTF-8"
    assert "AWS_SECRET_ACCESS_KEY" not in environment
    assert "PYTHONPATH" not in environment


def test_the_contract_is_kept(built, home):
    environment = built(deadline=DEADLINE)

    assert environment["MAEJOBS_HOME"] == str(home.root)
    assert environment["MAEJOBS_RUN_ID"] == "night-1"
    assert environment["MAEJOBS_RUN_DIR"] == "/runs/night-1"
    assert environment["MAEJOBS_EVENTS"] == "/runs/night-1/events.jsonl"
    assert float(environment["MAEJOBS_DEADLINE"]) == DEADLINE.timestamp()


def test_a_run_without_a_deadline_is_told_none(built):
    assert "MAEJOBS_DEADLINE" not in built()


def test_in_a_rehearsal_the_deadline_is_in_real_seconds_all_the_same(built, monkeypatch):
    monkeypatch.setenv("MAEJOBS_CLOCK_SHIFT", "3600")

    told = float(built(deadline=DEADLINE)["MAEJOBS_DEADLINE"])

    assert told == DEADLINE.timestamp() - 3600


def test_the_jobs_own_variables_are_expanded_and_win_over_ours(built, home):
    environment = built('[env]\nCACHE = "{home}/cache"\nLANG = "C"\nPLAIN = "{{x}}"\n')

    assert environment["CACHE"] == f"{home.root}/cache"
    assert environment["LANG"] == "C"
    assert environment["PLAIN"] == "{x}"


def test_the_env_file_is_read_as_it_stands_and_env_goes_before_it(home, write_job):
    secrets = home.root / "my secrets"
    secrets.write_text("TOKEN='{run_id} $HOME'\nBOTH=file\nLANG=de_DE.UTF-8\n")
    secrets.chmod(0o600)
    seen = home.root / "seen"  # not the log, in which secrets are hidden
    rest = 'env_file = "{home}/my secrets"\nenv = { BOTH = "env" }\n'
    write_job("show", shell(f"env > {seen}") + rest)

    execute(home, "show", "manual")

    lines = seen.read_text().splitlines()
    assert {"TOKEN={run_id} $HOME", "BOTH=env", "LANG=de_DE.UTF-8"} <= set(lines)


def test_a_missing_env_file_is_the_reason_why_a_run_did_not_start(home, write_job):
    write_job("show", shell("env") + 'env_file = "gone"\nretries = 3\n')

    run = execute(home, "show", "manual").run

    assert (run.state, run.started) == ("failed", None)
    assert run.reason == f"{home.root}/gone cannot be read: No such file or directory"


def test_a_real_command_sees_none_of_its_callers_secrets(home, write_job, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "hunter2")
    write_job("show", shell("env") + '[env]\nMINE = "{run_id}"\n')

    run = execute(home, "show", "manual").run

    lines = log_of(home, "show").splitlines()
    assert "hunter2" not in log_of(home, "show")
    assert f"MINE={run.id}" in lines
    assert f"MAEJOBS_RUN_DIR={run.directory}" in lines
