"""What may stand before a command in a crontab: a strict reading that never says yes to silence.

Cron accepts more than it honours: `fri-sun` installs and never fires, `1-2-3` installs and drops
the `-3`. Whatever Debian's or cronie's checker rejects is refused here, and so is what they take
and never fire or silently ignore; each refusal says why and what to write instead. Sources:
crontab(5), and the real binaries (tests/cron/test_verdicts.py).
"""

import re
from dataclasses import dataclass, replace
from functools import cached_property

from maejobs.cron.fields import SPANS, BadExpression, Field, FieldReader

__all__ = ["SPANS", "BadExpression", "Expression", "Field", "expression_of", "parse_expression"]

EXAMPLE = "30 2 * * 1-5"
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
        FieldReader(text, span, column, word).field()
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
