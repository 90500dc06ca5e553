"""A job's secrets reach its command, and no record or screen of ours."""

import json

import pytest
from databases import content
from running import shell

SECRET = "hunter2-and-more"


@pytest.fixture
def secretive(home, write_job):
    """A job with secrets in its file, its `env_file` and its command."""
    write_job(
        "secretive",
        shell(f"echo {SECRET} $FROM_FILE")
        + 'env_file = "secrets"\n'
        + f'env = {{ API_KEY = "{SECRET}", DATA = "/data" }}\n',
    )
    (home.root / "secrets").write_text("FROM_FILE=from-the-file\n")
    (home.root / "secrets").chmod(0o600)


@pytest.mark.both_databases
def test_secrets_are_in_no_record_and_on_no_screen(home, secretive, inside):
    told = inside("run", "secretive").stdout  # which shows its log
    assert told.startswith(f"{'*' * len(SECRET)} ")
    for arguments in (
        *(["run", "secretive", "--dry-run"], ["run", "secretive", "--dry-run", "--json"]),
        *(["exec", "secretive", "--dry-run"], ["jobs", "--json"], ["show", "secretive"]),
        *(["show", "secretive", "--json"], ["runs", "--json"], ["doctor"]),
    ):
        done = inside(*arguments)
        told += done.stdout + done.stderr
    for record in home.runs_dir.glob("*/*/run.json"):
        told += record.read_text()
    told += content(home)

    assert told.count("echo ***") >= 5
    assert SECRET not in told
    assert "from-the-file" not in told
    assert "/data" in told


def test_an_env_file_that_others_may_read_keeps_the_job_from_starting(home, secretive, inside):
    (home.root / "secrets").chmod(0o640)
    mend = f"`chmod 600 {home.root}/secrets`"

    assert mend in inside("doctor").stdout
    assert inside("run", "secretive").returncode == 1

    (run,) = json.loads(inside("runs", "--json").stdout)
    assert run["started"] is None
    assert mend in run["reason"]


@pytest.mark.parametrize(
    "value", ['"hunter22{"', '"{hunter22}"', '"hunter22\\u0000"', "[[22334455]]"]
)
def test_a_mistake_in_a_secret_is_told_and_recorded_without_it(home, write_job, inside, value):
    write_job("bad", f'command = ["true"]\nenv = {{ API_KEY = {value} }}\n')

    jobs, run = inside("jobs"), inside("exec", "bad")

    assert (jobs.returncode, run.returncode) == (2, 2)
    told = jobs.stdout + jobs.stderr + run.stderr + inside("runs", "--json").stdout
    assert told.count("bad.toml:2: env.API_KEY: its value, not shown,") >= 3
    assert "hunter22" not in told
    assert "22334455" not in told
