"""What Debian's cron takes as a time, junk and all: never accepted of ours, but known of others'.

The strict grammar says what we accept ourselves; a table holds other people's lines too. `fri-sun`
in one of them is a job that never fires, not an error, and `0-59/100` one that our daemon has to
start as cron would. The rules were found by asking `crontab -n` and the daemon
(tests/cron/test_lines.py and test_verdicts.py ask again).
"""

import re

from maejobs.cron.fields import SPANS, Field, Span
from maejobs.cron.grammar import BadExpression, Expression, parse_expression

ITEM = re.compile(
    r"(?:\*|(?P<low>[0-9A-Za-z]+)(?P<range>-(?P<high>[0-9A-Za-z]*))?)(?:/(?P<step>[0-9A-Za-z]*))?"
)
LARGEST_LONG = 2**63 - 1


def first_bad_field(words: list[str]) -> str | None:
    """The name of the first field that cron rejects, or that is missing; None: cron takes all."""
    for span, word in zip(SPANS, words, strict=False):
        if _values(span, word) is None:
            return span.name
    return SPANS[len(words)].name if len(words) < len(SPANS) else None


def read_leniently(text: str) -> Expression:
    """The times of a line as Debian's daemon reads it, which may be none at all.

    Raises BadExpression, of the strict grammar, for what cron rejects.
    """
    try:
        return parse_expression(text)
    except BadExpression:
        words = text.split()
        if text.startswith("@") or len(words) != len(SPANS) or first_bad_field(words):
            raise
    minute, hour, day, month, weekday = (
        Field(span.name, word, _values(span, word) or frozenset(), word.startswith("*"))
        for span, word in zip(SPANS, words, strict=True)
    )
    return Expression(text, minute, hour, day, month, weekday, reboot=False)


def _values(span: Span, word: str) -> frozenset[int] | None:
    """What cron makes of a field, up to the first character that no item holds; None: rejected."""
    values: set[int] = set()
    position = 0
    while item := ITEM.match(word, position):
        found = _values_of_item(span, item)
        if found is None:
            return None
        values.update(value % 7 if span.high == 7 else value for value in found)
        if not word.startswith(",", item.end()):
            return frozenset(values)
        position = item.end() + 1
    return None


def _values_of_item(span: Span, item: re.Match[str]) -> range | None:
    low, high, step = item["low"], item["high"], item["step"]
    if step is not None and not (step.isdigit() and _as_int(step) > 0):
        return None
    every = 1 if step is None else _as_int(step)
    if low is None:
        return range(span.low, span.high + 1, every)
    if item["range"] is None and step is not None:
        return None
    first = _number(span, low)
    last = first if item["range"] is None else _number(span, high)
    return None if first is None or last is None else range(first, last + 1, every)


def _number(span: Span, word: str) -> int | None:
    """What a name or a number within the field stands for."""
    if word.lower() in span.names:
        return span.number(word)
    return _as_int(word) if word.isdigit() and span.low <= _as_int(word) <= span.high else None


def _as_int(digits: str) -> int:
    """`digits` as cron's atoi() reads them: a long, of which the lower half is kept."""
    digits = digits.lstrip("0") or "0"
    number = min(int(digits), LARGEST_LONG) if len(digits) < 20 else LARGEST_LONG
    half = number & 0xFFFFFFFF
    return half - 2**32 if half >= 2**31 else half
