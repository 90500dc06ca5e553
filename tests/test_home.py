"""The home: where it is, what it holds, and what its configuration may say."""

import os
import pwd
import re
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maejobs import clock
from maejobs.errors import UserError
from maejobs.home import KEYS, Home, default_root, open_home


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAEJOBS_CLOCK_SHIFT", "0")  # which a configuration may set: put back
    return tmp_path


def configured(root: Path, text: str | bytes) -> Home:
    data = text.encode() if isinstance(text, str) else text
    (root / "maejobs.toml").write_bytes(data)
    return open_home(str(root))


def test_the_option_beats_the_variable_and_the_variable_the_default(tmp_path, monkeypatch):
    monkeypatch.setenv("MAEJOBS_HOME", str(tmp_path / "variable"))
    assert open_home(str(tmp_path / "option")).root == tmp_path / "option"
    assert open_home(None).root == tmp_path / "variable"
    monkeypatch.delenv("MAEJOBS_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_home(None).root == default_root() == tmp_path / ".local/share/maejobs"


def test_only_a_default_that_cron_would_find_too_is_the_default(tmp_path, monkeypatch):
    account = pwd.getpwuid(os.getuid()).pw_dir
    monkeypatch.setenv("HOME", account)
    assert Home(default_root()).is_default
    assert not Home(tmp_path).is_default
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert not Home(default_root()).is_default
    monkeypatch.setenv("XDG_DATA_HOME", f"{account}/.local/share")
    assert Home(default_root()).is_default
    (tmp_path / "link").symlink_to(account)
    assert Home(tmp_path / "link" / ".local/share/maejobs").is_default
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))  # a container's, say, of which cron knows nothing
    assert not Home(default_root()).is_default


def test_of_anothers_table_the_default_is_theirs(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    theirs = Path(pwd.getpwnam("daemon").pw_dir) / ".local/share/maejobs"
    assert Home(theirs, crontab="user:daemon").is_default
    assert not Home(theirs).is_default
    assert not Home(default_root(), crontab="user:daemon").is_default
    ours = pwd.getpwuid(os.getuid())
    home = Home(Path(ours.pw_dir) / ".local/share/maejobs", crontab=f"user:{ours.pw_name}")
    assert home.is_default
    assert Home(default_root(), crontab="user:nobody-of-this-name").is_default  # told elsewhere


def test_a_home_is_named_from_where_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_home("here").root == tmp_path / "here"
    assert open_home("~/there").root == tmp_path / "there"


@pytest.mark.fault
@pytest.mark.parametrize("name", ["~nobody-of-this-name/x", "/tmp/\udcff"])
def test_a_home_that_cannot_be_named_is_bad_input(name):
    with pytest.raises(UserError, match=r"nobody-of-this-name|UTF-8"):
        open_home(name)


def test_every_directory_of_a_home_is_private(tmp_path):
    home = Home(tmp_path / "home")
    before = os.umask(0)
    try:
        home.create_directories()
        home.create_directories()
    finally:
        os.umask(before)
    assert home.exists
    directories = [home.root, *(path for path in home.root.rglob("*") if path.is_dir())]
    assert {stat.S_IMODE(path.stat().st_mode) for path in directories} == {0o700}
    assert {path.relative_to(home.root).as_posix() for path in directories[1:]} == {
        "jobs.d",
        "db",
        "runs",
        "locks",
        "spool",
        "paused",
        "notify",
        "crontab-backups",
    }


def test_without_a_configuration_everything_is_as_usual(root):
    home = open_home(str(root))
    assert home.crontab == "user"
    assert home.configured_database_url is None
    assert home.database_file == root / "db/runs.db"
    assert not home.exists


def test_a_configuration_is_applied(root):
    home = configured(
        root, 'database_url = "postgresql://x/y"\ncrontab = "crontab"\nclock_shift = 60.5\n'
    )
    assert home.configured_database_url == "postgresql://x/y"
    assert home.crontab == str(root / "crontab")
    assert clock.shift() == timedelta(seconds=60.5)


def test_the_page_on_the_home_has_every_key_and_every_directory(tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "home.md").read_text()
    home = Home(tmp_path)
    home.create_directories()
    layout, settings = page.split("\n## ")[1:]
    documented = {
        cell for line in layout.splitlines() for cell in re.findall(r"`([\w.-]+/)`", line)
    }
    assert {f"{path.name}/" for path in tmp_path.iterdir()} <= documented
    assert documented <= {f"{path.name}/" for path in tmp_path.iterdir()} | {
        "campaigns/",
        "backups/",
        "database-backups/",
    }
    assert set(re.findall(r"^\| `(\w+)` \|", settings, re.MULTILINE)) == set(KEYS)


def test_a_crontab_elsewhere_is_named_by_its_path(root):
    assert configured(root, 'crontab = "/etc/other"').crontab == "/etc/other"
    assert configured(root, 'crontab = "user"').crontab == "user"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("databse_url = 'x'", "unknown key databse_url; did you mean database_url"),
        ("xyzzy = 1", "known: database_url, crontab, clock_shift, dialect"),
        ("crontab = 5", "crontab = 5 has the wrong type; write a text in quotes"),
        ("database_url = ['hunter2']", "database_url has the wrong type; write a text"),
        ("notify = 'x'", "notify = 'x' has the wrong type; write a table, .notify.$"),
        ('"a\\nb" = 1', r"unknown key a\\nb; known: "),
        ("dialect = 5", "dialect = 5 has the wrong type"),
        ("clock_shift = true", "clock_shift = True has the wrong type; write a number"),
        ("clock_shift = nan", "not within a century"),
        ("clock_shift = -inf", "not within a century"),
        ("clock_shift = 1e300", "not within a century"),
        ("clock_shift = " + "9" * 5000, "maejobs.toml: "),
        ("crontab = \nx = 1", "at line 1"),
        ("x = " + "[" * 5000, "maejobs.toml: "),
        (b"crontab = '\xff'", "cannot be read"),
    ],
    ids=str,
)
def test_a_bad_configuration_is_bad_input_with_its_place(root, text, words):
    with pytest.raises(UserError, match=words) as raised:
        configured(root, text)
    assert str(raised.value).startswith(str(root / "maejobs.toml"))
    assert raised.value.exit_code == 2


@pytest.mark.fault
def test_a_configuration_that_is_a_directory_cannot_be_read(root):
    (root / "maejobs.toml").mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        open_home(str(root))


def test_a_configuration_that_is_a_link_to_nothing_is_not_passed_over(root):
    (root / "maejobs.toml").symlink_to("/mnt/none/maejobs.toml")
    with pytest.raises(UserError, match=r"is a link to '/mnt/none/maejobs.toml', where nothing is"):
        open_home(str(root))


@given(
    st.one_of(
        st.text(),
        st.tuples(
            st.sampled_from(["crontab", "clock_shift", "database_url", "x"]),
            st.sampled_from(["1", "nan", "''", "[]", "true", "2026-01-01", "'a'", "-1e9", "{}"]),
        ).map(" = ".join),
    )
)
def test_any_configuration_is_applied_or_refused(tmp_path_factory, text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAEJOBS_CLOCK_SHIFT", "0")
        root = tmp_path_factory.getbasetemp()
        (root / "maejobs.toml").write_text(text, encoding="utf-8")
        try:
            home = open_home(str(root))
        except UserError:
            return
        assert home.root == root
        clock.now()
