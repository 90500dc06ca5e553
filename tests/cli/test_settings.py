"""Mistakes in maejobs.toml: jobs run all the same, and somebody learns of it."""

import json

import pytest
from running import log_of

from maejobs import clock
from maejobs.cron.schedule import RECONCILE
from maejobs.notify import hooks, outbox, send
from maejobs.notify.message import ALERT, Message
from maejobs.supervise.cancel import find_record


def test_what_cron_starts_runs_all_the_same_and_its_record_waits(home, write_job, inside):
    write_job("quick", 'command = ["sh", "-c", "echo trained"]\n')
    settings = home.config_file.read_text()
    home.config_file.write_text("foo = 1\n" + settings)

    done = inside("exec", "quick", "--slot", "20260301T0200Z")

    why = f"{home.config_file}: unknown key foo; known: "
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith(f"maejobs: {why}")
    assert done.stderr.endswith("the record of quick-20260301T0200Z-1 is spooled\n")
    assert done.stderr.count("\n") == 1
    run = find_record(home, "quick")
    assert (run.state, log_of(home, "quick")) == ("succeeded", "trained\n")

    home.config_file.write_text(settings)
    assert inside("reconcile").stdout == f"taken up: {run.id}\n"
    (row,) = json.loads(inside("runs", "--json").stdout)
    assert (row["id"], row["state"]) == (run.id, run.state)


def test_a_jobs_own_ping_goes_out_and_alerts_wait(home, write_job, inside, monkeypatch):
    alert = Message("alert-x", ALERT, clock.now(), "x", "", job="x")
    outbox.put(home, alert)
    monkeypatch.setattr(hooks, "start_sender", lambda _: 0)
    told = []
    monkeypatch.setattr(send, "post", lambda parcel: told.append(parcel.url))
    write_job("quick", 'command = ["true"]\nnotify = { ping = "http://localhost:9/check" }\n')
    home.config_file.write_text("[notify\n")

    assert inside("exec", "quick").returncode == 0
    done = inside("notify", "send")

    assert [url.partition("?")[0] for url in told] == [
        "http://localhost:9/check/start",
        "http://localhost:9/check",
    ]
    assert outbox.waiting(home) == [alert]
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_where_there_is_no_home_yet_none_is_made(inside, tmp_path):
    (place := tmp_path / "none").mkdir(mode=0o700)
    (place / "maejobs.toml").write_text("foo = 1\n")
    for arguments in (["notify", "send"], ["exec", "quick"]):
        assert inside(*arguments, "--home", str(place)).returncode == 2
    assert [path.name for path in place.iterdir()] == ["maejobs.toml"]


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
