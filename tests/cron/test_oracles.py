"""Held against the libraries that others use, where they are right (croniter, python-crontab)."""

from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from pathlib import Path

import crontab
import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from maejobs.cron.block import Entry, exec_command, render_block
from maejobs.cron.fires import fires
from maejobs.cron.grammar import parse_expression

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = timedelta(days=40)

minutes = st.sampled_from(["*", "0", "17", "*/15", "3,33", "10-20", "0-30/10"])
hours = st.sampled_from(["*", "2", "*/6", "0,12", "9-17", "1-23/2"])
days = st.sampled_from(["*", "1", "13", "1,15", "28-31", "10-20/5"])
months = st.sampled_from(["*", "1", "feb", "1-3", "*/2"])
weekdays = st.sampled_from(["*", "1", "fri", "mon-fri", "0,6", "1-5/2"])


@settings(max_examples=60, deadline=None)
@given(st.tuples(minutes, hours, days, months, weekdays).map(" ".join))
def test_croniter_fires_at_the_same_minutes(text: str) -> None:
    end = NEW_YEAR + DAYS
    ours = list(takewhile(end.__gt__, fires(parse_expression(text), NEW_YEAR, UTC)))
    # Without this option croniter takes any field with a star for "every day".
    theirs = croniter(text, NEW_YEAR, ret_type=datetime, implement_cron_bug=True)
    assert ours == list(takewhile(end.__gt__, islice(theirs, len(ours) + 1)))


@pytest.mark.parametrize("text", ["0 2 * * *", "*/5 9-17 * * mon-fri", "@daily", "@reboot"])
def test_python_crontab_reads_a_line_of_ours_as_it_was_meant(text: str) -> None:
    command = exec_command(Path("/opt/mae jobs/bin/maejobs"), "pretrain", Path("/data/100%"))
    block = render_block([Entry("pretrain", text, command)]).decode()
    (item,) = [job for job in crontab.CronTab(tab=block) if job.is_enabled()]
    assert str(item.slices).lower() in {text, text.replace("mon-fri", "1-5")}
    assert item.comment == "maejobs:pretrain"
