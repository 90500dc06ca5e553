"""A database's password is shown nowhere: not on the screen, and not in what cron would mail."""

import sqlite3
import sys

import pytest

from maejobs.errors import UserError
from maejobs.home import Home
from maejobs.rundb.database import DatabaseUnavailable, explained, open_engine, place_of

ADDRESS = "postgresql+psycopg://me:secret@db.example/runs"


def test_exec_tells_of_a_database_without_its_password(home, write_job, maejobs):
    write_job("quick", 'command = ["true"]\n')
    home.config_file.write_text('crontab = "crontab"\ndatabase_url = "sqlite://me:secret@/x.db"\n')
    done = maejobs("exec", "quick")
    assert done.returncode == 0
    assert "me:***@" in done.stderr
    assert "secret" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (ADDRESS, "postgresql+psycopg://me:***@db.example/runs"),
        ("postgresql://db/runs?user=me&password=secret", "postgresql://db/runs?user=me"),
        ("://me:secret@db/runs", "://***@db/runs"),
        ("postgresql://me:sec@secret:secret@db/runs", "postgresql://***@db/runs"),
        ("sqlite:////srv/runs.db", "sqlite:////srv/runs.db"),
    ],
)
def test_an_address_is_shown_without_its_password(tmp_path, url, shown):
    home = Home(tmp_path, configured_database_url=url)
    assert place_of(home).startswith(shown)
    assert "secret" not in place_of(home)
    with pytest.raises(DatabaseUnavailable) as raised, explained(home):
        raise sqlite3.OperationalError("no answer")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("://me:secret@db/x", "it is no URL"),
        ("postgresql://me:a@secret:secret@db/x", "it is no URL"),
        ("mysql://me:secret@db/x", "it is to be of PostgreSQL or SQLite"),
    ],
)
def test_an_address_that_is_none_of_ours_is_refused_without_its_password(url, told):
    with pytest.raises(UserError, match=f"cannot be used: {told}") as raised:
        open_engine(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_a_missing_driver_is_named_with_what_installs_it(home, inside, monkeypatch, scheme):
    home.config_file.write_text(f'crontab = "crontab"\ndatabase_url = "{scheme}://me:secret@h/x"\n')
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "psycopg", None)
        done = inside("runs")
    assert done.returncode == 2
    assert "`pip install 'maejobs[postgresql]'`" in done.stderr
    assert "secret" not in done.stderr
