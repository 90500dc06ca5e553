"""Why an expression is refused: a code for programs; a reason, a place and a mend for people."""

from enum import StrEnum

from maejobs.errors import UserError


class Code(StrEnum):
    """The kinds of refusal. Stable: programs read them, and docs/expressions.md lists them."""

    BAD_CHARACTER = "bad_character"
    TOO_FEW_FIELDS = "too_few_fields"
    TOO_MANY_FIELDS = "too_many_fields"
    UNKNOWN_NICKNAME = "unknown_nickname"
    NICKNAME_NOT_TAKEN = "nickname_not_taken"
    MISSING_ITEM = "missing_item"
    JUNK = "junk"
    FOREIGN_SYNTAX = "foreign_syntax"
    RANDOM_TIME = "random_time"
    UNKNOWN_NAME = "unknown_name"
    LONG_NAME = "long_name"
    OUT_OF_RANGE = "out_of_range"
    REVERSED_RANGE = "reversed_range"
    STEP_WITHOUT_RANGE = "step_without_range"
    STEP_OF_ONE_VALUE = "step_of_one_value"
    STEP_MISSING = "step_missing"
    STEP_ZERO = "step_zero"
    STEP_TOO_LARGE = "step_too_large"
    IMPOSSIBLE_DATE = "impossible_date"
    NOT_PORTABLE = "not_portable"


# What other schedulers know and cron does not, and what to write instead.
FOREIGN = {
    "?": "cron knows no `?`",
    "L": "cron knows no `L` for the last: run on `28-31` and let the job look at the date",
    "W": "cron knows no `W` for the nearest weekday: write the weekdays, `1-5`",
    "#": "cron knows no `#` for the nth weekday: run each week and let the job look at the date",
    "H": "cron knows no `H`: write a fixed number",
    "R": "cron knows no `R`: write a fixed number",
    "%": "cron turns `%` into a newline: leave it out",
    "\\": "a backslash has no place here: leave it out",
}
RANDOM = "a random time (`a~b`) is drawn anew by cronie at each load, and by no other cron: "
# What text that went through a word processor or a web page holds instead of ASCII.
LOOKALIKES = {
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{MINUS SIGN}": "-",
    "\N{HYPHEN}": "-",
    "\N{NON-BREAKING HYPHEN}": "-",
    "\N{ASTERISK OPERATOR}": "*",
    "\N{NO-BREAK SPACE}": " ",
    "\N{ZERO WIDTH SPACE}": "",
    "\N{ZERO WIDTH NO-BREAK SPACE}": "",
    "\r": "",
    "\n": "",
}


class BadExpression(UserError):
    """An expression cron would reject, never fire or half ignore; points at the place.

    `column` counts from 0. `mended` is the expression with this one mistake mended, where there
    is one way to mend it.
    """

    def __init__(
        self,
        expression: str,
        field: str | None,
        column: int,
        reason: str,
        code: Code = Code.JUNK,
        mended: str | None = None,
    ) -> None:
        self.expression = expression
        self.field = field
        self.column = column
        self.reason = reason
        self.code = code
        self.mended = mended
        super().__init__(f"bad {field or 'expression'}: {reason}\n{self.pointed()}")

    def pointed(self) -> str:
        """Two lines: the expression, and a caret below the place."""
        shown = "".join(map(_visible, self.expression))
        return f"  {shown}\n  {' ' * self.column}^"


def _visible(character: str) -> str:
    """The character, or one as wide that can be seen: the caret below must still point at it."""
    if character == "\t":
        return " "
    if ord(character) < 0x20:
        return chr(0x2400 + ord(character))
    return character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
