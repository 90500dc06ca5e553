"""Our grammar and fire times against what the real binaries said and did, in 1,556 cases."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from maejobs.cron.fires import fires
from maejobs.cron.grammar import BadExpression, parse_expression

VERDICTS = Path(__file__).parents[2] / "../shared/cron-verdicts.tsv"
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE_BEFORE = datetime(2025, 12, 31, 23, 59, tzinfo=UTC)
NEXT_YEAR = datetime(2027, 1, 1, tzinfo=UTC)
HASHED_UP_TO = 20_000  # fires a row; hashing 525,600 in Python takes half a second

# Classes that both checkers accept and that fire, but not as written; see parse_expression.
REFUSED_CLASSES = {
    "runs backwards": "a reversed range beside items that do fire",
    "larger than the field": "a step of which only the first value is used",
    "is outside": "a number that overflows into the field",
    "cronie only": "a~b, random on cronie and cut off on Debian",
}


class Verdict(NamedTuple):
    expression: str
    debian: str
    cronie: str
    count: int
    hash: str
    first: list[int]


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    if not VERDICTS.exists():
        pytest.skip(f"{VERDICTS} is not here")
    rows = [line.split("\t") for line in VERDICTS.read_text().split("\n")[1:] if line]
    return [
        Verdict(unescape(r[0]), r[1], r[2], int(r[6] or 0), r[7], [int(m) for m in r[8].split()])
        for r in rows
    ]


def unescape(text: str) -> str:
    parts = text.split("\\\\")
    return "\\".join(part.replace("\\t", "\t").replace("\\r", "\r") for part in parts)


def refusal(text: str) -> str | None:
    try:
        parse_expression(text)
    except BadExpression as error:
        return error.reason
    return None


def test_nothing_is_accepted_that_debian_or_cronie_reject(verdicts):
    rejected = [v for v in verdicts if {v.debian, v.cronie} != {"accept"}]
    assert len(rejected) > 900
    assert [v.expression for v in rejected if refusal(v.expression) is None] == []


def test_what_both_accept_and_fire_is_accepted_outside_the_classes_we_refuse(verdicts):
    counts: Counter[str] = Counter()
    for verdict in verdicts:
        if {verdict.debian, verdict.cronie} == {"accept"} and verdict.count:
            reason = refusal(verdict.expression)
            found = [name for name in REFUSED_CLASSES if reason and name in reason]
            assert reason is None or len(found) == 1, (verdict.expression, reason)
            counts[found[0] if found else "accepted"] += 1
    assert counts == {
        "accepted": 481,
        "larger than the field": 92,
        "runs backwards": 5,
        "is outside": 2,
        "cronie only": 1,
    }


def test_the_year_2026_fires_as_debians_daemon_fired_it(verdicts):
    compared = 0
    for verdict in verdicts:
        if verdict.debian != "accept" or refusal(verdict.expression) is not None:
            continue
        minutes = fires_of_2026(verdict.expression)
        assert len(minutes) == verdict.count, verdict.expression
        assert minutes[: len(verdict.first)] == verdict.first, verdict.expression
        if 0 < len(minutes) <= HASHED_UP_TO:
            assert fnv1a(minutes) == int(verdict.hash, 16), verdict.expression
        compared += 1
    assert compared == 484


def fires_of_2026(text: str) -> list[int]:
    minutes = []
    for fire in fires(parse_expression(text), MINUTE_BEFORE, UTC):
        if fire >= NEXT_YEAR:
            break
        minutes.append(int(fire.timestamp()) // 60)
    return minutes


def fnv1a(minutes: list[int]) -> int:
    state = 0xCBF29CE484222325
    for byte in b"".join(minute.to_bytes(4, "little") for minute in minutes):
        state = ((state ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return state
