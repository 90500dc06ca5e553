"""The words in braces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maejobs.jobs.placeholders import PLACEHOLDERS, check_placeholders, expand

VALUES = {word: f"<{word}>" for word in PLACEHOLDERS}
BRACED = st.lists(
    st.sampled_from(["{", "}", "{{", "}}", "{home}", "{run_dir}", "!r", ":>9", "[0]", ".x", "é"])
).map("".join)


@pytest.mark.parametrize("word", PLACEHOLDERS)
def test_every_known_word_is_replaced(word):
    assert expand(check_placeholders(f"a {{{word}}} b"), VALUES) == f"a <{word}> b"


def test_doubled_braces_stand_for_braces():
    assert expand(check_placeholders("echo ${{HOME}}"), VALUES) == "echo ${HOME}"


def test_a_misspelt_word_is_answered_with_the_nearest_one():
    with pytest.raises(ValueError, match=r"\{run_dri\}.*known: \{run_dir\}$"):
        check_placeholders("{run_dri}/log")


def test_a_word_like_no_other_is_answered_with_all_of_them():
    with pytest.raises(ValueError, match=r"home.*job.*maejobs.*python.*run_dir.*run_id"):
        check_placeholders("{xyzzy}")


@pytest.mark.parametrize("text", ["{", "}", "{home", "a } b"])
def test_a_lonely_brace_is_told_how_to_write_one(text):
    with pytest.raises(ValueError, match=r"{{ and }} for braces"):
        check_placeholders(text)


@pytest.mark.parametrize("text", ["{home.root}", "{home[0]}", "{home!r}", "{home:>9}", "{}", "{0}"])
def test_nothing_but_plain_words_may_stand_in_braces(text):
    with pytest.raises(ValueError, match="placeholder"):
        check_placeholders(text)


@given(st.one_of(st.text(), BRACED))
def test_what_passes_the_check_can_be_expanded(text):
    try:
        check_placeholders(text)
    except ValueError:
        return
    expand(text, VALUES)


@given(st.text())
def test_any_text_can_be_written_with_its_braces_doubled(text):
    written = text.replace("{", "{{").replace("}", "}}")
    assert expand(check_placeholders(written), VALUES) == text
