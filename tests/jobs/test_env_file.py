"""`env_file`: what is written arrives as it stands, and what is wrong is told without a secret."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maejobs.errors import UserError
from maejobs.jobs.env_file import parse_env_file, read_env_file

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True).filter(
    lambda name: not name.startswith("MAEJOBS_")
)
values = st.text(st.characters(exclude_characters="\n\0", exclude_categories=["Cs"]))
REASONS = re.compile(
    r"line \d+: (it is not NAME=value|\w+ (is set twice|holds a NUL, which .*|begins with a quote, "
    r"which .*|is set by maejobs itself; .*))",
    re.ASCII,
)


@given(st.dictionaries(names, values), st.sampled_from(["'", '"']))
def test_any_value_in_quotes_arrives_as_it_is(variables, quote):
    text = "\n".join(f"{name}={quote}{value}{quote}" for name, value in variables.items())

    assert parse_env_file(text) == variables


@given(names, values)
def test_a_value_without_quotes_loses_blanks_around_it_and_nothing_else(name, value):
    if not value.strip().startswith(("'", '"')):
        assert parse_env_file(f"{name}={value}") == {name: value.strip()}


@given(st.text())
def test_any_text_is_read_or_refused_in_words_that_give_nothing_away(text):
    told = None
    try:
        parse_env_file(text)
    except ValueError as error:
        told = str(error)

    assert told is None or REASONS.fullmatch(told)


def test_what_it_looks_like():
    text = """
    # for the night
    export HF_TOKEN=hf_abc#1$HOME\\n

    QUOTED = 'it is "so"'
    EMPTY=
    EQUALS=a=b
    """
    assert parse_env_file(text) == {
        "HF_TOKEN": "hf_abc#1$HOME\\n",
        "QUOTED": 'it is "so"',
        "EMPTY": "",
        "EQUALS": "a=b",
    }


def test_lines_may_end_as_windows_ends_them():
    assert parse_env_file("A=1\r\nB=2\r\n") == {"A": "1", "B": "2"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("A=1\nhunter2", "line 2: it is not NAME=value"),
        ("hunter2 x=1", "line 1: it is not NAME=value"),
        ("=hunter2", "line 1: it is not NAME=value"),
        ("A=1\nA=hunter2", "line 2: A is set twice"),
        ("A='hunter2", "line 1: A begins with a quote, which must end it on the same line"),
        ("MAEJOBS_HOME=hunter2", "line 1: MAEJOBS_HOME is set by maejobs itself"),
        ("A=hunter2\0", "line 1: A holds a NUL"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, text, told):
    file = tmp_path / "secrets"
    file.write_text(text)
    file.chmod(0o600)

    with pytest.raises(UserError) as raised:
        read_env_file(file)

    assert str(raised.value).startswith(f"{file}, {told}")
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_may_read_is_refused(tmp_path, mode):
    file = tmp_path / "secrets"
    file.write_text("A=hunter2")
    file.chmod(mode)

    with pytest.raises(UserError, match=f"`chmod 600 {re.escape(str(file))}`"):
        read_env_file(file)


@pytest.mark.parametrize("make", [Path.mkdir, lambda file: file.write_bytes(b"A=\xff"), id])
def test_what_cannot_be_read_is_bad_input(tmp_path, make):
    file = tmp_path / "secrets"
    make(file)
    if file.exists():
        file.chmod(0o600)

    with pytest.raises(UserError, match=re.escape(str(file))):
        read_env_file(file)
