"""What may stand before a command in a crontab: a strict reading that never says yes to silence.

Cron accepts more than it honours: `fri-sun` installs and never fires, `1-2-3` installs and drops
the `-3`. Whatever the dialect's own checker rejects is refused here, and so is what it takes and
never fires or silently ignores; each refusal says why and what to write instead. Sources:
crontab(5), and the real binaries (tests/cron/test_verdicts.py).
"""

import re
from dataclasses import replace

from maejobs.cron.dialect import Dialect
from maejobs.cron.expression import DAYS_IN_MONTH, NEVER, Expression
from maejobs.cron.fields import SPANS, Field, FieldReader, spans_of
from maejobs.cron.refusal import LOOKALIKES, BadExpression, Code

__all__ = ["SPANS", "BadExpression", "Expression", "Field", "expression_of", "parse_expression"]

EXAMPLE = "30 2 * * 1-5"
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


def parse_expression(text: str, dialect: Dialect = Dialect.DEBIAN) -> Expression:
    """Read five fields or an exact nickname, refusing what cron would not honour as written.

    Refused although the checkers accept them: reversed ranges, steps larger than the field (cron
    uses the first value only), numbers that overflow into range, `a-a/N`, `a~b`, dates that do not
    exist; for `PORTABLE` also what busybox and the others read differently.

    Raises BadExpression with field, column, code and mend.
    """
    _refuse_characters(text)
    words = [(match.group(), match.start()) for match in re.finditer(r"[^ \t]+", text)]
    if words and words[0][0].startswith("@"):
        return _nickname(text, words, dialect)
    if len(words) != len(SPANS):
        raise _wrong_count(text, words, dialect)
    if dialect is not Dialect.PORTABLE:
        return _five_fields(text, words, dialect)
    debians = _five_fields(text, words, Dialect.DEBIAN)
    try:
        busyboxes = _five_fields(text, words, Dialect.BUSYBOX)
    except BadExpression as error:
        if error.code is Code.IMPOSSIBLE_DATE:  # not for the others, or they had refused it
            raise _read_differently(text, words) from error
        raise
    if debians.days != busyboxes.days:
        raise _read_differently(text, words)
    return replace(debians, dialect=dialect)


def _five_fields(text: str, words: list[tuple[str, int]], dialect: Dialect) -> Expression:
    minute, hour, day, month, weekday = (
        FieldReader(text, dialect, span, column, word).field()
        for span, (word, column) in zip(spans_of(dialect), words, strict=True)
    )
    normalised = " ".join(word for word, _ in words)
    expression = Expression(normalised, minute, hour, day, month, weekday, False, dialect)
    _refuse_impossible_date(text, words[2][1], expression)
    return expression


def expression_of(line: str) -> str:
    """The part of a job line that tells when: the nickname, or up to five fields."""
    line = line.lstrip(" \t")
    count = 1 if line.startswith("@") else len(SPANS)
    match = re.match(rf"[^ \t]*(?:[ \t]+[^ \t]+){{0,{count - 1}}}", line)
    return match.group() if match else ""


def _refuse_characters(text: str) -> None:
    for column, character in enumerate(text):
        if character not in " \t" and not "!" <= character <= "~":
            kind = "a line break" if character in "\r\n" else f"the character {character!a}"
            if "\udc80" <= character <= "\udcff":  # came as a byte that is no UTF-8
                kind = f"the byte 0x{ord(character) - 0xDC00:02x}"
            mend = LOOKALIKES.get(character)
            advice = f"write `{mend}`" if mend and mend.strip() else "leave it out"
            mended = None if mend is None else text[:column] + mend + text[column + 1 :]
            reason = f"{kind} has no place here: {advice}"
            raise BadExpression(text, None, column, reason, Code.BAD_CHARACTER, mended)


def _nickname(text: str, words: list[tuple[str, int]], dialect: Dialect) -> Expression:
    name, column = words[0]
    if name != REBOOT and name not in NICKNAMES:
        raise _unknown_nickname(text, name, column, alone=len(words) == 1)
    if len(words) > 1:
        reason = f"nothing may follow {name}. Write `{name}`"
        raise BadExpression(text, None, words[1][1], reason, Code.TOO_MANY_FIELDS, name)
    if dialect in (Dialect.BUSYBOX, Dialect.PORTABLE):
        mend = NICKNAMES.get(name)
        advice = f"Write `{mend}`" if mend else "Start the job from the host's init instead"
        reason = f"busybox built without {name} crashes on such a line. {advice}"
        raise BadExpression(text, None, column, reason, Code.NICKNAME_NOT_TAKEN, mend)
    if name == REBOOT:
        minute, hour, day, month, weekday = NEVER
        return Expression(name, minute, hour, day, month, weekday, True, dialect)
    return replace(parse_expression(NICKNAMES[name], dialect), text=name)


def _unknown_nickname(text: str, name: str, column: int, alone: bool) -> BadExpression:
    lower = name.lower()
    if lower == REBOOT or lower in NICKNAMES:
        reason = f"cron knows nicknames in lower case only. Write `{lower}`"
        mended = text.replace(name, lower, 1)
    elif alone or name != "@every":
        known = ", ".join((REBOOT, *NICKNAMES))
        reason, mended = f"unknown nickname {name}: write five fields or one of {known}", None
    else:
        reason, mended = "cron knows no @every: write the minutes as a step, `*/5 * * * *`", None
    return BadExpression(text, None, column, reason, Code.UNKNOWN_NICKNAME, mended)


def _wrong_count(text: str, words: list[tuple[str, int]], dialect: Dialect) -> BadExpression:
    seen, needed = len(words), len(SPANS)
    names = " ".join(span.name for span in SPANS)
    counted = f"{seen} field{'' if seen == 1 else 's'} seen, {needed} needed ({names})"
    if seen < needed:
        column, code = len(text.rstrip(" \t")), Code.TOO_FEW_FIELDS
        nickname = f"@{words[0][0].lower()}" if seen == 1 else ""
        if nickname == REBOOT or nickname in NICKNAMES:
            reason = f"a nickname begins with @. Write `{nickname}`"
            return BadExpression(text, None, words[0][1], reason, code, nickname)
        return BadExpression(text, None, column, f"{counted}; example: `{EXAMPLE}`", code)
    why = "cron has no seconds or years, and would run the rest as a command"
    mended = _five_of([word for word, _ in words], dialect)
    advice = f"Write `{mended}`" if mended else f"example: `{EXAMPLE}`"
    reason = f"{counted}: {why}. {advice}"
    return BadExpression(text, None, words[needed][1], reason, Code.TOO_MANY_FIELDS, mended)


def _five_of(words: list[str], dialect: Dialect) -> str | None:
    """The fields meant, of too many: without the seconds, if these come first and are 0."""
    count = len(SPANS)
    starts = (1, 0) if words[0] == "0" and len(words) <= count + 2 else (0,)
    for start in starts:
        mended = " ".join(words[start : start + count])
        try:
            return parse_expression(mended, dialect).text
        except BadExpression:
            continue
    return None


def _refuse_impossible_date(text: str, column: int, expression: Expression) -> None:
    if expression.either_day or expression.has_date:
        return
    day, month = expression.day.text, expression.month.text
    longest = max(DAYS_IN_MONTH[month] for month in expression.month.values)
    last = 28 if longest == 29 else longest
    reason = (
        f"`{day}` never comes in month {month}, so cron takes it and never fires: "
        f"write `{last}` for the last day"
    )
    mended = f"{text[:column]}{last}{text[column + len(day) :]}"
    raise BadExpression(text, "day-of-month", column, reason, Code.IMPOSSIBLE_DATE, mended)


def _read_differently(text: str, words: list[tuple[str, int]]) -> BadExpression:
    """The refusal of what fires on other days under busybox than elsewhere."""
    (day, column), (weekday, _) = words[2], words[4]
    mended = None
    if weekday == "*":
        reason = f"`{day}` counts from day 1, and under busybox from day 0"
        if day.startswith("*/") and "," not in day:
            mended = _with_day(words, f"1-31/{day.removeprefix('*/')}")
            reason += f". Write `1-31/{day.removeprefix('*/')}`"
        else:
            reason += ": write the days without `*`"
    else:
        reason = (
            f"on days {day} and weekdays {weekday} crons disagree whether one suffices or both "
            "must hold: restrict one of the two, and let the job test the other"
        )
    return BadExpression(text, "day-of-month", column, reason, Code.NOT_PORTABLE, mended)


def _with_day(words: list[tuple[str, int]], day: str) -> str:
    return " ".join(day if place == 2 else word for place, (word, _) in enumerate(words))
