"""One field of an expression: its bounds and names, its items, and why one is refused."""

import re
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from maejobs.cron import mends
from maejobs.cron.dialect import Dialect
from maejobs.cron.refusal import FOREIGN, RANDOM, BadExpression, Code

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
ITEM = re.compile(
    r"(?:\*|(?P<low>[0-9]+|[a-z]+)(?:-(?P<high>[0-9]+|[a-z]+))?)(?:/(?P<step>[0-9]+))?",
    re.ASCII | re.IGNORECASE,
)
LONGEST_NUMBER = 999  # characters, leading zeros and all (MAX_TEMPSTR in Debian's cron.h)
HUGE = 10**9


@dataclass(frozen=True)
class Field:
    """One of the five: `star` fields are as good as absent for the day rule (see Expression)."""

    name: str
    text: str
    values: frozenset[int]
    star: bool


class Span(NamedTuple):
    """A field's name, bounds and the three-letter names its numbers have.

    `star` is what `*` begins with, `largest_step` the largest step that is not refused.
    """

    name: str
    low: int
    high: int
    names: tuple[str, ...]
    star: int
    largest_step: int

    def __str__(self) -> str:
        return f"{self.low}–{self.high}"

    def number(self, word: str) -> int | None:
        """What a run of digits or a name stands for; None for no name of this field."""
        if word.isdigit():
            return as_number(word)
        word = word.lower()
        return self.low + self.names.index(word) if word in self.names else None


def as_number(digits: str) -> int:
    """`digits` as a number; one that would overflow in cron as a huge one."""
    fits = len(digits) <= LONGEST_NUMBER and len(digits.lstrip("0")) < 10
    return int(digits) if fits else HUGE


MINUTE = Span("minute", 0, 59, (), 0, 59)
HOUR = Span("hour", 0, 23, (), 0, 23)
MONTH = Span("month", 1, 12, MONTHS, 1, 11)
SPANS = (
    MINUTE,
    HOUR,
    Span("day-of-month", 1, 31, (), 1, 30),
    MONTH,
    Span("day-of-week", 0, 7, WEEKDAYS, 0, 7),
)
# crond.c in busybox counts the days of a month from 0, `*` does as well: `*/2` are the even days.
BUSYBOX_SPANS = (
    MINUTE,
    HOUR,
    Span("day-of-month", 1, 31, (), 0, 30),
    MONTH,
    Span("day-of-week", 0, 6, WEEKDAYS, 0, 7),
)


def spans_of(dialect: Dialect) -> tuple[Span, ...]:
    """The five fields of a dialect, from left to right."""
    return BUSYBOX_SPANS if dialect is Dialect.BUSYBOX else SPANS


class FieldReader(NamedTuple):
    """One field being read: knows where it stands, so that a refusal can point."""

    expression: str
    dialect: Dialect
    span: Span
    column: int
    text: str

    def field(self) -> Field:
        """The field. Raises BadExpression."""
        values: set[int] = set()
        offset = 0
        for item in self.text.split(","):
            values.update(ItemReader(self, item, offset).values())
            offset += len(item) + 1
        return Field(self.span.name, self.text, self._legal(values), self._is_star(values))

    def _is_star(self, values: set[int]) -> bool:
        """Debian and cronie look at the first character, busybox at what is left out."""
        if self.dialect is Dialect.BUSYBOX:
            return values.issuperset(range(self.span.star, self.span.high + 1))
        return self.text.startswith("*")

    def _legal(self, values: set[int]) -> frozenset[int]:
        if self.span.high == 7:  # 7 is Sunday as well
            return frozenset(value % 7 for value in values)
        return frozenset(value for value in values if value >= self.span.low)


class ItemReader(NamedTuple):
    """What stands between two commas, `offset` characters into its field."""

    field: FieldReader
    item: str
    offset: int

    def values(self) -> range:
        """What the item stands for. Raises BadExpression."""
        span = self.field.span
        match = ITEM.match(self.item)
        if match is None or match.end() < len(self.item):
            self._refuse_junk(match.end() if match else 0)
        low_text, high_text, step_text = match.group("low", "high", "step")
        if low_text is None:
            step = self._step(step_text, match.start("step"), self._first_of_star(step_text))
            return range(span.star, span.high + 1, step)
        low = self._number(low_text, 0)
        high = low if high_text is None else self._number(high_text, match.start("high"))
        self._refuse_out_of_range(match, low, high)
        if low > high:
            self._refuse_reversed(match, low, high)
        if high_text is None and step_text is not None:
            mend = mends.run_to_the_end(span, low_text, low, as_number(step_text))
            self._refuse(0, "a step needs a range", Code.STEP_WITHOUT_RANGE, mend)
        if step_text is not None and low == high and as_number(step_text):
            why = f"`{self.item}` is one value, so the step does nothing"
            self._refuse(match.start("step"), why, Code.STEP_OF_ONE_VALUE, low_text)
        return range(low, high + 1, self._step(step_text, match.start("step"), low_text))

    def _first_of_star(self, step: str | None) -> str | None:
        span = self.field.span
        first = span.star if span.star >= span.low else as_number(step or "1")
        return str(first) if first <= span.high else None

    def _number(self, word: str, offset: int) -> int:
        value = self.field.span.number(word)
        if value is None:
            self._refuse_word(word, offset)
        return value

    def _step(self, word: str | None, offset: int, first: str | None) -> int:
        if word is None:
            return 1
        step = as_number(word)
        if step == 0:
            self._refuse(offset, "a step of 0 goes nowhere; leave it out", Code.STEP_ZERO)
        if step > self.field.span.largest_step:
            counts = f"so that only {first} counts" if first else "so that nothing counts"
            why = f"a step of {word} is larger than the field ({self.field.span}), {counts}"
            mend = None if self._would_suffice_alone() else first
            self._refuse(offset, why, Code.STEP_TOO_LARGE, mend)
        return step

    def _would_suffice_alone(self) -> bool:
        """Whether without this item's `*` one of the day fields sufficed, where both must hold."""
        star = self.offset == 0 and self.item.startswith("*")
        words = self.field.expression.split()
        other = {"day-of-month": words[4], "day-of-week": words[2]}.get(self.field.span.name, "*")
        both = self.field.dialect is not Dialect.BUSYBOX and not other.startswith("*")
        return star and both

    def _refuse_out_of_range(self, match: re.Match[str], low: int, high: int) -> None:
        span = self.field.span
        for value, group in ((low, "low"), (high, "high")):
            if match[group] is not None and not span.low <= value <= span.high:
                mend = mends.within(span, low, high, match["high"] is None, match["step"])
                why = f"{match[group]} is outside {span}"
                if span.names == WEEKDAYS and value == 7:
                    why = "busybox knows Sunday as 0 only"
                self._refuse(match.start(group), why, Code.OUT_OF_RANGE, mend)

    def _refuse_reversed(self, match: re.Match[str], low: int, high: int) -> NoReturn:
        span, step = self.field.span, as_number(match["step"] or "1")
        named = not (match["low"] + match["high"]).isdigit()
        mend = mends.wrapped(span, low, high, step, named) if step else None
        backwards = "Sunday is 0" if span.names == WEEKDAYS and high == 0 else "it runs backwards"
        why = f"`{self.item}` never fires: {backwards}"
        if self.field.dialect is Dialect.BUSYBOX:
            why = f"`{self.item}` runs backwards, which no other cron takes as meant"
        self._refuse(0, why, Code.REVERSED_RANGE, mend)

    def _refuse_word(self, word: str, offset: int) -> NoReturn:
        names = self.field.span.names
        letter = word[-1].upper()
        lone = len(word) == 1 or word.upper() == "LW"
        if (lone and letter in FOREIGN) or (letter in "LW" and word[:-1].lower() in names):
            step = ITEM.fullmatch(self.item)
            mend = f"*/{step['step']}" if step and letter == "H" and step["step"] else None
            self._refuse(offset, FOREIGN[letter], Code.FOREIGN_SYNTAX, mend)
        if mends.is_long_name(word, names):
            mend = self.item.replace(word, word[:3], 1)
            self._refuse(offset, "names have three letters", Code.LONG_NAME, mend)
        known = f" or a name ({', '.join(names)})" if names else ""
        self._refuse(offset, f"{word} is not a number{known}", Code.UNKNOWN_NAME)

    def _refuse_junk(self, end: int) -> NoReturn:
        item, head, junk = self.item, self.item[:end], self.item[end:]
        if not item:
            mend = ",".join(filter(None, self.field.text.split(","))) or None
            why = "an item is missing beside the comma"
            raise self._refusal(0, why, Code.MISSING_ITEM, mend, whole_field=True)
        if junk[0] == "~" or item[0] == "~":
            why = f"{RANDOM}write a fixed number"
            self._refuse(end, why, Code.RANDOM_TIME)
        if junk[0].upper() in FOREIGN:
            mend = "*" if item == "?" else None
            self._refuse(end, FOREIGN[junk[0].upper()], Code.FOREIGN_SYNTAX, mend)
        if junk[0] == "/" and head:
            why = "the step must be a number" if junk[1:] else "a step is missing after the /"
            self._refuse(end, f"{why}, as in `*/5`", Code.STEP_MISSING)
        if not head:
            self._refuse(end, f"{junk} is neither *, a number, a range nor a name", Code.JUNK)
        hint = "separate items by commas" if junk[0] in ";:|&+." else "leave it out"
        self._refuse(end, f"{junk} is left over after {head}: {hint}", Code.JUNK)

    def _refuse(self, at: int, why: str, code: Code, mend: str | None = None) -> NoReturn:
        raise self._refusal(at, why, code, mend)

    def _refusal(
        self, at: int, why: str, code: Code, mend: str | None, whole_field: bool = False
    ) -> BadExpression:
        text, field = self.field.expression, self.field
        start = field.column if whole_field else field.column + self.offset
        end = start + len(field.text if whole_field else self.item)
        reason = why if mend is None else f"{why}. Write `{mend}`"
        mended = None if mend is None else text[:start] + mend + text[end:]
        column = field.column + self.offset + at
        return BadExpression(text, field.span.name, column, reason, code, mended)
