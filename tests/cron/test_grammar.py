from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cron.strategies import expressions
from maejobs.cron.dialect import Dialect
from maejobs.cron.fields import WEEKDAYS
from maejobs.cron.grammar import (
    NICKNAMES,
    SPANS,
    BadExpression,
    Expression,
    expression_of,
    parse_expression,
)
from maejobs.cron.refusal import Code


def refusal(text: str) -> BadExpression:
    with pytest.raises(BadExpression) as caught:
        parse_expression(text)
    return caught.value


def outcome(text: str) -> Expression | BadExpression:
    try:
        return parse_expression(text)
    except BadExpression as error:
        return error


def test_the_message_points_at_the_mistake():
    assert str(refusal("0 0 1 13 *")) == "\n".join(
        ["bad month: 13 is outside 1–12", "  0 0 1 13 *", "        ^"]
    )


def test_blanks_are_normalised_and_the_column_is_the_users():
    assert parse_expression("\t0  2 * *\t* ").text == "0 2 * * *"
    assert refusal("\t0  24 * * *").column == 4


def test_names_have_three_letters_in_any_case_and_stand_in_ranges():
    assert parse_expression("0 0 * JAN-mar Mon-5").month.values == {1, 2, 3}
    assert parse_expression("0 0 * * mon-5,SUN").weekday.values == {0, 1, 2, 3, 4, 5}


def test_seven_is_sunday():
    assert parse_expression("0 0 * * 7").weekday.values == {0}
    assert parse_expression("0 0 * * 5-7").weekday.values == {5, 6, 0}
    assert parse_expression("0 0 * * */7").weekday.values == {0}


@pytest.mark.parametrize(
    ("text", "star"), [("*", True), ("*/2", True), ("*,5", True), ("5,*", False)]
)
def test_a_field_is_star_by_its_first_character(text, star):
    assert parse_expression(f"0 0 {text} * *").day.star is star


@pytest.mark.parametrize(
    ("text", "field", "column", "reason"),
    [
        ("0 0 * * fri-sun", "day-of-week", 8, "Write `fri,sat,sun`"),
        ("0 0 * * sat-sun", "day-of-week", 8, "Write `sat,sun`"),
        ("0 0 * * 7-2", "day-of-week", 8, "Write `0-2`"),
        ("0 0 * * 5-2", "day-of-week", 8, "Write `5-6,0-2`"),
        ("0 22-2 * * *", "hour", 2, "Write `22-23,0-2`"),
        ("0 1-3,9-7 * * *", "hour", 6, "Write `9-23,0-7`"),
        ("0 5-4 * * *", "hour", 2, "Write `5-23,0-4`"),
        ("5/10 * * * *", "minute", 0, "Write `5-59/10`"),
        ("*/0 * * * *", "minute", 2, "step of 0"),
        ("*/90 * * * *", "minute", 2, "larger than the field"),
        ("0 0-5/24 * * *", "hour", 6, "larger than the field"),
        ("*5 * * * *", "minute", 1, "5 is left over after *"),
        ("1-2-3 * * * *", "minute", 3, "-3 is left over after 1-2"),
        ("1;2 * * * *", "minute", 1, ";2 is left over"),
        ("0~30 * * * *", "minute", 1, "by no other cron"),
        ("1,,2 * * * *", "minute", 2, "an item is missing"),
        ("1, * * * *", "minute", 2, "an item is missing"),
        ("60 * * * *", "minute", 0, "60 is outside 0–59"),
        ("4294967297 * * * *", "minute", 0, "outside"),
        ("0 0 0 * *", "day-of-month", 4, "outside 1–31"),
        ("0 0 ? * *", "day-of-month", 4, "Write `*`"),
        ("0 0 L * *", "day-of-month", 4, "28-31"),
        ("0 0 15W * *", "day-of-month", 6, "the weekdays, `1-5`"),
        ("0 0 * * 5L", "day-of-week", 9, "28-31"),
        ("0 0 * * fri#2", "day-of-week", 11, "no `#` for the nth"),
        ("0 0 * * monday", "day-of-week", 8, "Write `mon`"),
        ("H * * * *", "minute", 0, "fixed number"),
        ("jan * * * *", "minute", 0, "jan is not a number"),
        ("0 0 30 2 *", "day-of-month", 4, "never fires"),
        ("0 0 31 4,6,9,11 *", "day-of-month", 4, "never fires"),
        ("0 0 * * %", "day-of-week", 8, "newline"),
    ],
)
def test_what_cron_rejects_ignores_or_never_fires_is_refused_with_a_mend(
    text, field, column, reason
):
    error = refusal(text)
    assert (error.field, error.column) == (field, column)
    assert reason in error.reason


@pytest.mark.parametrize(
    ("text", "column", "reason"),
    [
        ("", 0, "0 fields seen"),
        ("* * * *", 7, "4 fields seen, 5 needed"),
        ("*/5 * * * * 30", 12, "no seconds or years"),
        ("@Daily", 0, "Write `@daily`"),
        ("@daily @daily", 7, "nothing may follow"),
        ("@every 5m", 0, "no @every"),
        ("* * * * *\n", 9, "a line break"),
        ("* * * * *\r", 9, "a line break"),
        ("* * * * \0", 8, "the character '\\x00'"),
        ("\u200b* * * * *", 0, "the character '\\u200b'"),
        ("٣ * * * *", 0, "the character"),
    ],
)
def test_what_is_no_expression_at_all_is_refused(text, column, reason):
    error = refusal(text)
    assert (error.field, error.column) == (None, column)
    assert reason in error.reason


def test_the_wrong_number_of_fields_shows_an_example_that_parses():
    parse_expression(refusal("0 2 * *").reason.rpartition("example: ")[2].strip("`"))


def test_a_day_that_only_the_weekday_can_reach_is_accepted():
    assert parse_expression("0 0 31 2 1").either_day
    refusal("0 0 31 2 */2")


def test_29_february_is_a_date():
    assert parse_expression("0 0 29 2 *").day.values == {29}


@pytest.mark.parametrize("nickname", NICKNAMES)
def test_a_nickname_reads_as_its_five_fields(nickname):
    named, plain = parse_expression(nickname), parse_expression(NICKNAMES[nickname])
    assert named.text == nickname
    assert (named.minute, named.hour, named.day) == (plain.minute, plain.hour, plain.day)
    assert (named.month, named.weekday) == (plain.month, plain.weekday)


def test_reboot_is_an_expression_without_times():
    expression = parse_expression("@reboot")
    assert expression.reboot
    assert expression.minutes_of_day == ()


@pytest.mark.parametrize(
    ("line", "expression"),
    [
        ("0 2 * * * /bin/true # x", "0 2 * * *"),
        ("  @daily /bin/true", "@daily"),
        ("*\t*  * * 8 x", "*\t*  * * 8"),
        ("0 2 x", "0 2 x"),
        ("", ""),
    ],
)
def test_the_expression_of_a_line(line, expression):
    assert expression_of(line) == expression


@given(st.text(alphabet="0123456789*/,-~ \tabcLW?#@%\n\0é", max_size=24))
def test_any_text_is_accepted_or_refused_inside_itself(text):
    read = outcome(text)
    if isinstance(read, BadExpression):
        assert 0 <= read.column <= len(text)
        assert len(str(read).split("\n")) == 3
    else:
        assert parse_expression(read.text) == read


@given(expressions)
def test_what_the_manual_allows_is_accepted_unless_the_date_never_comes(text):
    expression = outcome(text)
    if isinstance(expression, BadExpression):
        assert "never comes" in expression.reason
        return
    for span, name in zip(SPANS, ("minute", "hour", "day", "month", "weekday"), strict=True):
        values = getattr(expression, name).values
        assert values
        assert values <= set(range(span.low, span.high + 1)) - {7 if name == "weekday" else -1}


@given(st.text(alphabet="0123456789*/,-~ abcfrisunmoLH?", max_size=20), st.sampled_from(Dialect))
def test_a_mend_mends_and_says_so(text, dialect):
    for _ in range(12):
        try:
            parse_expression(text, dialect)
        except BadExpression as error:
            if error.mended is None:
                return
            text = error.mended
        else:
            return
    pytest.fail(f"mends without end: {text}")


@given(st.integers(0, 6), st.integers(0, 6), st.booleans())
def test_the_mend_of_a_week_that_runs_backwards_is_what_the_eye_saw(low, high, named):
    assume(low > high)
    first, last = (WEEKDAYS[low], WEEKDAYS[high]) if named else (low, high)
    mended = parse_expression(refusal(f"0 0 * * {first}-{last}").mended)
    seen = {day % 7 for day in range(low, high + 8)}
    assert mended.weekday.values == seen


@pytest.mark.parametrize("text", ["0 0 * * 7", "@daily", "0 0 1-31 * 1-7", "0 0 * * 5-7"])
def test_busybox_and_so_the_portable_dialect_knows_neither_7_nor_nicknames(text):
    parse_expression(text)
    for dialect in (Dialect.BUSYBOX, Dialect.PORTABLE):
        with pytest.raises(BadExpression) as caught:
            parse_expression(text, dialect)
        parse_expression(caught.value.mended, Dialect.BUSYBOX)


def test_what_crons_read_differently_is_not_portable():
    for text in ("0 0 */2 * *", "0 0 */2 * 1", "0 0 10,* * 1"):
        parse_expression(text, Dialect.BUSYBOX)
        with pytest.raises(BadExpression) as caught:
            parse_expression(text, Dialect.PORTABLE)
        assert caught.value.code == "not_portable"
    assert parse_expression("0 0 1,15 * 1", Dialect.PORTABLE).either_day


def test_a_minute_on_the_wall_matches_or_not():
    friday_13 = datetime(2026, 2, 13, 2, 30)  # noqa: DTZ001
    assert parse_expression("30 2 13 * 5").matches(friday_13)
    assert parse_expression("30 2 14 * fri").matches(friday_13)
    assert not parse_expression("30 2 */2 * 1").matches(friday_13)
    assert not parse_expression("@reboot").matches(friday_13)


def test_the_docs_list_every_code():
    docs = (Path(__file__).parents[2] / "docs/expressions.md").read_text()
    assert [code for code in Code if f"`{code}`" not in docs] == []


@pytest.mark.parametrize("text", ["0 0 */31 * 5", "0 0 1 * */8"])
def test_no_mend_makes_one_day_field_suffice_where_both_had_to_hold(text):
    assert refusal(text).mended is None
    assert refusal(text.replace(" 5", " *").replace(" 1 ", " * ")).mended is not None
    assert refusal(text.replace(" 5", " */2").replace(" 1 ", " */2 ")).mended is not None
