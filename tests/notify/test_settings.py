"""The table [notify]: read, and refused with the mend and without the secret."""

from dataclasses import replace

import pytest

from maejobs.errors import UserError
from maejobs.notify.quiet import QuietHours
from maejobs.notify.settings import read_settings, shown


def settings(home, **table):
    return read_settings(replace(home, configured_notify=table))


def test_without_a_table_nobody_is_told(home):
    assert settings(home).urls == []


def test_urls_come_from_the_table_and_from_a_file_of_secrets(home):
    file = home.root / "pagers"
    file.write_text("# people\nntfy://topic-of-ours\n\n  json://h/hook  \n")
    file.chmod(0o600)
    found = settings(home, urls="mailto://a:b@c", urls_file="pagers", quiet_hours="22:00-07:00")
    assert found.urls == ["mailto://a:b@c", "ntfy://topic-of-ours", "json://h/hook"]
    assert isinstance(found.quiet_hours, QuietHours)


def test_a_file_that_others_may_read_is_refused_with_the_mend(home):
    file = home.root / "pagers"
    file.write_text("ntfy://topic-of-ours\n")
    file.chmod(0o644)
    with pytest.raises(UserError, match="chmod 600"):
        settings(home, urls_file="pagers")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"url": ["x"]}, "unknown key url; did you mean urls?"),
        ({"urls": ["hunter22"]}, "number 1 is no URL"),
        ({"urls": ["json://hunter22\n"]}, "number 1 holds a control character"),
        ({"urls": "hunter22"}, "number 1 is no URL"),
        ({"quiet_hours": "late"}, "write them like"),
        ({"ping_base": "hunter22"}, "write it like https://"),
        ({"urls_file": "none"}, "cannot be read"),
    ],
)
def test_a_mistake_is_told_without_the_secret(home, table, words):
    with pytest.raises(UserError) as caught:
        settings(home, **table)
    assert words in str(caught.value)
    assert "hunter22" not in str(caught.value)


def test_of_a_url_the_scheme_is_shown():
    assert shown("tgram://TOKEN/CHAT?x=y") == "tgram://***"
