"""One field of an expression: its bounds and names, its items, and why one is refused."""

import re
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from maejobs.errors import UserError

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
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


class Span(NamedTuple):
    """A field's name, bounds and the three-letter names its numbers have."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.low}–{self.high}"

    def number(self, word: str) -> int | None:
        """What a run of digits or a name stands for; None for no name of this field."""
        if word.isdigit():
            return int(word) if len(word) < 10 else self.high + 1
        word = word.lower()
        return self.low + self.names.index(word) if word in self.names else None


SPANS = (
    Span("minute", 0, 59),
    Span("hour", 0, 23),
    Span("day-of-month", 1, 31),
    Span("month", 1, 12, MONTHS),
    Span("day-of-week", 0, 7, WEEKDAYS),
)


class FieldReader(NamedTuple):
    """One field being read: knows where it stands, so that a refusal can point."""

    expression: str
    span: Span
    column: int
    text: str

    def field(self) -> Field:
        """The field. Raises BadExpression."""
        values: set[int] = set()
        offset = 0
        for item in self.text.split(","):
            values.update(self._item(item, offset))
            offset += len(item) + 1
        if self.span.high == 7:  # 7 is Sunday as well
            values = {value % 7 for value in values}
        return Field(self.span.name, self.text, frozenset(values), self.text.startswith("*"))

    def _item(self, item: str, offset: int) -> range:
        match = ITEM.match(item)
        if match is None or match.end() < len(item):
            self._refuse_junk(item, offset, match.end() if match else 0)
        low_text, high_text, step_text = match.group("low", "high", "step")
        span = self.span
        step = self._step(step_text, offset + match.start("step"))
        if low_text is None:
            return range(span.low, span.high + 1, step)
        low = self._number(low_text, offset)
        if high_text is None:
            if step_text is not None:
                why = f"a step needs a range: write {low_text}-{span.high}/{step_text}"
                self._refuse(offset, why)
            return range(low, low + 1)
        high = self._number(high_text, offset + match.start("high"))
        if low > high:
            self._refuse(offset, self._reversed(item, low, high))
        return range(low, high + 1, step)

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
