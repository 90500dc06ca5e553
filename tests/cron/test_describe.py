import pytest
from hypothesis import given

from cron.strategies import expressions
from maejobs.cron.describe import describe
from maejobs.cron.grammar import BadExpression, parse_expression


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("30 2 * * 1-5", "at 02:30 on Monday to Friday"),
        ("@reboot", "when the host starts"),
        ("* * * * *", "every minute every day"),
        ("0 0 13 * 5", "at 00:00 on day 13 of the month, or on Friday"),
        ("0 0 */16 * 5", "at 00:00 on day 1 and 17 of the month, if that is Friday"),
        ("0 2,14 1 jan,feb *", "at 02:00 and 14:00 on day 1 of the month in Jan and Feb"),
        ("*/20 9-17 * * *", "at minute 0, 20 and 40 of hour 9 to 17 every day"),
    ],
)
def test_an_expression_in_plain_english(text, meaning):
    assert describe(parse_expression(text)) == meaning


@given(expressions)
def test_whatever_is_accepted_can_be_told(text):
    try:
        expression = parse_expression(text)
    except BadExpression:
        return
    assert describe(expression)
