"""diff and apply: the crontab against jobs.d, shown first, changed only when told to."""

import json
from pathlib import Path

import pytest
from conftest import MAEJOBS
from private_cron import private_cron  # noqa: F401 (a fixture)

from maejobs.cron.block import read_entries

QUICK = 'command = ["true"]\nschedule = "15 3 * * *"\n'
MINE = b"0 5 * * 1 tar\n"
FOREIGN = b"#caf\xe9\n17 4\t* * 1-5   backup --when=$(date +\\%F)\nA=b\n@daily cat%in\n"


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


def test_where_nobody_can_be_asked_yes_is_needed(table, inside):
    done = inside("apply")
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


def test_what_was_added_goes_only_when_told_to(table, inside):
    inside("apply", "--yes")
    whole = table.read_bytes()
    inside("schedule", "quick", "0 9 * * *", "--also")
    assert inside("diff").returncode == 0
    assert "quick runs also at 0 9 * * *" in inside("apply", "--yes").stdout
    assert len(read_entries(table.read_bytes())) == 2
    assert inside("apply", "--yes", "--drop-also").returncode == 0
    assert table.read_bytes() == whole


@pytest.mark.parametrize("spec", ["user", "system"])
def test_through_the_hosts_own_crontab(home, write_job, private_cron, spec):  # noqa: F811
    write_job("quick", QUICK)
    place = ["--crontab", spec, "--home", home.root]
    system = private_cron.spool / "cron.d" / "maejobs"
    foreign = FOREIGN
    if spec == "system":  # there the user stands between time and command
        foreign = FOREIGN.replace(b"5   ", b"5 joe ").replace(b"@daily ", b"@daily root ")

    def maejobs(*arguments):
        return private_cron.run([MAEJOBS, *arguments, *place])

    def write(text):
        if spec == "user":
            assert private_cron.run(["crontab", "-"], input=text).returncode == 0
        else:
            system.write_bytes(text)

    def read():
        return private_cron.run(["crontab", "-l"]).stdout if spec == "user" else system.read_bytes()

    write(foreign)
    assert maejobs("diff").returncode == 1
    applied = maejobs("apply", "--yes")
    assert applied.returncode == 0, applied.stderr
    whole = read()
    assert whole.startswith(foreign)

    write(whole.replace(b"15 3 * * *", b"16 3 * * *"))
    assert b"quick runs at 16 3 * * *; its file says 15 3 * * *" in maejobs("diff").stdout
    assert maejobs("apply", "--yes").returncode == 0
    assert read() == whole

    adopted = maejobs("adopt", "feed", "--matching", "cat%in")
    assert adopted.returncode == 0, adopted.stderr
    assert maejobs("diff").returncode == 0
    for job in ("quick", "feed"):
        assert maejobs("unschedule", job).returncode == 0
    assert read() == foreign[: foreign.index(b"@daily")]


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
