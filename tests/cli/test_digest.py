"""`maejobs digest` of a home that has lived: real runs, a real picture, a real pager."""

import json
import re
from base64 import b64decode
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from databases import configure, take_away, told_of_absence
from pager import pager
from recorded_runs import a_run
from running import python
from sqlalchemy import insert, select

from maejobs import clock
from maejobs.digest.gather import gather
from maejobs.digest.mail import put
from maejobs.notify.outbox import waiting
from maejobs.rundb.database import open_database
from maejobs.rundb.record import write_run
from maejobs.rundb.schema import runs

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)
DRAWS = (
    f"""
import base64, json, os
with open(os.environ["MAEJOBS_RUN_DIR"] + "/loss.png", "wb") as picture:
    picture.write(base64.b64decode("{PIXEL}"))
"""
    + """
with open(os.environ["MAEJOBS_EVENTS"], "a") as events:
    for event in (
        {"event": "progress", "step": 3, "total": 10},
        {"event": "artifact", "name": "loss", "path": "loss.png"},
        {"event": "artifact", "name": "secret", "path": "/etc/passwd"},
        {"event": "checkpoint", "path": "/nowhere/main/checkpoints/step-000000003", "step": 3},
    ):
        print(json.dumps(event), file=events)
"""
)


@pytest.fixture
def lived_in(home, write_job, inside):
    write_job("draws", python(DRAWS))
    write_job("fails", 'command = ["false"]\n')
    inside("schedule", "draws", "0 2 * * *")
    inside("run", "draws")
    inside("run", "fails")


def test_what_a_clock_noted_that_was_ahead_hides_no_night(home, inside):
    with open_database(home) as engine:
        for days, state in ((3650, "failed"), (0, "succeeded")):
            at = clock.now() + timedelta(days=days, hours=-1)
            times = {"queued": at, "started": at, "finished": at}
            write_run(engine, a_run(night=days, state=state, **times))
        ahead = clock.now() + timedelta(days=365)  # the clock was set while it ran
        write_run(engine, a_run("other", state="running", queued=ahead, started=ahead))
    told = json.loads(inside("digest", "--json").stdout)
    assert {run["job"]: run["state"] for run in told["runs"]} == {
        "pretrain": "succeeded",
        "other": "running",
    }
    assert told["to_do"] == []


@pytest.mark.both_databases
def test_it_tells_what_ran_and_what_is_to_be_done(lived_in, inside, tmp_path):
    done = inside("digest", "--html", str(tmp_path / "morning.html"))
    assert "fails: failed (exit code 1)" in done.stdout
    assert "3 of 10 (30 %)" in done.stdout
    assert "/nowhere/main: no such campaign directory" in done.stdout
    assert done.returncode == 1  # for it could not look whether that campaign is safe
    html = (tmp_path / "morning.html").read_text()
    assert f"base64,{PIXEL}" in html
    assert html.count("base64,") == 1
    told = json.loads(inside("digest", "--json").stdout)
    assert [run["job"] for run in told["runs"]] == ["draws", "fails"]
    assert told["coming"][0]["job"] == "draws"
    assert [picture["name"] for picture in told["pictures"]] == ["loss"]


def test_it_is_sent_with_its_html(home, lived_in, inside, monkeypatch):
    monkeypatch.setattr("maejobs.notify.hooks.start_detached", lambda _: 0)
    with pager() as there:
        configure(home, f'crontab = "crontab"\n[notify]\nurls = ["json://{there.address}/"]\n')
        inside("digest", "--send", "--dry-run")
        assert waiting(home) == []
        inside("digest", "--send")
        (message,) = waiting(home)
        assert inside("notify", "send").returncode == 0
        ((_, body),) = there.got
    told = json.loads(body)
    assert "1 of 2 runs succeeded" in told["title"]
    (attached,) = told["attachments"]
    assert attached["filename"] == f"{message.name}.html"
    assert b"data:image/png" in b64decode(attached["base64"])
    assert list((home.notify_dir / "outbox").iterdir()) == []


def test_a_later_one_of_the_day_replaces_one_that_waits(home):
    def said(text: str) -> tuple[str, bytes]:
        digest = gather(home, clock.now() - timedelta(days=1))
        message = put(home, replace(digest, trouble=(text,)))
        (waits,) = waiting(home)
        assert waits == message
        return waits.body, Path(waits.attachment).read_bytes()

    for text in ("at night", "in the morning"):
        assert [text in part for part in map(str, said(text))] == [True, True]


def test_a_job_of_each_minute_hides_no_failure_of_the_night(home, inside):
    now = clock.now()
    times = [now - timedelta(seconds=n) for n in range(1, 1100)]
    with open_database(home) as engine:
        write_run(engine, a_run(**ended(now - timedelta(hours=4), "failed")))
        write_run(engine, a_run("often", **ended(now, "succeeded")))
        with engine.begin() as connection:
            (row,) = connection.execute(select(runs).where(runs.c.job == "often")).mappings()
            rest = [dict(row) | ended(at, "succeeded") | {"id": f"often-{at}"} for at in times]
            connection.execute(insert(runs), rest)
    done = inside("digest")
    assert "pretrain: failed" in done.stdout
    assert re.search(r"often +1,100 runs +1,100 succeeded", done.stdout)


def ended(at, state):
    return dict.fromkeys(("slot", "queued", "started", "finished"), at) | {"state": state}


def test_mistakes_are_told(home, lived_in, inside):
    for words in (("--send",), ("--since", "yesterday")):
        done = inside("digest", *words)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
    take_away(home)
    done = inside("digest")
    assert done.returncode == 1
    assert "cannot be read: " in done.stdout
    assert "what ran is not known; " in done.stdout
    assert done.stdout.count("  not known\n") == 2  # nor what it wrote
    assert "nothing ran" not in done.stdout
    assert told_of_absence(home) in done.stdout
