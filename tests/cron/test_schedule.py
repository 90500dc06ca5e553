"""Which lines are a home's, whatever its path looks like."""

import os
import pwd
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maejobs.cron.block import Entry, exec_command
from maejobs.cron.schedule import belongs_to, command_words
from maejobs.home import Home, default_root

names = st.text(st.sampled_from([*" %\\'\"$`#&*;~!ab\u00e9\u754c"]), min_size=1, max_size=10)


def entry(command: str) -> Entry:
    return Entry("j", "0 2 * * *", command)


@given(names, names)
def test_a_line_belongs_to_the_home_it_was_written_for(executable, place):
    home = Home(Path("/x") / place)
    written = entry(exec_command(Path("/bin") / executable, "j", home.root))
    assert belongs_to(written, home)
    assert command_words(written) == [f"/bin/{executable}", "exec", "j", "--home", str(home.root)]
    assert not belongs_to(written, Home(Path("/x") / (place + "z")))


@given(names)
def test_a_line_without_a_home_is_the_default_home_s(place):
    written = entry(exec_command(Path("/bin/m"), "j", None))
    assert not belongs_to(written, Home(Path("/x") / place))
    # HOME as cron sets it: who runs the tests may have another.
    default = Path(pwd.getpwuid(os.geteuid()).pw_dir) / ".local/share/maejobs"
    assert belongs_to(written, Home(default))


def test_an_equals_sign_is_read_too():
    assert belongs_to(entry("/bin/m exec j --home=/x/y"), Home(Path("/x/y")))


@pytest.mark.parametrize("command", ["'/bin/m exec j", ""])
def test_a_line_that_sh_cannot_read_is_nobody_s(command):
    assert not belongs_to(entry(command), Home(default_root()))


def test_a_link_to_a_home_is_that_home(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    written = entry(exec_command(Path("/bin/m"), "j", tmp_path / "link"))
    assert belongs_to(written, Home(tmp_path / "real"))
