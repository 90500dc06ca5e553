"""Pings: where they go, and what their bodies say and do not say."""

import uuid

import pytest
from recorded_runs import NIGHT, a_run

from maejobs.jobs.ping_url import check_ping_url
from maejobs.notify.pings import LONGEST_BODY, address_of, kind_of_end, last_lines, ping, rid

URL = "https://hc.example/ping/abc"


@pytest.mark.parametrize(
    ("state", "tried_again", "kind"),
    [
        ("succeeded", False, "success"),
        ("failed", False, "fail"),
        ("failed", True, "log"),
        ("timed_out", False, "fail"),
        ("cancelled", False, "fail"),
        ("skipped", False, "log"),
    ],
)
def test_which_ping_tells_an_end(state, tried_again, kind):
    assert kind_of_end(a_run(state=state), tried_again) == kind


def test_a_skipped_retry_leaves_the_failure_that_it_was_to_mend():
    assert kind_of_end(a_run(state="skipped", retry_of="pretrain-1"), False) == "fail"


def test_start_and_end_of_a_run_go_to_one_check_with_one_id():
    run = a_run()
    assert address_of(ping("start", URL, run, NIGHT)) == f"{URL}/start?rid={rid(run.id)}"
    assert address_of(ping("success", URL, run, NIGHT)) == f"{URL}?rid={rid(run.id)}"
    assert uuid.UUID(rid(run.id))
    assert rid(run.id) != rid(a_run(night=1).id)


def test_a_body_is_bounded_whatever_the_log():
    body = ping("fail", URL, a_run(reason="x"), NIGHT, "é" * 99_999).body
    assert len(body.encode()) <= LONGEST_BODY
    assert body.startswith("pretrain-")
    huge = ping("fail", URL, a_run(reason="é" * 99_999), NIGHT, "log").body
    assert len(huge.encode()) < LONGEST_BODY
    assert huge.endswith("é\nlog")


def test_the_last_lines_hold_no_secret_nor_the_rest_of_one():
    log = b"one\ntwo hunter22\nthree\n"
    assert last_lines(log, False, 2, ["hunter22"]) == "two ***\nthree"
    assert last_lines(b"ter22 begins here\nthree\n", True, 5, ["hunter22"]) == "three"
    assert last_lines(b"no newline", True, 5, []) == ""
    assert last_lines(log, False, 0, []) == ""


@pytest.mark.parametrize(
    "text",
    [
        "hc.example/abc", "ftp://hc.example/abc", "https:///abc", "http://[::1", "https://h/a b",
        "https://h/a\nb", "https://h/a?b=c", "https://h/a#b", "https://h:99999/", "",
    ],
)  # fmt: skip
def test_a_bad_url_is_told_and_not_quoted(text):
    with pytest.raises(ValueError, match=r".*") as caught:
        check_ping_url(text)
    assert not text or text not in str(caught.value)


def test_a_slash_at_the_end_does_not_matter():
    assert check_ping_url(URL + "/") == URL
