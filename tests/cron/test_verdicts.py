"""Our grammar and fire times against what the real binaries said and did, in 1,556 cases."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from maejobs.cron.dialect import Dialect
from maejobs.cron.fires import fires
from maejobs.cron.grammar import BadExpression, Expression, parse_expression
from maejobs.cron.leniency import read_leniently

VERDICTS = Path(__file__).parents[2] / "../shared/cron-verdicts.tsv"
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE_BEFORE = datetime(2025, 12, 31, 23, 59, tzinfo=UTC)
NEXT_YEAR = datetime(2027, 1, 1, tzinfo=UTC)
HASHED_UP_TO = 20_000  # fires a row; hashing 525,600 in Python takes half a second

# Classes that both checkers accept and that fire, but not as written; see parse_expression.
REFUSED_CLASSES = {
    "reversed_range": "beside items that do fire",
    "step_too_large": "only the first value is used",
    "step_of_one_value": "a-a/N, where the step does nothing",
    "out_of_range": "a number that overflows into the field",
    "random_time": "a~b, random on cronie and cut off on Debian",
}


class Verdict(NamedTuple):
    expression: str
    debian: str
    cronie: str
    debian13: str
    busybox: str
    count: int
    hash: str
    first: list[int]


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    if not VERDICTS.exists():
        pytest.skip(f"{VERDICTS} is not here")
    rows = [line.split("\t") for line in VERDICTS.read_text().split("\n")[1:] if line]
    return [
        Verdict(unescape(r[0]), *r[1:5], int(r[6] or 0), r[7], [int(m) for m in r[8].split()])
        for r in rows
    ]


def unescape(text: str) -> str:
    parts = text.split("\\\\")
    return "\\".join(part.replace("\\t", "\t").replace("\\r", "\r") for part in parts)


def refusal(text: str, dialect: Dialect = Dialect.DEBIAN) -> str | None:
    try:
        parse_expression(text, dialect)
    except BadExpression as error:
        return error.code
    return None


def test_nothing_is_accepted_that_debian_or_cronie_reject(verdicts):
    rejected = [v for v in verdicts if {v.debian, v.cronie} != {"accept"}]
    assert len(rejected) > 900
    assert [v.expression for v in rejected if refusal(v.expression) is None] == []


@pytest.mark.parametrize(
    ("dialect", "columns"),
    [
        (Dialect.DEBIAN, ("debian", "debian13")),
        (Dialect.CRONIE, ("cronie",)),
        (Dialect.BUSYBOX, ("busybox",)),
        (Dialect.PORTABLE, ("debian", "debian13", "cronie", "busybox")),
    ],
)
def test_no_dialect_accepts_what_its_own_checker_rejects(verdicts, dialect, columns):
    rejected = [v for v in verdicts if any(getattr(v, name) != "accept" for name in columns)]
    assert len(rejected) > 800
    assert [v.expression for v in rejected if refusal(v.expression, dialect) is None] == []


def test_what_both_accept_and_fire_is_accepted_outside_the_classes_we_refuse(verdicts):
    counts: Counter[str] = Counter()
    for verdict in verdicts:
        if {verdict.debian, verdict.cronie} == {"accept"} and verdict.count:
            reason = refusal(verdict.expression)
            assert reason is None or reason in REFUSED_CLASSES, (verdict.expression, reason)
            counts[reason or "accepted"] += 1
    assert counts == {
        "accepted": 451,
        "step_too_large": 88,
        "step_of_one_value": 34,
        "reversed_range": 5,
        "out_of_range": 2,
        "random_time": 1,
    }


@pytest.mark.parametrize("accepted", [True, False], ids=["ours", "only crons, as others' lines"])
def test_the_year_2026_fires_as_debians_daemon_fired_it(verdicts, accepted):
    compared = 0
    for verdict in verdicts:
        if verdict.debian != "accept" or (refusal(verdict.expression) is None) != accepted:
            continue
        minutes = fires_of_2026(read_leniently(verdict.expression))
        assert len(minutes) == verdict.count, verdict.expression
        assert minutes[: len(verdict.first)] == verdict.first, verdict.expression
        if 0 < len(minutes) <= HASHED_UP_TO:
            assert fnv1a(minutes) == int(verdict.hash, 16), verdict.expression
        compared += 1
    assert compared == (453 if accepted else 297)


def fires_of_2026(expression: Expression) -> list[int]:
    minutes = []
    for fire in fires(expression, MINUTE_BEFORE, UTC):
        if fire >= NEXT_YEAR:
            break
        minutes.append(int(fire.timestamp()) // 60)
    return minutes


def fnv1a(minutes: list[int]) -> int:
    state = 0xCBF29CE484222325
    for byte in b"".join(minute.to_bytes(4, "little") for minute in minutes):
        state = ((state ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return state
