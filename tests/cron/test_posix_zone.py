"""A zone's rule, as POSIX writes it: offsets as the rule says them, and what is none."""

from datetime import UTC, datetime, timedelta

import pytest

from maejobs.cron.posix_zone import posix_zone


@pytest.mark.parametrize(
    ("rule", "winter", "summer"),
    [
        ("EST5EDT,M3.2.0,M11.1.0", -5, -4),
        ("<+03>-3", 3, 3),
        ("CET-1CEST,M3.5.0,M10.5.0/3", 1, 2),
    ],
)
def test_offsets_are_the_rules_in_any_year(rule, winter, summer):
    for month, hours in ((1, winter), (7, summer)):
        for year in (1995, 2026, 2080):
            at = datetime(year, month, 15, tzinfo=UTC).astimezone(posix_zone(rule))
            assert at.utcoffset() == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "Europe/Berln", "EST", "CET-1CEST", "EST5\nEDT", "E5"])
def test_what_is_no_rule_or_half_of_one_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        posix_zone(text)
