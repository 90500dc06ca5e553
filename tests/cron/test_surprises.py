from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from maejobs.cron.grammar import parse_expression
from maejobs.cron.surprises import crowd_of, surprises_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 0 13 * 5", "either one suffices"),
        ("0 0 */2 * 1", "both must hold"),
        ("0 10-15/10 * * *", "write 10"),
        ("0 0 * * mon-fri/6", "only mon counts: write mon"),
        ("0 0 31 2 1", "`31` never comes in month 2: the weekday alone decides"),
        ("0 0 29 2 *", "next on 2028-02-29"),
        ("30 2 * * *", "2026-03-29: the clock skips 02:30; the job runs once, right after the gap"),
        ("*/20,5 2 * * *", "2026-03-29: the clock skips 02:00; the job does not run in it"),
        ("0-59/5 2 * * *", "the job runs 12 times, ten seconds apart, right after the gap"),
        ("*/30 2 * * *", "2026-10-25: the clock shows 02:00 twice; the job runs both times"),
    ],
)
def test_what_is_legal_and_surprising_is_said(text, said):
    assert said in "\n".join(surprises_of(parse_expression(text), NOW, BERLIN))


def test_an_ordinary_night_surprises_nobody():
    assert surprises_of(parse_expression("30 4 * * 1-5"), NOW, BERLIN) == []


def crowd(text, *lines):
    return crowd_of(parse_expression(text), [parse_expression(line) for line in lines], NOW, BERLIN)


def test_three_lines_at_one_minute_are_a_crowd_and_the_fullest_minute_is_told():
    lines = ("0 2 * * *", "*/5 * * * *", "0 2 * * 1-5", "0 2 4 1 *", "30 2 * * *")
    assert crowd("0 2 * * 0", *lines) == [
        "3 lines of the crontab start at the same minute (2026-01-04 02:00)"
    ]
    assert crowd("0 2 * * 1", "0 2 * * *", "*/5 * * * *") == []


def test_a_reboot_line_joins_no_crowd():
    assert crowd("0 2 * * *", "@reboot", "@reboot", "@reboot") == []
    assert crowd("@reboot", "* * * * *", "* * * * *", "* * * * *") == []


def test_a_job_of_every_hour_is_not_warned_of_a_clock_change():
    for text in ("*/5 * * * *", "@hourly"):
        assert surprises_of(parse_expression(text), NOW, BERLIN) == []
