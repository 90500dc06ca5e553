"""`maejobs backups` and `restore`, through the installed command."""

import json
from pathlib import Path

import pytest

FOREIGN = b"0 5 * * 1 tar cf archive .\n"


@pytest.fixture
def table(home, write_job, inside):
    """A foreign line, and a job scheduled and rescheduled."""
    table = Path(home.crontab)
    table.write_bytes(FOREIGN)
    write_job("quick", 'command = ["true"]\n')
    inside("schedule", "quick", "0 2 * * *")
    inside("schedule", "quick", "0 3 * * *")
    return table


def test_each_change_leaves_a_backup_newest_first(table, inside):
    first, second = json.loads(inside("backups", "--json").stdout)
    assert b"0 2 * * *" in Path(first["path"]).read_bytes()
    assert Path(second["path"]).read_bytes() == FOREIGN
    assert (second["number"], second["lines"], second["bytes"]) == (2, 1, len(FOREIGN))
    assert first["path"] in inside("backups").stdout


def test_restoring_gives_back_the_bytes_and_can_be_undone(table, inside):
    now = table.read_bytes()
    done = inside("restore", "2", "--yes")
    assert done.returncode == 0, done.stderr
    assert "-0 3 * * *" in done.stdout
    assert table.read_bytes() == FOREIGN
    assert inside("restore", "--yes").returncode == 0
    assert table.read_bytes() == now


def test_what_is_scheduled_is_known_to_the_record_again(table, inside):
    inside("restore", "--yes")
    (row,) = json.loads(inside("status", "--json").stdout)
    assert row["schedule"] == ["0 2 * * *"]


def test_nobody_to_ask_and_no_yes_changes_nothing(table, inside):
    before = table.read_bytes()
    done = inside("restore")
    assert (done.returncode, table.read_bytes()) == (2, before)
    assert "--yes" in done.stderr


@pytest.mark.parametrize("name", ["3", "0", "-1", "yesterday", "../maejobs.toml", "²"])
def test_a_name_that_is_none_is_refused(table, inside, name):
    before = table.read_bytes()
    done = inside("restore", "--yes", "--", name)
    assert done.returncode == 2
    assert "`maejobs backups` lists them (1 to 2, or a name)" in done.stderr
    assert table.read_bytes() == before


def test_before_any_change_there_is_nothing_to_restore(home, inside):
    assert json.loads(inside("backups", "--json").stdout) == []
    assert "no backups" in inside("backups").stdout
    assert inside("restore", "--yes").returncode == 2


def test_without_a_home_a_change_can_be_undone_and_none_is_made(
    inside, tmp_path, monkeypatch, script
):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("VISUAL", script("""echo '5 4 * * * /bin/x' >> "$1" """))
    table, none = tmp_path / "tab", tmp_path / "none"
    table.write_bytes(FOREIGN)
    options = ("--yes", "--home", str(none), "--crontab", str(table))
    done = inside("edit", *options)
    assert done.returncode == 0
    assert f"{none} is not there; the crontab from before is below {tmp_path}/state" in done.stderr
    assert table.read_bytes() != FOREIGN
    assert inside("restore", *options).returncode == 0
    assert (table.read_bytes(), none.exists()) == (FOREIGN, False)
