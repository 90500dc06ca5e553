"""When cron fires is told by cron's clock, whatever `TZ` the shell has that asks."""

import json
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from databases import change, configure, is_postgresql

from maejobs.cron import fires
from maejobs.cron.block import Entry, render_block
from maejobs.cron.fires import ZONE_VARIABLE
from maejobs.cron.target import open_target
from maejobs.daemon.alone import only_daemon
from maejobs.daemon.marks import heartbeat_file, write_heartbeat
from maejobs.rundb.database import open_database
from maejobs.rundb.record import set_job

NOW = datetime(2026, 11, 23, 18, 30, tzinfo=UTC)
NIGHTLY = "0 2 * * *"
SLOT = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)  # 02:00 in Berlin; in Tokyo it is past, in UTC not
DAY = timedelta(days=1)
OLD = ("--history-age", "365d")
WHOSE = ["the host", "who called", "our daemon", "cronie's variable"]
TOLD = "times are those of Europe/Berlin, in which cron fires; your clock shows Asia/Tokyo\n"


@pytest.fixture(autouse=True)
def in_tokyo(monkeypatch):
    """Where the shell is; the host's own clock shows New York's time."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv(ZONE_VARIABLE, "")  # what a command takes it for ends with the test
    monkeypatch.setattr(fires, "LOCALTIME", "/usr/share/zoneinfo/America/New_York")
    monkeypatch.setattr("maejobs.clock.now", lambda: NOW)


@pytest.fixture
def night(home, write_job):
    """A job from two to six, scheduled some days ago, that has not run."""
    write_job("pretrain", 'command = ["true"]\nuntil = "06:00"\n')
    command = f"/x/maejobs exec pretrain --home {home.root}"
    Path(home.crontab).write_bytes(render_block([Entry("pretrain", NIGHTLY, command)]))
    with open_database(home) as engine:
        set_job(engine, "pretrain", scheduled_since=NOW - 3 * DAY)
    return home


@pytest.fixture
def in_berlin(night, monkeypatch):
    """`in_berlin("our daemon")`: that it is what says that cron fires on Berlin's clock."""

    def begin(whose):
        if whose == "the host":
            monkeypatch.setattr(fires, "LOCALTIME", "/usr/share/zoneinfo/Europe/Berlin")
        elif whose == "who called":
            monkeypatch.setenv(ZONE_VARIABLE, "Europe/Berlin")
        elif whose == "our daemon":
            target = open_target(night.crontab)
            write_heartbeat(heartbeat_file(night, target), {"zone": "Europe/Berlin"})
            return only_daemon(target)
        else:
            configure(night, 'crontab = "crontab"\ndialect = "cronie"\n')
            table = Path(night.crontab)
            table.write_bytes(b"CRON_TZ=Europe/Berlin\n" + table.read_bytes())
        return nullcontext()

    return begin


@pytest.fixture
def worth_packing(home):
    """The database holds room that could be given back."""
    if not is_postgresql(home):
        change(home, "CREATE TABLE gone AS SELECT randomblob(1000000)", "DROP TABLE gone")


def instants(texts):
    return [datetime.fromisoformat(text) for text in texts]


@pytest.mark.usefixtures("worth_packing")
@pytest.mark.parametrize("whose", WHOSE)
def test_all_name_the_minutes_in_which_cron_fires(in_berlin, inside, home, monkeypatch, whose):
    def ask(*arguments):
        monkeypatch.setenv(ZONE_VARIABLE, "Europe/Berlin" if whose == "who called" else "")
        done = inside(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    with in_berlin(whose):
        coming = instants(slot["at"] for slot in ask("next", "-n", "3"))
        (row,) = ask("status")
        planned = ask("plan", "--days", "1")
        scheduled = ask("schedule", "pretrain", NIGHTLY, "--dry-run")
        checked = ask("check", NIGHTLY, "--from", "2026-11-24", "--until", "2026-11-24T02:01")
        digest = ask("digest")
        doctor = json.loads(inside("doctor", "--json").stdout)
        cleaned = ask("keep", "cleanup", *OLD, "--quiet-for", "7h", "--dry-run")
    assert coming == [SLOT, SLOT + DAY, SLOT + 2 * DAY]
    assert (instants([row["next"]]), row["late_seconds"]) == ([SLOT], (NOW - SLOT + DAY).seconds)
    for plan in (planned, scheduled["plan"]):
        firing = plan["firings"][0]
        assert instants([firing["slot"], firing["deadline"]]) == [SLOT, SLOT + DAY / 6]
        assert plan["zone"] == "Europe/Berlin"
    assert instants(scheduled["next"]) == coming
    assert instants(checked["next"])[:3] == coming
    assert checked["fires"] == [SLOT.timestamp()]
    assert [instants([one["slot"]]) for one in digest["coming"]] == [[SLOT]]
    assert doctor[-1]["text"] == "cron fires in Europe/Berlin; your clock shows Asia/Tokyo"
    itself = "PostgreSQL does that itself"
    why = itself if is_postgresql(home) else "a slot is due within 420 minutes"
    assert cleaned["history"]["not_packed"] == why


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (("next",), "Tue 2026-11-24 02:00"),
        (("status",), "Tue 02:00, in 6 h"),
        (("plan",), "Tue 24 Nov"),
        (("schedule", "pretrain", NIGHTLY, "--dry-run"), "next: Tue 2026-11-24 02:00 (in 6 h)"),
    ],
)
def test_it_is_said_whose_clock_that_is_where_the_shells_is_another(
    in_berlin, inside, monkeypatch, command, shown
):
    in_berlin("the host")
    told = inside(*command).stdout
    assert shown in told
    assert TOLD in told
    monkeypatch.setenv("TZ", "Europe/Rome")  # another name for the same time
    told = inside(*command).stdout
    assert shown in told
    assert "in which cron fires" not in told


def test_a_digest_names_its_zone(in_berlin, inside, tmp_path):
    in_berlin("cronie's variable")
    page = tmp_path / "page.html"
    told = inside("digest", "--html", str(page)).stdout
    span = "Sun 22 Nov 19:30 to Mon 23 Nov 19:30, Europe/Berlin"
    assert span in told
    assert span in page.read_text()
    assert "pretrain  Tue 24 Nov 02:00" in told


def test_by_hand_too_it_is_the_daemons_slot_and_morning(in_berlin, inside, home, monkeypatch):
    monkeypatch.setattr("maejobs.clock.now", lambda: SLOT + timedelta(minutes=7))
    with in_berlin("our daemon"):
        shown = inside("exec", "pretrain", "--dry-run").stdout
        assert "for the slot Tue 2026-11-24 02:00:" in shown
        notify = '[notify]\nurls = ["json://127.0.0.1:1/"]\ndigest_at = "02:03"\n'
        configure(home, f'crontab = "crontab"\n{notify}')
        monkeypatch.setenv(ZONE_VARIABLE, "")
        shown = inside("notify", "send", "--dry-run").stdout
        assert "would send digest of the night" in shown


def test_a_run_by_hand_ends_by_the_daemons_clock(in_berlin, inside):
    with in_berlin("our daemon"):
        run = json.loads(inside("run", "pretrain", "--json").stdout)
    assert instants([run["deadline"]]) == [SLOT + DAY / 6]


def test_a_daemon_that_is_gone_has_no_say(night, in_berlin, inside):
    in_berlin("our daemon")  # which leaves its heartbeat when it is killed
    (slot,) = json.loads(inside("next", "-n", "1", "--json").stdout)
    assert instants([slot["at"]]) == [SLOT + DAY / 4]  # New York's


def test_a_crontab_that_cannot_be_read_costs_status_no_answer(in_berlin, home, inside):
    in_berlin("cronie's variable")
    Path(home.crontab).unlink()
    Path(home.crontab).mkdir()
    done = inside("status", "--json")
    assert (done.returncode, json.loads(done.stdout)[0]["next"]) == (1, None)
    assert json.loads(inside("check", NIGHTLY, "--json").stdout)["next"][0].endswith(
        "02:00:00-05:00"
    )
