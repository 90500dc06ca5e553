"""Schedules and tables for hypothesis to try."""

from hypothesis import strategies as st

from maejobs.cron.block import is_marker
from maejobs.cron.grammar import SPANS


def items(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    spans = st.tuples(number, number).map(sorted)
    steps = st.integers(1, high - low)
    return st.one_of(
        st.just("*"),
        number.map(str),
        spans.map("{0[0]}-{0[1]}".format),
        steps.map("*/{}".format),
        st.tuples(spans.filter(lambda span: span[0] < span[1]), steps).map(
            lambda s: f"{s[0][0]}-{s[0][1]}/{s[1]}"
        ),
    )


# What crontab(5) allows; now and then a date that never comes.
expressions = st.tuples(
    *(st.lists(items(span.low, span.high), min_size=1, max_size=3).map(",".join) for span in SPANS)
).map(" ".join)

# Any bytes, and more often than chance would: lines as crontabs have them.
lines = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [
            *(b"", b"# a=b", b"FOO = bar", b"0 5 * * 1 tar x", b"*  *\t* * * a \\% b", b"#\xe4"),
            *(b"a\r", b"# >>> maejobs: notes", b"# <<< maejobs", b"#\t>>> maejobs >>>"),
        ]
    ),
)
tables = (
    st.lists(lines, max_size=8)
    .map(b"\n".join)
    .filter(lambda table: not any(map(is_marker, table.split(b"\n"))))
)
