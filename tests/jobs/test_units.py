"""Durations, sizes and times of day as people write them."""

from datetime import time, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from maejobs.jobs.units import parse_duration, parse_size, parse_time_of_day

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
ANYTHING = st.one_of(
    st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.integers())
)
ALMOST = st.text(alphabet="0123456789.smhdwkKMGTB: -+e٣", max_size=12)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("45m", 2700), ("1h30m", 5400), ("7d", 604800), ("1.5h", 5400), (90, 90)],
)
def test_a_duration_is_read_as_it_is_written(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    ["", "h", "1", "-5m", "1h 30m", "1h30", "1H", "1e3s", ".5h", "٣h", "1h\n", -1, True, None],
)
def test_what_is_not_a_duration_is_told_how_one_is_written(text):
    with pytest.raises(ValueError, match="1h30m"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["600w", "99999999999999999999999d", "9" * 400 + "s", 1e9, 10**9])
def test_a_duration_beyond_ten_years_is_a_slip_of_the_pen(text):
    with pytest.raises(ValueError, match="ten years"):
        parse_duration(text)


@given(st.dictionaries(st.sampled_from(list(UNITS)), st.integers(0, 99), min_size=1))
def test_the_parts_of_a_duration_add_up(parts):
    text = "".join(f"{number}{unit}" for unit, number in parts.items())
    seconds = sum(number * UNITS[unit] for unit, number in parts.items())
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("500MB", 500_000_000),
        ("2 GB", 2 * 10**9),
        ("1.001kB", 1001),
        ("1B", 1),
        ("1.5TB", 15 * 10**11),
    ],
)
def test_a_size_is_read_to_the_byte(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "5", "5 mb", "5GiB", "-1GB", "1e3B", "٣GB", -1, 1.5, True])
def test_what_is_not_a_size_is_told_how_one_is_written(text):
    with pytest.raises(ValueError, match="500MB"):
        parse_size(text)


@pytest.mark.parametrize("text", ["9" * 400 + "TB", "9" * 5000 + "TB", 2**63])
def test_a_size_beyond_any_disk_is_refused(text):
    with pytest.raises(ValueError, match="any disk"):
        parse_size(text)


@given(st.times().map(lambda t: t.replace(second=0, microsecond=0)))
def test_every_minute_of_the_day_can_be_written(minute):
    assert parse_time_of_day(f"{minute:%H:%M}") == minute


@pytest.mark.parametrize("text", ["24:00", "6:60", "06:30:00", "6.30", "٠٦:٣٠", "", 630, None])
def test_what_is_not_a_time_of_day_is_told_how_one_is_written(text):
    with pytest.raises(ValueError, match="06:30"):
        parse_time_of_day(text)


@given(st.one_of(ANYTHING, ALMOST))
@example(float("nan"))
@example(float("inf"))
def test_nothing_but_a_clear_refusal_comes_of_arbitrary_values(value):
    for parse, low, high in (
        (parse_duration, timedelta(0), timedelta(days=3660)),
        (parse_size, 0, 2**63 - 1),
        (parse_time_of_day, time.min, time.max),
    ):
        try:
            assert low <= parse(value) <= high
            continue
        except ValueError as error:
            message = str(error)
        assert "write it like" in message or "than" in message
