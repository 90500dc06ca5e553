"""What may stand before a command in a crontab: a strict reading that never says yes to silence.

Cron accepts more than it honours: `fri-sun` installs and never fires, `1-2-3` installs and drops
the `-3`. Whatever Debian's or cronie's checker rejects is refused here, and so is what they take
and never fire or silently ignore; each refusal says why and what to write instead. Sources:
crontab(5), and the real binaries (tests/cron/test_verdicts.py).
"""

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, NoReturn

from maejobs.errors import UserError

EXAMPLE = "30 2 * * 1-5"
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# 29 February is a date, if a rare one.
DAYS_IN_MONTH = dict(
    zip(range(1, 13), (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), strict=True)
)

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
REBOOT = "@reboot"

ITEM = re.compile(
    r"(?:\*|(?P<low>[0-9]+|[a-z]+)(?:-(?P<high>[0-9]+|[a-z]+))?)(?:/(?P<step>[0-9]+))?",
    re.ASCII | re.IGNORECASE,
)
# What other schedulers know, cron does not, and what to write instead.
FOREIGN = {
    "?": "cron knows no ?: write *",
    "L": "cron knows no L for the last: run on 28-31 and let the job look at the date",
    "W": "cron knows no W for the nearest weekday: write the weekdays, 1-5",
    "#": "cron knows no # for the nth weekday: run each week and let the job look at the date",
    "~": "a random time (a~b) is drawn by cronie only: write a fixed one",
    "H": "cron knows no H: write a fixed number",
    "R": "cron knows no R: write a fixed number",
    "%": "cron turns % into a newline",
    "\\": "a backslash has no place here",
}


class BadExpression(UserError):
    """An expression cron would reject, never fire or half ignore; points at the place."""

    def __init__(self, expression: str, field: str | None, column: int, reason: str) -> None:
        self.expression = expression
        self.field = field
        self.column = column
        self.reason = reason
        shown = "".join(map(_visible, expression))
        super().__init__(f"bad {field or 'expression'}: {reason}\n  {shown}\n  {' ' * column}^")


@dataclass(frozen=True)
class Field:
    """One of the five: `star` (its first character is `*`) decides the day rule and DST."""

    name: str
    text: str
    values: frozenset[int]
    star: bool


@dataclass(frozen=True)
class Expression:
    """A schedule that cron takes and fires; `text` has single spaces, weekday 0 is Sunday."""

    text: str
    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field
    reboot: bool

    @property
    def either_day(self) -> bool:
        """Whether the day of month or the weekday suffices: only if neither starts with `*`."""
        return not (self.day.star or self.weekday.star)

    @property
    def wildcard(self) -> bool:
        """What cron's clock-jump rule calls a wildcard job: minute or hour starts with `*`."""
        return self.minute.star or self.hour.star

    @cached_property
    def minutes_of_day(self) -> tuple[int, ...]:
        """The minutes after midnight at which it fires on a matching day, ascending."""
        return tuple(
            h * 60 + m for h in sorted(self.hour.values) for m in sorted(self.minute.values)
        )


class _Span(NamedTuple):
    """A field's name, bounds and the three-letter names its numbers have."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.low}–{self.high}"

    def number(self, word: str) -> int | None:
        if word.isdigit():
            return int(word) if len(word) < 10 else self.high + 1
        word = word.lower()
        return self.low + self.names.index(word) if word in self.names else None


SPANS = (
    _Span("minute", 0, 59),
    _Span("hour", 0, 23),
    _Span("day-of-month", 1, 31),
    _Span("month", 1, 12, MONTHS),
    _Span("day-of-week", 0, 7, WEEKDAYS),
)
NEVER = tuple(Field(span.name, "", frozenset(), False) for span in SPANS)


def parse_expression(text: str) -> Expression:
    """Read five fields or an exact nickname, refusing what cron would not honour as written.

    Refused although both checkers accept them: reversed ranges, steps larger than the field (cron
    uses the first value only), numbers that overflow into range, `a~b`, dates that do not exist.

    Raises BadExpression with field, column and mend.
    """
    for column, character in enumerate(text):
        if character not in " \t" and not "!" <= character <= "~":
            kind = "a line break" if character in "\r\n" else f"the character {character!a}"
            raise BadExpression(text, None, column, f"{kind} has no place here")
    words = [(match.group(), match.start()) for match in re.finditer(r"[^ \t]+", text)]
    if words and words[0][0].startswith("@"):
        return _nickname(text, words)
    if len(words) != len(SPANS):
        raise _wrong_count(text, words)
    minute, hour, day, month, weekday = (
        _Reader(text, span, column, word).field()
        for span, (word, column) in zip(SPANS, words, strict=True)
    )
    normalised = " ".join(word for word, _ in words)
    expression = Expression(normalised, minute, hour, day, month, weekday, reboot=False)
    _refuse_impossible_date(text, words[2][1], expression)
    return expression


def expression_of(line: str) -> str:
    """The part of a job line that tells when: the nickname, or up to five fields."""
    line = line.lstrip(" \t")
    count = 1 if line.startswith("@") else len(SPANS)
    match = re.match(rf"[^ \t]*(?:[ \t]+[^ \t]+){{0,{count - 1}}}", line)
    return match.group() if match else ""


def _nickname(text: str, words: list[tuple[str, int]]) -> Expression:
    name, column = words[0]
    if len(words) > 1:
        raise BadExpression(text, None, words[1][1], f"nothing may follow {name}")
    if name == REBOOT:
        minute, hour, day, month, weekday = NEVER
        return Expression(name, minute, hour, day, month, weekday, reboot=True)
    if name not in NICKNAMES:
        known = ", ".join((REBOOT, *NICKNAMES))
        raise BadExpression(text, None, column, f"unknown nickname {name}; cron knows {known}")
    return replace(parse_expression(NICKNAMES[name]), text=name)


def _wrong_count(text: str, words: list[tuple[str, int]]) -> BadExpression:
    seen, needed = len(words), len(SPANS)
    names = " ".join(span.name for span in SPANS)
    counted = f"{seen} field{'' if seen == 1 else 's'} seen, {needed} needed ({names})"
    if seen > needed:
        why = "cron has no seconds or years, and would run the rest as a command"
        return BadExpression(text, None, words[needed][1], f"{counted}: {why}; example: {EXAMPLE}")
    return BadExpression(text, None, len(text.rstrip()), f"{counted}; example: {EXAMPLE}")


def _refuse_impossible_date(text: str, column: int, expression: Expression) -> None:
    if expression.either_day:
        return
    if min(expression.day.values) > max(DAYS_IN_MONTH[m] for m in expression.month.values):
        day, month = expression.day.text, expression.month.text
        reason = f"{day} never comes in month {month}, so cron takes it and never fires"
        raise BadExpression(text, "day-of-month", column, reason)


class _Reader(NamedTuple):
    """One field being read: knows where it stands, so that a refusal can point."""

    expression: str
    span: _Span
    column: int
    text: str

    def field(self) -> Field:
        values: set[int] = set()
        offset = 0
        for item in self.text.split(","):
            values.update(self._item(item, offset))
            offset += len(item) + 1
        if self.span.high == 7:
            values = {value % 7 for value in values}
        return Field(self.span.name, self.text, frozenset(values), self.text.startswith("*"))

    def _item(self, item: str, offset: int) -> range:
        match = ITEM.match(item)
        if match is None or match.end() < len(item):
            self._refuse_junk(item, offset, match.end() if match else 0)
        low_text, high_text, step_text = match.group("low", "high", "step")
        span = self.span
        if low_text is None:
            return range(
                span.low, span.high + 1, self._step(step_text, offset + item.find("/") + 1)
            )
        low = self._number(low_text, offset)
        if high_text is None:
            if step_text is not None:
                why = f"a step needs a range: write {low_text}-{span.high}/{step_text}"
                self._refuse(offset, why)
            return range(low, low + 1)
        high = self._number(high_text, offset + match.start("high"))
        if low > high:
            self._refuse(offset, self._reversed(item, low, high))
        return range(low, high + 1, self._step(step_text, offset + match.start("step")))

    def _number(self, word: str, offset: int) -> int:
        span = self.span
        value = span.number(word)
        if value is None:
            self._refuse(offset, self._unknown_word(word))
        if not span.low <= value <= span.high:
            self._refuse(offset, f"{word} is outside {span}")
        return value

    def _step(self, word: str | None, offset: int) -> int:
        if word is None:
            return 1
        step = int(word) if len(word) < 10 else 10**9
        if step == 0:
            self._refuse(offset, "a step of 0 goes nowhere")
        if step > self.span.high - self.span.low:
            why = f"a step of {word} is larger than the field ({self.span})"
            self._refuse(offset, f"{why}: cron would use the first value only")
        return step

    def _unknown_word(self, word: str) -> str:
        names = self.span.names
        if word.upper() in FOREIGN:
            return FOREIGN[word.upper()]
        if word[:3].lower() in names:
            return f"names have three letters: write {word[:3]} for {word}"
        if word.upper().endswith(("L", "W")):
            return FOREIGN[word[-1].upper()]
        known = f" or a name ({', '.join(names)})" if names else ""
        return f"{word} is not a number{known}"

    def _refuse_junk(self, item: str, offset: int, end: int) -> NoReturn:
        if not item:
            self._refuse(offset, "an item is missing beside the comma")
        junk = item[end:]
        why = FOREIGN.get(junk[0].upper()) if junk[0] not in "-/" else None
        if why is None and end == 0:
            why = f"{junk} is neither *, a number, a range nor a name"
        self._refuse(offset + end, why or f"{junk} is left over after {item[:end]}")

    def _reversed(self, item: str, low: int, high: int) -> str:
        first, last = self.span.low, self.span.high
        if last == 7:  # Sunday closes the week as well as opening it
            parts = [(low, 7 if high == 0 else 6), (first, high)][low == 7 : 2 - (high == 0)]
        else:
            parts = [(low, last), (first, high)]
        mend = ",".join(f"{a}-{b}" if a != b else f"{a}" for a, b in parts)
        return f"{item} runs backwards, so cron takes it and never fires; write {mend}"

    def _refuse(self, offset: int, reason: str) -> NoReturn:
        raise BadExpression(self.expression, self.span.name, self.column + offset, reason)


def _visible(character: str) -> str:
    """The character, or one as wide that can be seen: the caret below must still point at it."""
    if character == "\t":
        return " "
    if ord(character) < 0x20:
        return chr(0x2400 + ord(character))
    return character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
