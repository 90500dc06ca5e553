"""Whether people are told of a database that is away: in time, once, and again when it is back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from databases import away, configure, take_away
from small_disk import fill, needs_root, small_disk

from maejobs.cron.fires import ZONE_VARIABLE
from maejobs.home import Home
from maejobs.notify import hooks
from maejobs.notify.outbox import remove, waiting
from maejobs.rundb.database import DatabaseUnavailable
from maejobs.watch.away import FOR_LONG, Absence, message_of, next_absence, tell_of_database
from maejobs.watch.reconcile import reconcile

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def told(*looks: tuple[int, bool]) -> list[str]:
    """The titles of what is told, after looks at so many minutes past noon: is it away?"""
    absence, titles = None, []
    for minutes, is_away in looks:
        now = NOON + minutes * MINUTE
        after = next_absence(absence, is_away, now)
        message = message_of(absence, after, now, UTC, "here")
        titles += [message.title] if message else []
        absence = after
    return titles


def test_a_short_absence_is_no_news():
    assert told((0, True), (25, True), (29, False), (31, True), (60, True), (61, False)) == []


def test_a_long_one_is_told_once_and_so_is_its_end():
    looks = [(minutes, True) for minutes in range(0, 300, 5)]
    titles = ["maejobs: the run database is away", "maejobs: the run database is back"]
    assert told(*looks) == titles[:1]
    assert told(*looks, (300, False), (305, False)) == titles
    assert told(*looks, (300, False), *((m + 400, away) for m, away in looks)) == [
        *titles,
        titles[0],
    ]


def test_a_clock_that_is_turned_back_begins_anew():
    assert next_absence(Absence(NOON), True, NOON - MINUTE) == Absence(NOON - MINUTE)


def test_the_words_hold_what_is_needed_and_no_path():
    message = message_of(Absence(NOON), Absence(NOON, told=True), NOON + FOR_LONG, UTC, "here")
    assert message.body == (
        "host: here\naway since: Sun 01 Mar 12:00\nRuns go on and their records wait, but missed "
        "and lost ones are not found.\n`maejobs doctor` tells more."
    )


@pytest.fixture
def telling(home, monkeypatch) -> Home:
    """A home that tells somebody; nobody is started who would send."""
    monkeypatch.setattr(hooks, "start_detached", lambda arguments: 0)
    settings = {"urls": ["json://127.0.0.1:1/"]}
    configure(home, 'crontab = "crontab"\n[notify]\nurls = ["json://127.0.0.1:1/"]\n')
    return replace(home, configured_notify=settings)


def looked_at(home: Home, minutes: int, **options: bool) -> None:
    with time_machine.travel(NOON + minutes * MINUTE, tick=False):
        reconcile(home, **options)


def names(home: Home) -> list[str]:
    return [message.name for message in waiting(home)]


@pytest.mark.both_databases
@pytest.mark.fault
def test_reconcile_tells_of_it_without_a_database(telling, monkeypatch):
    monkeypatch.setenv(ZONE_VARIABLE, "Asia/Kathmandu")
    with away(telling):
        for minutes in range(0, 40, 5):
            with pytest.raises(DatabaseUnavailable):
                looked_at(telling, minutes)
            assert names(telling) == (["alert-database-20260301T120000Z"] if minutes >= 30 else [])
        assert "away since: Sun 01 Mar 17:45\n" in waiting(telling)[0].body
    looked_at(telling, 40, dry_run=True)
    assert len(names(telling)) == 1
    looked_at(telling, 40)
    looked_at(telling, 45)
    both = ["alert-database-20260301T120000Z", "recovery-database-20260301T120000Z"]
    assert names(telling) == both


def test_a_home_that_tells_nobody_keeps_nothing(home):
    take_away(home)
    with pytest.raises(DatabaseUnavailable):
        looked_at(home, 0)
    assert list(home.notify_dir.iterdir()) == []


@needs_root
@pytest.mark.fault
def test_on_a_full_disk_it_is_told_later_and_once(telling, tmp_path_factory):
    disk = tmp_path_factory.mktemp("disk")
    with small_disk(disk, "1m"):
        home, filler = replace(telling, root=disk), disk / "filler"
        (disk / "maejobs.toml").write_bytes(telling.config_file.read_bytes())
        tell_of_database(home, True, NOON)
        fill(filler)
        tell_of_database(home, True, NOON + 2 * FOR_LONG)
        assert waiting(home) == []
        filler.unlink()
        tell_of_database(home, True, NOON + 3 * FOR_LONG)
        (message,) = waiting(home)
        remove(home, message)
        tell_of_database(home, True, NOON + 4 * FOR_LONG)
        assert waiting(home) == []
