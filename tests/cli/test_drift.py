"""diff and apply: the crontab against jobs.d, shown first, changed only when told to."""

import json
from pathlib import Path

import pytest

from maejobs.cron.block import read_entries

QUICK = 'command = ["true"]\nschedule = "15 3 * * *"\n'
MINE = b"0 5 * * 1 tar\n"


@pytest.fixture
def table(home, write_job):
    write_job("quick", QUICK)
    path = Path(home.crontab)
    path.write_bytes(MINE)
    return path


def test_a_missing_line_is_told_with_the_change_that_would_mend_it(table, inside, snapshot):
    before = snapshot()
    done = inside("diff")
    assert done.returncode == 1
    assert "quick is to run at 15 3 * * *, and has no line" in done.stdout
    assert "\n+15 3 * * * " in done.stdout
    told = json.loads(inside("diff", "--json").stdout)
    assert [d["kind"] for d in told["drift"]] == ["missing"]
    assert snapshot() == before


def test_applied_there_is_no_drift(table, inside):
    assert inside("apply", "--yes").returncode == 0
    assert [e.expression for e in read_entries(table.read_bytes())] == ["15 3 * * *"]
    assert table.read_bytes().startswith(MINE)
    assert inside("diff").returncode == 0
    assert "nothing to change" in inside("apply").stdout


def test_where_nobody_can_be_asked_yes_is_needed(table, maejobs):
    done = maejobs("apply")
    assert done.returncode == 2
    assert "then give --yes" in done.stderr
    assert table.read_bytes() == MINE


def test_on_a_terminal_it_asks(table, terminal):
    screen = terminal("apply")
    screen.wait_for("Change the crontab so? [y/N]")
    assert table.read_bytes() == MINE
    screen.type("y\n")
    assert screen.end() == 0
    assert read_entries(table.read_bytes())


def test_an_orphan_goes_only_when_told_to(home, table, inside):
    inside("apply", "--yes")
    (home.jobs_dir / "quick.toml").unlink()
    assert "--prune takes it out" in inside("apply", "--yes").stdout
    assert read_entries(table.read_bytes())
    assert inside("apply", "--yes", "--prune").returncode == 0
    assert table.read_bytes() == MINE


def test_a_damaged_block_is_made_whole(table, inside):
    inside("apply", "--yes")
    whole = table.read_bytes()
    table.write_bytes(whole.replace(b"# <<< maejobs <<<\n", b"") + MINE)
    refused = inside("unschedule", "quick")
    assert refused.returncode == 2
    assert (
        "`maejobs diff` shows what `maejobs apply` does to make the block whole" in refused.stderr
    )
    assert inside("diff").returncode == 1
    assert inside("apply", "--yes").returncode == 0
    assert table.read_bytes() == whole + MINE


def test_every_bad_file_is_told_and_nothing_written(table, write_job, inside, snapshot):
    write_job("worse", 'command = ["true"]\nschedule = "0 2 * 13 *"\n')
    write_job("worst", 'comand = ["true"]\n')
    before = snapshot()
    for call in (["diff"], ["apply", "--yes"]):
        done = inside(*call)
        assert done.returncode == 2
        assert "worse.toml:2: schedule: bad month: 13" in done.stderr
        assert "worst.toml:1: unknown key comand" in done.stderr
    assert snapshot() == before
