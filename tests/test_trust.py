"""Which files are trusted with what is run: judged as cron judges its tables."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maejobs.errors import UserError
from maejobs.trust import read_trusted, refuse_untrusted, why_not_private, why_untrusted

US, SOMEBODY = 1000, 2000
modes = st.integers(0, 0o7777)


@given(modes, st.sampled_from([0, US, SOMEBODY]))
def test_what_others_can_write_is_refused_and_nothing_else(mode, owner):
    why = why_untrusted(Path("/x"), mode, owner, US)

    assert (why is None) == (owner in (0, US) and not mode & 0o022)


@given(modes, st.sampled_from([0, US, SOMEBODY]))
def test_secrets_are_read_only_from_a_file_of_ours_that_is_shut_to_others(mode, owner):
    why = why_not_private(Path("/x"), mode, owner, US)

    assert (why is None) == (owner == US and not mode & 0o077)


@given(modes, st.booleans())
def test_the_mend_that_is_told_mends(mode, private):
    judge = why_not_private if private else why_untrusted
    if why := judge(Path("/x"), mode, US, US):
        mended = 0o600 if "chmod 600" in why else mode & ~0o022
        assert "`chmod " in why
        assert judge(Path("/x"), mended, US, US) is None


def test_a_mend_can_be_pasted_whatever_the_path():
    assert "`chmod go-w '/a b/$(id)'`" in (why_untrusted(Path("/a b/$(id)"), 0o666, 0, 0) or "")


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_link_is_judged_by_what_it_leads_to(tmp_path, mode):
    real = tmp_path / "real"
    real.write_bytes(b"x")
    (tmp_path / "link").symlink_to(real)
    assert read_trusted(tmp_path / "link") == b"x"

    real.chmod(mode)

    with pytest.raises(UserError, match=r"writable by others.*`chmod go-w "):
        read_trusted(tmp_path / "link")


def test_what_another_owns_is_refused(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(tmp_path, 4242, 4242)

    with pytest.raises(UserError, match="belongs to user number 4242, neither you nor root: take"):
        refuse_untrusted(tmp_path)


def test_a_pipe_keeps_nobody_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(UserError, match="not a regular file"):
        read_trusted(tmp_path / "pipe")


def test_no_descriptor_is_left_open(tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(UserError):
            read_trusted(tmp_path)

    assert len(list(Path("/proc/self/fd").iterdir())) == before
