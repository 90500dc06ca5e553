"""`maejobs notify`: a test that says what came of it, what waits, and the sending."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import databases
import pytest
from pager import pager

from maejobs.jobs.model import Notify
from maejobs.notify.message import Message
from maejobs.notify.outbox import put, waiting
from maejobs.notify.settings import Settings

DOCUMENT = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text()


@pytest.fixture
def configure(home):
    def write(*lines: str) -> None:
        databases.configure(home, "\n".join(['crontab = "crontab"', "[notify]", *lines]) + "\n")

    return write


def a_message(name: str = "alert-x") -> Message:
    return Message(name, "alert", datetime.now(UTC), "title \x1b", "body")


def test_a_test_tells_each_url_apart_and_shows_no_secret(configure, inside):
    with pager() as gone:
        dead = gone.address
    with pager() as there:
        configure(f'urls = ["json://hunter22:pass@{there.address}/hook", "json://{dead}/hunter22"]')
        done = inside("notify", "test")
        assert done.returncode == 1
        assert done.stdout.splitlines()[0] == "1 json://***: sent"
        assert re.match(r"2 json://\*\*\*: failed: .+", done.stdout.splitlines()[1])
        assert "hunter22" not in done.stdout + done.stderr
        assert len(there.got) == 1
        told = json.loads(inside("notify", "test", "--dry-run", "--json").stdout)
        assert [one["verdict"] for one in told] == ["not sent"] * 2
        assert len(there.got) == 1


def test_without_urls_or_with_a_mistake_there_is_one_clear_line(configure, inside):
    configure()
    done = inside("notify", "test")
    assert done.returncode == 2
    assert "put `urls` into its table [notify]" in done.stderr
    configure('urlz = ["json://hunter22"]')
    done = inside("notify", "test")
    assert done.returncode == 2
    assert "maejobs.toml: notify: unknown key urlz; did you mean urls?" in done.stderr
    assert "hunter22" not in done.stderr
    doctor = inside("doctor")
    assert "nobody is told" in doctor.stdout


def test_what_waits_is_listed(home, configure, inside):
    assert "nothing waits" in inside("notify", "list").stdout
    put(home, a_message())
    assert "alert-x" in inside("notify", "list").stdout
    (told,) = json.loads(inside("notify", "list", "--json").stdout)
    assert (told["message"], told["tries"]) == ("alert-x", 0)
    assert "quiet" not in inside("notify", "list").stdout
    configure('quiet_hours = "00:00-12:00"')
    in_the_morning = "only pings are sent until" in inside("notify", "list").stdout
    configure('quiet_hours = "12:00-00:00"')
    assert in_the_morning != ("only pings are sent until" in inside("notify", "list").stdout)


def test_a_dry_run_sends_nothing_and_says_what_it_would(home, configure, inside, snapshot):
    with pager() as there:
        configure(f'urls = ["json://{there.address}/"]')
        put(home, a_message())
        before = snapshot()
        assert inside("notify", "send", "--dry-run").stdout == "would send alert-x\n"
        assert inside("notify", "test", "--dry-run").returncode == 0
        assert snapshot() == before
        assert there.got == []
    assert len(waiting(home)) == 1


def test_sending_says_what_was_sent(home, configure, inside):
    assert inside("notify", "send").stdout == "nothing was due\n"
    with pager() as there:
        configure(f'urls = ["json://{there.address}/"]')
        put(home, a_message())
        assert inside("notify", "send").stdout == "alert-x to json://***: sent\n"
        assert there.titles == ["title \x1b"]


def test_a_jobs_ping_is_not_shown(write_job, inside):
    write_job("x", 'command = ["true"]\n[notify]\nping = "https://hc.example/hunter22"\n')
    done = inside("jobs", "--json")
    assert json.loads(done.stdout)[0]["notify"]["ping"] == "***"
    write_job("x", 'command = ["true"]\n[notify]\nping = "hunter22"\npimg = "hunter23"\n')
    done = inside("jobs")
    assert "notify.ping: write it like https://" in done.stderr
    assert "did you mean ping?" in done.stderr
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize(
    ("model", "intro"), [(Settings, "In `maejobs.toml`"), (Notify, "In a job")]
)
def test_every_key_is_documented_and_no_other(model, intro):
    table = DOCUMENT.split(intro)[1].split("\n\n")[1]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(model.model_fields)
