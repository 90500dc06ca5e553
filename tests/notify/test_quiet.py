"""Quiet hours: when they are, and when they end."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maejobs.notify.quiet import QuietHours, parse_quiet_hours, quiet_until

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
NIGHT = QuietHours(time(22), time(7))


@pytest.mark.parametrize(
    ("clock", "ends"),
    [
        ("2026-11-24 21:59", None),
        ("2026-11-24 22:00", "2026-11-25 07:00"),
        ("2026-11-25 03:00", "2026-11-25 07:00"),
        ("2026-11-25 07:00", None),
        ("2026-03-28 23:00", "2026-03-29 07:00"),  # the clocks go forward in between
    ],
)
def test_a_night_of_quiet_ends_in_the_morning(clock, ends):
    now = datetime.fromisoformat(clock).replace(tzinfo=BERLIN)
    expected = datetime.fromisoformat(ends).replace(tzinfo=BERLIN) if ends else None
    assert quiet_until(now, NIGHT, BERLIN) == expected


def test_no_quiet_hours_are_never():
    assert quiet_until(datetime(2026, 1, 1, tzinfo=UTC), None, UTC) is None


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(0, 366 * 1440).map(lambda minutes: NEW_YEAR + timedelta(minutes=minutes)),
    st.times().map(lambda t: t.replace(second=0, microsecond=0)),
    st.times().map(lambda t: t.replace(second=0, microsecond=0)),
)
def test_it_is_never_quiet_when_quiet_hours_end(now, start, end):
    if start == end:
        return
    hours = QuietHours(start, end)
    if until := quiet_until(now, hours, BERLIN):
        assert now < until <= now + timedelta(hours=25)
        assert quiet_until(until, hours, BERLIN) is None


def test_how_they_are_written():
    assert parse_quiet_hours("22:00-07:00") == NIGHT
    for text in ("22:00", "22-7", "22:00-25:00", "-", "07:00-07:00", 22, None):
        with pytest.raises(ValueError, match="quiet hours"):
            parse_quiet_hours(text)
