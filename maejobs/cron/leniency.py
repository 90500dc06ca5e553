"""What Debian's cron takes as a time field, junk and all: lines are sorted by it, never accepted.

The strict grammar says what we accept ourselves; a table holds other people's lines too, and
`fri-sun` in one of them is a job that never fires, not an error. The rules were found by asking
`crontab -n` (tests/cron/test_lines.py asks it again).
"""

import re

from maejobs.cron.fields import SPANS, Span

ITEM = re.compile(
    r"(?:\*|(?P<low>[0-9A-Za-z]+)(?P<range>-(?P<high>[0-9A-Za-z]*))?)(?:/(?P<step>[0-9A-Za-z]*))?"
)
LARGEST_LONG = 2**63 - 1


def first_bad_field(words: list[str]) -> str | None:
    """The name of the first field that cron rejects, or that is missing; None: cron takes all."""
    for span, word in zip(SPANS, words, strict=False):
        if not _takes(span, word):
            return span.name
    return SPANS[len(words)].name if len(words) < len(SPANS) else None


def _takes(span: Span, word: str) -> bool:
    """Cron reads items up to the first character that no item holds, and skips the rest."""
    position = 0
    while item := ITEM.match(word, position):
        if not _takes_item(span, item):
            return False
        if not word.startswith(",", item.end()):
            return True
        position = item.end() + 1
    return False


def _takes_item(span: Span, item: re.Match[str]) -> bool:
    low, high, step = item["low"], item["high"], item["step"]
    if step is not None and not (step.isdigit() and _as_int(step) > 0):
        return False
    if low is None:
        return True
    if item["range"] is None and step is not None:
        return False
    return _is_within(span, low) and (item["range"] is None or _is_within(span, high))


def _is_within(span: Span, word: str) -> bool:
    name = word.lower()
    if name in span.names:
        return True
    return word.isdigit() and span.low <= _as_int(word) <= span.high


def _as_int(digits: str) -> int:
    """`digits` as cron's atoi() reads them: a long, of which the lower half is kept."""
    digits = digits.lstrip("0") or "0"
    number = min(int(digits), LARGEST_LONG) if len(digits) < 20 else LARGEST_LONG
    half = number & 0xFFFFFFFF
    return half - 2**32 if half >= 2**31 else half
