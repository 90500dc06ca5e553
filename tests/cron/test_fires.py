from datetime import UTC, date, datetime, timedelta
from itertools import islice, takewhile
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cron.strategies import expressions
from maejobs.cron.fires import (
    fires,
    host_zone,
    next_fire,
    previous_fire,
    scheduling_zone,
    zone_named,
)
from maejobs.cron.grammar import BadExpression, Expression, parse_expression

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
ZONES = [
    ZoneInfo(key)
    for key in (
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/Havana",  # jumps at midnight
        "America/Nuuk",  # skips the last hour of a day
        "America/Santiago",  # repeats the last hour of a day
        "Australia/Lord_Howe",  # by half an hour
        "Asia/Kathmandu",
        "Antarctica/Troll",  # by two hours
        "Africa/Casablanca",  # four jumps a year
    )
]
instants = st.datetimes(datetime(2025, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
zones = st.sampled_from(ZONES)


def on(text: str, day: date, zone: ZoneInfo) -> list[str]:
    """The fires of a local day, in local time with the offset's hours."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    found = fires(parse_expression(text), midnight.astimezone(UTC) - timedelta(minutes=1), zone)
    local = takewhile(lambda at: at.date() == day, (fire.astimezone(zone) for fire in found))
    return [f"{at:%H:%M}{at:%z}"[:-2] for at in local]


def count_2026(text: str) -> int:
    start, end = datetime(2025, 12, 31, 23, 59, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    return sum(1 for _ in takewhile(lambda at: at < end, fires(parse_expression(text), start, UTC)))


def days_of_jumps(zone: ZoneInfo) -> list[datetime]:
    """The days before those of 2026 on which the zone's offset changes."""
    year = [datetime(2026, 1, 2, tzinfo=UTC) + timedelta(days=n) for n in range(365)]
    day = timedelta(days=1)
    return [
        at - day
        for at in year
        if at.astimezone(zone).utcoffset() != (at + day).astimezone(zone).utcoffset()
    ]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0 0 13 * 5", 61),  # either
        ("0 0 */2 * 1", 26),  # both
        ("0 0 1-31 * 1", 365),
        ("0 0 *,10 * 1", 52),
        ("0 0 10,* * 1", 365),
        ("@weekly", 52),
        ("@yearly", 1),
    ],
)
def test_the_day_rule_goes_by_the_first_character(text, count):
    assert count_2026(text) == count


SPRING, AUTUMN = date(2026, 3, 29), date(2026, 10, 25)


@pytest.mark.parametrize(
    ("text", "spring", "autumn"),
    [
        ("30 2 * * *", ["03:00+02"], ["02:30+02"]),
        ("0,30 2 * * *", ["03:00+02"], ["02:00+02", "02:30+02"]),
        ("59 1 * * *", ["01:59+01"], ["01:59+02"]),
        ("0 3 * * *", ["03:00+02"], ["03:00+01"]),
        ("*/30 2 * * *", [], ["02:00+02", "02:30+02", "02:00+01", "02:30+01"]),
        ("0-59/5 2 * * *", ["03:00+02", "03:01+02"], [f"02:{m:02}+02" for m in range(0, 60, 5)]),
        ("30 2,3 * * *", ["03:00+02", "03:30+02"], ["02:30+02", "03:30+01"]),
        (
            "30 */1 * * *",
            ["00:30+01", "01:30+01", "03:30+02"],
            ["00:30+02", "01:30+02", "02:30+02", "02:30+01"],
        ),
    ],
)
def test_berlins_short_and_long_nights(text, spring, autumn):
    assert on(text, SPRING, BERLIN)[: len(spring) or None] == spring
    assert on(text, AUTUMN, BERLIN)[: len(autumn) or None] == autumn


def test_new_yorks_short_and_long_nights():
    assert on("30 2 * * *", date(2026, 3, 8), NEW_YORK) == ["03:00-04"]
    assert on("30 1 * * *", date(2026, 11, 1), NEW_YORK) == ["01:30-04"]
    assert on("*/30 1 * * *", date(2026, 11, 1), NEW_YORK) == [
        "01:00-04",
        "01:30-04",
        "01:00-05",
        "01:30-05",
    ]


def test_a_midnight_that_does_not_come_runs_at_one():
    havana = ZoneInfo("America/Havana")
    assert on("30 0 * * *", date(2026, 3, 8), havana) == ["01:00-04"]
    assert on("*/30 0 * * *", date(2026, 3, 8), havana) == []


def test_a_day_that_did_not_come_is_lost():
    apia, before = ZoneInfo("Pacific/Apia"), datetime(2011, 12, 29, 12, tzinfo=UTC)
    found = islice(fires(parse_expression("0 12 * * *"), before, apia), 3)
    assert [f"{at.astimezone(apia):%d %H}" for at in found] == ["29 12", "31 12", "01 12"]


@pytest.mark.parametrize(
    ("text", "zone", "day", "count"),
    [
        ("*/10 23 * * *", "America/St_Johns", date(2010, 11, 6), 11),  # 00:01 is 23:01 once more
        ("30 1 * * *", "Antarctica/Casey", date(2020, 10, 4), 0),  # three hours at once are lost
    ],
)
def test_what_the_daemons_did_in_odd_nights(text, zone, day, count):
    zone = ZoneInfo(zone)
    start = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    end = start + timedelta(hours=26)
    found = fires(parse_expression(text), start - timedelta(minutes=1), zone)
    local = (at.astimezone(zone) for at in takewhile(lambda at: at < end, found))
    assert sum(at.date() == day for at in local) == count


def test_the_end_of_the_calendar_ends_the_fires():
    last = list(fires(parse_expression("0 0 * * *"), datetime(9999, 12, 28, tzinfo=UTC), UTC))
    assert [at.day for at in last] == [29, 30]


def test_29_february_is_found_across_2100_and_so_is_one_that_must_be_a_sunday():
    leap = parse_expression("0 0 29 2 *")
    assert next_fire(leap, datetime(2096, 3, 1, tzinfo=UTC), UTC) == datetime(
        2104, 2, 29, tzinfo=UTC
    )
    assert previous_fire(leap, datetime(2104, 2, 28, tzinfo=UTC), UTC) == datetime(
        2096, 2, 29, tzinfo=UTC
    )
    sunday = parse_expression("0 0 29 2 */7")
    before, after = (datetime(year, 2, 29, tzinfo=UTC) for year in (2088, 2128))
    assert next_fire(sunday, before, UTC) == after
    assert previous_fire(sunday, after - timedelta(days=1), UTC) == before


def test_reboot_has_no_times():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert next_fire(parse_expression("@reboot"), now, UTC) is None
    assert previous_fire(parse_expression("@reboot"), now, UTC) is None


def test_next_is_strictly_after_and_previous_may_be_now():
    daily, slot = parse_expression("0 2 * * *"), datetime(2026, 5, 1, 2, tzinfo=UTC)
    assert next_fire(daily, slot, UTC) == slot + timedelta(days=1)
    assert next_fire(daily, slot - timedelta(seconds=1), UTC) == slot
    assert previous_fire(daily, slot, UTC) == slot
    assert previous_fire(daily, slot - timedelta(seconds=1), UTC) == slot - timedelta(days=1)
    assert previous_fire(daily, slot + timedelta(seconds=59), UTC) == slot


@given(expressions, instants, zones)
def test_fires_ascend_and_previous_agrees_with_next(text, after, zone):
    expression = parse(text)
    last = after
    for fire in islice(fires(expression, after, zone), 5):
        assert fire > last
        assert fire.tzinfo is UTC
        assert fire == next_fire(expression, last, zone)
        assert fire == previous_fire(expression, fire, zone)
        second = timedelta(seconds=1)
        before = previous_fire(expression, fire - second, zone)
        assert before is None or before <= last
        last = fire


@given(expressions, instants, zones)
def test_two_days_of_fires_are_those_of_a_daemon_counting_minutes(text, after, zone):
    expression = parse(text)
    after = after.replace(second=0, microsecond=0)
    end = after + timedelta(days=2)
    ours = list(takewhile(lambda at: at <= end, fires(expression, after, zone)))
    assert ours == daemon(expression, after, end, zone)


@pytest.mark.parametrize("zone", [zone for zone in ZONES if days_of_jumps(zone)], ids=str)
@pytest.mark.parametrize(
    "text",
    [
        "30 2 * * *",
        "*/7 * * * *",
        "5 0,1,23 * * *",
        "10-50/20 2 * * 0",
        "* 23 * * *",
        "30 23 * * *",
        "0-59 * * * *",
        "0-59 0-2,22,23 * * *",
        "1-59/3 2,0,23 * * *",
    ],
)
def test_the_jumps_of_2026_are_those_of_a_daemon_counting_minutes(text, zone):
    expression = parse_expression(text)
    for start in days_of_jumps(zone):
        end = start + timedelta(days=3)
        ours = list(takewhile(lambda at, end=end: at <= end, fires(expression, start, zone)))
        assert ours == daemon(expression, start, end, zone)


def parse(text: str) -> Expression:
    try:
        return parse_expression(text)
    except BadExpression:
        assume(False)
        raise


def daemon(
    expression: Expression, after: datetime, end: datetime, zone: ZoneInfo
) -> list[datetime]:
    """The minutes it fires in, as cron's main loop finds them (cron.c), with its virtual clock."""
    fired = set()
    minute, nap = timedelta(minutes=1), timedelta(seconds=10)
    now = after - timedelta(hours=8)  # so that a jump just before `after` is not missed
    virtual = wall(now, zone)
    while now < end:
        woken = now = now + minute
        local = wall(now, zone)
        behind = (local - virtual) // minute
        if 0 < behind <= 5 or not -180 < behind <= 180:
            virtual = local
            if matches(expression, local):
                fired.add(now)
        elif expression.wildcard:
            if matches(expression, local):
                fired.add(now)
            virtual = max(virtual, local)
        else:
            ran = False
            while virtual < local and now < woken + minute:
                now += nap if ran else timedelta(0)
                virtual += minute
                if ran := matches(expression, virtual):
                    fired.add(now.replace(second=0))
            now = woken
    return sorted(at for at in fired if after < at <= end)


def wall(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)


def matches(expression: Expression, local: datetime) -> bool:
    day = local.day in expression.day.values
    weekday = local.isoweekday() % 7 in expression.weekday.values
    return (
        local.minute in expression.minute.values
        and local.hour in expression.hour.values
        and local.month in expression.month.values
        and ((day or weekday) if expression.either_day else (day and weekday))
    )


@pytest.mark.parametrize(
    ("tz", "key"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        (":Europe/Berlin", "Europe/Berlin"),
        ("/usr/share/zoneinfo/Europe/Berlin", "Europe/Berlin"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "CET-1CEST,M3.5.0,M10.5.0/3"),
        (":<+0545>-5:45", "<+0545>-5:45"),
    ],
)
def test_the_host_zone_is_tz_where_it_names_one(monkeypatch, tz, key):
    monkeypatch.setenv("TZ", tz)
    assert str(host_zone()) == key


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("EST5EDT,M3.2.0,M11.1.0", "America/New_York"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "Europe/Berlin"),
        ("AEST-10AEDT,M10.1.0,M4.1.0/3", "Australia/Sydney"),
        ("<+0545>-5:45", "Asia/Kathmandu"),
    ],
)
def test_a_zone_by_its_rule_fires_as_the_one_that_has_a_name(monkeypatch, rule, name):
    monkeypatch.setenv("MAEJOBS_ZONE", rule)  # as our daemon hands it down, started with such a TZ
    assert (zone := scheduling_zone()) is zone_named(rule)
    expression, year = parse_expression("30 * * * *"), datetime(2026, 1, 1, tzinfo=UTC)
    named = fires(expression, year, ZoneInfo(name))
    assert list(islice(fires(expression, year, zone), 9000)) == list(islice(named, 9000))


@pytest.mark.parametrize(
    "tz", [None, "", "Europe/Berln", "x,y", "EST5EDT,M3", "UTC0\nx", "../../etc/passwd"]
)
def test_else_the_host_zone_is_that_of_localtime(monkeypatch, tmp_path, tz):
    localtime = tmp_path / "localtime"
    localtime.symlink_to("/usr/share/zoneinfo/America/New_York")
    monkeypatch.setattr("maejobs.cron.fires.LOCALTIME", str(localtime))
    monkeypatch.delenv("TZ", raising=False)
    if tz is not None:
        monkeypatch.setenv("TZ", tz)
    assert str(host_zone()) == "America/New_York"


def test_a_localtime_that_is_a_copy_is_read_as_a_zone(monkeypatch, tmp_path):
    copy = tmp_path / "localtime"
    copy.write_bytes(Path("/usr/share/zoneinfo/Europe/Berlin").read_bytes())
    monkeypatch.setattr("maejobs.cron.fires.LOCALTIME", str(copy))
    monkeypatch.delenv("TZ", raising=False)
    assert datetime(2026, 7, 1, tzinfo=host_zone()).utcoffset() == timedelta(hours=2)


@pytest.mark.parametrize("name", ["none", "loop"])
def test_a_host_without_localtime_is_in_utc(monkeypatch, tmp_path, name):
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setattr("maejobs.cron.fires.LOCALTIME", str(tmp_path / name))
    monkeypatch.delenv("TZ", raising=False)
    assert host_zone() is UTC


def test_a_tz_line_of_the_crontab_does_not_move_the_slot(monkeypatch, tmp_path):
    localtime = tmp_path / "localtime"
    localtime.symlink_to("/usr/share/zoneinfo/America/New_York")
    monkeypatch.setattr("maejobs.cron.fires.LOCALTIME", str(localtime))
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.delenv("MAEJOBS_ZONE", raising=False)
    assert str(scheduling_zone()) == "America/New_York"
    monkeypatch.setenv("MAEJOBS_ZONE", "Europe/Berlin")
    assert str(scheduling_zone()) == "Europe/Berlin"
