"""Mistakes in maejobs.toml: no job starts, and somebody learns of it."""

import json

import pytest

from maejobs import clock
from maejobs.cron.schedule import RECONCILE
from maejobs.home import open_home
from maejobs.notify.judge import judge
from maejobs.supervise.cancel import find_record


def test_a_slot_that_bad_settings_keep_from_starting_is_recorded_as_failed(home, write_job, inside):
    write_job("quick", 'command = ["true"]\n')
    settings = home.config_file.read_text()
    home.config_file.write_text("foo = 1\n" + settings)

    done = inside("exec", "quick", "--slot", "20260301T0200Z")

    why = f"{home.config_file}: unknown key foo; known: "
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"maejobs: {why}")
    assert done.stderr.count("\n") == 1
    run = find_record(home, "quick")
    assert (run.id, run.state, run.failure_class) == (
        "quick-20260301T0200Z-1",
        "failed",
        "bad_job_file",
    )
    assert run.reason.startswith(f"bad settings: {why}")

    home.config_file.write_text(settings)
    assert inside("reconcile").stdout == f"taken up: {run.id}\n"
    (row,) = json.loads(inside("runs", "--json").stdout)
    assert (row["id"], row["state"], row["reason"]) == (run.id, run.state, run.reason)


def test_people_are_told_of_it_once_the_settings_are_mended(home, write_job, maejobs, inside):
    write_job("quick", 'command = ["true"]\n')
    settings = home.config_file.read_text()
    home.config_file.write_text("[notify\n")
    assert maejobs("exec", "quick").returncode == 2
    home.config_file.write_text(settings)
    inside("reconcile")

    home.config_file.write_text(settings + '[notify]\nurls = ["json://localhost:9"]\n')
    (change,) = judge(open_home(str(home.root)), clock.now(), dry_run=True)
    assert change.job == "quick"


@pytest.mark.parametrize(
    "arguments",
    [["exec", "quikc"], ["exec", "quick", "--dry-run"], ["exec", "quick", "--slot", "x"]],
)
def test_a_slip_of_the_fingers_leaves_nothing(home, write_job, inside, snapshot, arguments):
    write_job("quick", 'command = ["true"]\n')
    home.config_file.write_text("foo = 1\n")
    before = snapshot()
    assert inside(*arguments).returncode == 2
    assert snapshot() == before


def test_reconcile_called_by_cron_tells_it_once(home, inside):
    home.config_file.write_text("foo = 1\n")
    assert "unknown key foo" in inside("exec", RECONCILE).stderr
    again = inside("exec", RECONCILE)
    assert (again.returncode, again.stdout, again.stderr) == (2, "", "")


def test_doctor_finds_the_mistake_and_looks_at_the_jobs_all_the_same(home, write_job, inside):
    write_job("quick", "command = 3\n")
    home.config_file.write_text("foo = 1\n")
    done = inside("doctor", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert list(findings) == ["home", "settings", "job quick"]
    assert findings["settings"]["verdict"] == findings["job quick"]["verdict"] == "bad"
    assert "unknown key foo" in findings["settings"]["text"]
