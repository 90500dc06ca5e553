"""When the digest is due: once a day, when the night is over, and not long after."""

import re
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from databases import away
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from recorded_runs import a_run

from maejobs.cron.block import Entry, replace_entries
from maejobs.cron.fires import ZONE_VARIABLE
from maejobs.digest.gather import gather
from maejobs.digest.mail import put_if_due
from maejobs.notify import hooks, outbox
from maejobs.notify.outbox import waiting
from maejobs.rundb.database import open_database
from maejobs.rundb.record import write_run
from maejobs.watch.morning import (
    Window,
    digest_is_due,
    is_due_at,
    is_due_by_window,
    last_digest,
    note_digest,
)
from maejobs.watch.reconcile import reconcile

DAY = datetime(2026, 11, 24, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def at(clock: float) -> datetime:
    return DAY + timedelta(hours=clock)


NIGHT = Window(at(2), at(6))


def by_window(clock: float, *windows: Window, last: datetime | None = None) -> bool:
    return is_due_by_window(at(clock), last, windows or (NIGHT,), UTC)


@pytest.mark.parametrize(
    ("clock", "due"),
    [(5, False), (6, False), (6.05, False), (6.1, True), (12, True), (12.1, False)],
)
def test_it_is_due_when_the_window_has_ended_and_not_much_later(clock, due):
    assert by_window(clock) is due


def test_it_is_sent_once_a_day():
    assert not by_window(6.2, last=at(6.1))
    assert not by_window(18.2, NIGHT, Window(at(9), at(18)), last=at(6.1))
    assert by_window(6.1, last=at(6.1) - timedelta(days=1))


def test_a_night_of_several_windows_ends_with_its_last():
    early = Window(at(1), at(4))
    assert not by_window(4.2, early, NIGHT)
    assert by_window(6.2, early, NIGHT)
    assert by_window(6.2, NIGHT, Window(at(6.1), at(30)))  # the next night has begun


def test_without_a_window_there_is_no_night():
    assert not is_due_by_window(at(6.2), None, [], UTC)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_the_rounds_there_is_at_most_one_a_day(steps):
    now, last, sent = at(0), None, []
    nights = [Window(at(24 * n + 2), at(24 * n + 6)) for n in range(20)]
    for hours in steps:
        now += timedelta(hours=hours, minutes=5)
        if is_due_by_window(now, last, [w for w in nights if w.begin <= now], BERLIN):
            last = now
            sent.append(now.astimezone(BERLIN).date())
    assert len(sent) == len(set(sent))


@pytest.mark.parametrize(
    ("clock", "last", "due"),
    [(6.9, None, False), (7, None, True), (13.1, None, False), (8, 7.1, False), (7, -16.9, True)],
)
def test_a_time_of_day_is_kept(clock, last, due):
    assert is_due_at(at(clock), at(last) if last else None, time(7), UTC) is due


@given(
    st.sampled_from([28, 29, 30]).map(lambda day: datetime(2026, 3, day, tzinfo=BERLIN))
    | st.sampled_from([24, 25, 26]).map(lambda day: datetime(2026, 10, day, tzinfo=BERLIN)),
    st.times(max_value=time(23, 49)).map(lambda t: time(t.hour, t.minute)),
    st.lists(st.integers(2, 9), min_size=1, max_size=5),
)
@example(datetime(2026, 3, 28, tzinfo=BERLIN), time(7, 30), [5])
@example(datetime(2026, 3, 28, tzinfo=BERLIN), time(2, 30), [5])
@example(datetime(2026, 10, 24, tzinfo=BERLIN), time(2, 30), [5])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_time_of_day_comes_once_a_day_whatever_the_clocks_do(begin, clock, rounds):
    now, last, sent = begin.astimezone(UTC), begin - timedelta(seconds=1), []
    while now < begin.astimezone(UTC) + timedelta(days=4):
        if is_due_at(now, last, clock, BERLIN):
            last = now
            sent.append(now.astimezone(BERLIN).replace(tzinfo=None))
        now += timedelta(minutes=rounds[now.minute % len(rounds)])
    days = [at.date() for at in sent]
    assert days[:3] == [begin.date() + timedelta(days=n) for n in range(3)]
    for at in sent:
        skipped = timedelta(hours=clock.hour == 2)
        assert timedelta(0) <= at - datetime.combine(at, clock) < timedelta(minutes=10) + skipped


def test_a_note_from_a_clock_that_was_ahead_keeps_nobody_waiting(home):
    note_digest(home, at(24 * 365))
    assert last_digest(home, at(7)) is None
    note_digest(home, at(7.1))
    assert last_digest(home, at(7)) == at(7.1)  # set back by minutes: it is today's all the same
    assert not is_due_at(at(7), at(7.1), time(7), UTC)


@pytest.fixture
def night(home, write_job, monkeypatch):
    """A home with a job of the night, and a clock to set."""
    write_job("pretrain", 'command = ["true"]\nuntil = "06:00"\n')
    command = f"/x/maejobs exec pretrain --home {home.root}"
    table = replace_entries(b"", [Entry("pretrain", "0 2 * * *", command)])
    Path(home.crontab).write_bytes(table)
    monkeypatch.setenv(ZONE_VARIABLE, "UTC")
    return replace(home, configured_notify={"urls": ["json://127.0.0.1:1/"]})


def test_the_homes_own_windows_count(night):
    assert not digest_is_due(night, at(5))
    assert digest_is_due(night, at(6.1))
    for digest_at, due in (("never", False), ("08:00", False), ("06:03", True)):
        table = night.configured_notify | {"digest_at": digest_at}
        assert digest_is_due(replace(night, configured_notify=table), at(6.1)) is due
    assert not digest_is_due(replace(night, configured_notify={}), at(6.1))


@pytest.mark.parametrize("digest_at", ["06:03", "window"])
def test_the_morning_is_that_of_the_jobs_whoever_asks(night, monkeypatch, digest_at):
    """A shell has its own zone, and a job has none of the zone that our daemon was given."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv(ZONE_VARIABLE, "America/New_York")  # where it is six at eleven, UTC
    home = replace(night, configured_notify=night.configured_notify | {"digest_at": digest_at})
    assert [hour for hour in range(24) if digest_is_due(home, at(hour + 0.1))] == [*range(11, 17)]
    home = replace(home, configured_dialect="cronie")
    table = Path(home.crontab)
    table.write_bytes(b"CRON_TZ=UTC\n" + table.read_bytes())
    assert [hour for hour in range(24) if digest_is_due(home, at(hour + 0.1))] == [*range(6, 12)]


def test_it_is_put_once_whoever_asks(night, monkeypatch):
    for clock in (6.1, 6.2, 6.3):
        monkeypatch.setattr("maejobs.clock.now", lambda clock=clock: at(clock))
        put_if_due(night, at(clock))
    (message,) = waiting(night)
    assert message.name == "digest-20261124"
    assert Path(message.attachment).read_text().startswith("<!doctype html>")


def test_while_another_sees_to_it_none_is_put(night):
    with outbox.held(night) as alone:
        assert alone
        put_if_due(night, at(6.1))
    assert waiting(night) == []
    put_if_due(night, at(6.1))
    assert len(waiting(night)) == 1


@pytest.mark.parametrize(("ago", "back"), [(24, 24), (60, 60), (80, 24), (None, 24)])
def test_it_tells_of_the_time_since_the_last_over_a_weekend_at_the_most(
    night, monkeypatch, ago, back
):
    looked_back = []

    def look(home, since, told):
        looked_back.append(at(6.1) - since)
        raise OSError

    monkeypatch.setattr("maejobs.digest.mail.gather", look)
    if ago is not None:
        note_digest(night, at(6.1 - ago))
    with pytest.raises(OSError, match=r"^$"):
        put_if_due(night, at(6.1))
    assert looked_back == [timedelta(hours=back)]


def recorded(home, clock: float, state: str, **fields) -> None:
    """A run of the night that has ended so, at that hour."""
    moments = dict.fromkeys(("slot", "queued", "started", "finished"), at(clock))
    run = a_run(state=state, **moments, **fields)
    with open_database(home) as engine:
        assert write_run(engine, run)


def told_at(home, monkeypatch, clock: float) -> list[str]:
    """The runs in the digest that is sent at that hour, with their states."""
    monkeypatch.setattr("maejobs.clock.now", lambda: at(clock))
    put_if_due(home, at(clock))
    (message,) = waiting(home)
    outbox.remove(home, message)
    return re.findall(r"pretrain +(?:Mon|Tue|Wed) .* (\w+)$", message.body, re.MULTILINE)


def test_what_was_noted_only_after_a_digest_stands_in_the_next_once(night, monkeypatch):
    recorded(night, 2, "succeeded", id="good")
    assert told_at(night, monkeypatch, 6.1) == ["succeeded"]
    recorded(night, 6, "missed", attempt=2, id="late")
    monkeypatch.setattr("maejobs.digest.mail.gather", meanwhile(night, gather))
    assert told_at(night, monkeypatch, 30.1) == ["missed"]
    monkeypatch.setattr("maejobs.digest.mail.gather", gather)
    assert told_at(night, monkeypatch, 54.1) == ["lost"]
    assert told_at(night, monkeypatch, 78.1) == []


def meanwhile(home, gather):
    """`gather`, and a run is recorded right after it."""

    def gathered(*arguments):
        digest = gather(*arguments)
        recorded(home, 30.05, "lost", attempt=3, id="meanwhile")
        return digest

    return gathered


def test_what_a_digest_could_not_read_stands_in_the_next(night, monkeypatch):
    recorded(night, 2, "succeeded", id="first")
    assert told_at(night, monkeypatch, 6.1) == ["succeeded"]
    recorded(night, 26, "failed", attempt=2, id="second")
    with away(night):
        assert told_at(night, monkeypatch, 30.1) == []
    assert told_at(night, monkeypatch, 54.1) == ["failed"]


def test_on_a_full_disk_none_is_put(night, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("maejobs.digest.mail.note_digest", full)
    with pytest.raises(OSError, match="No space"):
        put_if_due(night, at(6.1))
    assert list((night.notify_dir / "outbox").iterdir()) == []


def test_reconcile_has_it_sent(night, monkeypatch):
    started = []
    monkeypatch.setattr(hooks, "start_detached", lambda words: started.append(words[:2]) or 0)
    for clock in (5, 6.1):
        monkeypatch.setattr("maejobs.clock.now", lambda clock=clock: at(clock))
        reconcile(night)
    assert started == [["notify", "send"]]
