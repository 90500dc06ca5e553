"""What a table asks a cron for."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from maejobs.cron.fires import fires
from maejobs.cron.grammar import parse_expression
from maejobs.cron.wakeup import Due, local_minute
from maejobs.daemon.entries import (
    Account,
    due_entries,
    environment_of,
    read_entries,
    seconds_to_next_minute,
)

NOW = datetime(2026, 3, 2, 2, 30, tzinfo=UTC)
EXPRESSIONS = ["* * * * *", "*/5 * * * *", "30 2 * * *", "0 0 13 * 5", "@hourly", "1-9 3,4 * * 1"]


@given(
    st.lists(st.sampled_from(EXPRESSIONS), max_size=6),
    st.integers(0, 40 * 24 * 60).map(lambda minutes: NOW + timedelta(minutes=minutes)),
)
def test_due_in_a_minute_are_those_that_fire_in_it(expressions: list[str], now: datetime) -> None:
    table = "".join(f"{expression} echo\n" for expression in expressions).encode()
    entries, _ = read_entries(table)
    due = due_entries(entries, Due(local_minute(now), wildcard=True, fixed=True))
    expected = [
        number
        for number, text in enumerate(expressions, 1)
        if next(fires(parse_expression(text), now - timedelta(minutes=1), UTC)) == now
    ]
    assert [entry.number for entry in due] == expected


def test_whose_turn_it_is_not_stays_quiet() -> None:
    entries, _ = read_entries(b"* * * * * a\n30 2 * * * b\n@reboot c\n")
    minute = local_minute(NOW)
    assert [e.command for e in due_entries(entries, Due(minute, wildcard=True))] == ["a"]
    assert [e.command for e in due_entries(entries, Due(minute, fixed=True))] == ["b"]


def test_an_environment_line_holds_for_the_lines_below_it() -> None:
    (above, below), _ = read_entries(b"* * * * * a\nPATH=/x\nLOGNAME=eve\n* * * * * b\n")
    account = Account("ada", "/home/ada")
    assert environment_of(above, account, None) == {
        "HOME": "/home/ada",
        "LOGNAME": "ada",
        "PATH": "/usr/bin:/bin",
        "SHELL": "/bin/sh",
    }
    environment = environment_of(below, account, "Europe/Berlin")
    assert (environment["PATH"], environment["LOGNAME"]) == ("/x", "ada")
    assert environment["MAEJOBS_ZONE"] == "Europe/Berlin"


def test_what_cron_would_not_run_is_passed_over_and_what_it_misreads_is_run_and_told() -> None:
    table = b"nonsense\n0 0 * * fri-sun a\n@daily b\n*/100 5-3 * * * c\n*/100 * * * * d\n"
    entries, remarks = read_entries(table)
    assert [entry.number for entry in entries] == [3, 5]
    assert entries[1].expression.minute.values == {0}
    told = [remark.split(":")[0] for remark in remarks]
    assert told == ["line 1 is passed over", "line 2", "line 4", "line 5"]


@given(st.timedeltas(timedelta(0), timedelta(days=2)).map(lambda later: NOW + later))
def test_sleeps_exactly_to_the_next_minute(now: datetime) -> None:
    woken = now + timedelta(seconds=seconds_to_next_minute(now))
    assert (woken.second, woken.microsecond) == (0, 0)
    assert timedelta(0) < woken - now <= timedelta(minutes=1)
