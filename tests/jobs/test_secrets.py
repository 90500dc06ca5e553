"""What is secret by its name or its file, and texts without it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maejobs.jobs.secrets import (
    HIDDEN,
    SHORTEST,
    hide,
    hide_in,
    is_secret,
    merged,
    secrets_of,
    spans,
)

secrets = st.lists(st.text(min_size=SHORTEST, max_size=8), max_size=4)


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "api_key", "KEY"]
)
def test_what_people_call_secrets(name):
    assert is_secret(name)


@pytest.mark.parametrize("name", ["TOKENIZERS_PARALLELISM", "MAX_TOKENS", "KEYBOARD", "HOME"])
def test_what_only_sounds_so(name):
    assert not is_secret(name)


def test_of_a_file_all_is_secret():
    environment = {"API_KEY": "first", "HOME": "/root", "USER_NAME": "second"}
    assert secrets_of(environment, {"USER_NAME": "second"}) == ["first", "second"]


@given(st.text(), secrets)
def test_no_secret_is_left(text, told):
    shown = hide(text.join(told), told)

    for part in shown.split(HIDDEN):
        assert not any(secret in part for secret in told)


@given(st.text(st.characters(codec="ascii")), st.text("αβγδ", min_size=SHORTEST))
def test_nothing_else_is_touched(text, secret):
    assert hide(text, [secret]) == text
    assert hide(f"{text}{secret}{text}", [secret]) == f"{text}{HIDDEN}{text}"


def test_the_longer_of_two_goes_first():
    assert hide("password1", ["pass", "password1"]) == HIDDEN


@given(
    st.lists(st.sampled_from([b"ab", b"aba", b"bc", b"\n", b"x"]), max_size=40).map(b"".join),
    st.lists(st.sampled_from([b"ab", b"aba", b"abab", b"c\nx"]), max_size=3, unique=True),
)
def test_whatever_is_a_secret_is_hidden_and_nothing_else(data, secrets):
    hidden = bytearray(data)
    found = spans(data, secrets)
    for begin, end in found:
        assert data[begin:end] in secrets
    for begin, end in merged(found):
        hidden[begin:end] = b"*" * (end - begin)
    assert {n for span in merged(found) for n in range(*span)} == {
        n for span in found for n in range(*span)
    }
    assert all(one[1] < other[0] for one, other in pairwise(merged(found)))
    assert len(hidden) == len(data)
    for secret in secrets:
        assert secret not in hidden


def test_of_two_that_overlap_nothing_is_left():
    assert hide("a password1234 b", ["password1", "word1234"]) == f"a {HIDDEN} b"


def test_what_is_too_short_is_left_alone():
    assert hide("a 1 b", ["1", ""]) == "a 1 b"


def test_data_is_searched_through():
    data = {"command": ["curl", "Bearer hunter2"], "env": {"A": "hunter2"}, "retries": 2}
    assert hide_in(data, ["hunter2"]) == {
        "command": ["curl", f"Bearer {HIDDEN}"],
        "env": {"A": HIDDEN},
        "retries": 2,
    }
