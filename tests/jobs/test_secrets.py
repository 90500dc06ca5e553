"""What is secret by its name or its file, and texts without it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maejobs.jobs.secrets import HIDDEN, SHORTEST, hide, hide_in, is_secret, secrets_of

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


def test_what_is_too_short_is_left_alone():
    assert hide("a 1 b", ["1", ""]) == "a 1 b"


def test_data_is_searched_through():
    data = {"command": ["curl", "Bearer hunter2"], "env": {"A": "hunter2"}, "retries": 2}
    assert hide_in(data, ["hunter2"]) == {
        "command": ["curl", f"Bearer {HIDDEN}"],
        "env": {"A": HIDDEN},
        "retries": 2,
    }
