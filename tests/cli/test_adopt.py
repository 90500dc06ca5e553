"""adopt: a foreign line becomes a job that does the same, or nothing is written."""

import json
from pathlib import Path

import pytest

from maejobs.cron.block import read_entries
from maejobs.jobs.load import load_job

TABLE = b"""# mine
MAILTO=anna@example.org
GREETING=hallo {x}
0 5 * * 1 tar cf archive .
17 4\t* * 1-5 (umask; pwd; echo "$GREETING $SHELL 50\\% '{}'"; cat) > "$HOME/seen"%first%second
@reboot /bin/true
"""


@pytest.fixture
def table(home):
    path = Path(home.crontab)
    path.write_bytes(TABLE)
    return path


def test_what_cron_did_the_job_does(home, table, maejobs):
    done = maejobs("adopt", "greet", "--line", "5")
    assert done.returncode == 0, done.stderr
    assert maejobs("exec", "greet").returncode == 0
    assert (home.root / "seen").read_text() == (
        f"0022\n{home.root}\nhallo {{x}} /bin/sh 50% '{{}}'\nfirst\nsecond\n"
    )


def test_the_line_gives_way_to_ours_and_all_others_stay(home, table, inside):
    done = inside("adopt", "greet", "--matching", "GREETING $SHELL")
    assert done.stdout.startswith("line 5 is now the job greet: 17 4 * * 1-5; see ")
    assert "anna@example.org got the line's output by mail; now it is kept" in done.stderr
    others = b"".join(line for n, line in enumerate(TABLE.splitlines(True), 1) if n != 5)
    assert table.read_bytes().startswith(others)
    assert [(e.job, e.expression) for e in read_entries(table.read_bytes())] == [
        ("greet", "17 4 * * 1-5")
    ]
    assert load_job(home.jobs_dir, "greet").schedule == "17 4 * * 1-5"
    assert inside("diff").returncode == 0
    assert inside("status").returncode == 0


def test_a_dry_run_shows_file_and_change(home, table, inside, snapshot):
    before = snapshot()
    shown = inside("adopt", "tarball", "--line", "4", "--dry-run").stdout
    assert "tarball.toml would be:" in shown
    assert '\nsummary = "tar cf archive ."\n' in shown
    assert "\n-0 5 * * 1 tar cf archive .\n" in shown
    assert "\n+0 5 * * 1 " in shown
    told = json.loads(inside("adopt", "tarball", "--line", "4", "--dry-run", "--json").stdout)
    assert (told["line"], told["written"], told["text"] in shown) == (4, False, True)
    assert snapshot() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["greet"], "either --line N or --matching TEXT"),
        (["greet", "--line", "4", "--matching", "tar"], "either --line N or --matching TEXT"),
        (["Greet", "--line", "4"], "'Greet' is not a job name"),
        (["taken", "--line", "4"], "taken.toml already; choose another name"),
        (["greet", "--line", "1"], "line 1 of the crontab cannot be taken over: it is no job"),
        (["greet", "--line", "99"], "the crontab has no line 99"),
        (["greet", "--matching", "nowhere"], "no job line of the crontab, but for ours, holds"),
        (["greet", "--matching", "a"], "lines 4, 5 of the crontab hold 'a'; name one with --line"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(
    table, write_job, inside, snapshot, arguments, said
):
    write_job("taken", 'command = ["true"]\n')
    before = snapshot()
    done = inside("adopt", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert snapshot() == before


def test_a_name_that_has_a_line_already_is_refused(home, table, write_job, inside):
    write_job("greet", 'command = ["true"]\n')
    inside("schedule", "greet", "0 1 * * *")
    (home.jobs_dir / "greet.toml").unlink()
    done = inside("adopt", "greet", "--line", "4")
    assert done.returncode == 2
    assert "`maejobs unschedule greet` takes it out" in done.stderr


def test_where_the_table_cannot_be_changed_no_file_stays(home, table, inside, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("maejobs.cron.file_target.write_atomically", full)
    assert inside("adopt", "greet", "--line", "5").returncode == 1
    assert table.read_bytes() == TABLE
    assert not (home.jobs_dir / "greet.toml").exists()


def test_once_our_line_is_in_the_table_the_file_stays(home, table, inside, monkeypatch):
    install = "maejobs.cron.file_target.FileTarget.install"

    def half_read_back(target, new):
        target.path.write_bytes(new + b"# theirs\n")

    monkeypatch.setattr(install, half_read_back)
    assert inside("adopt", "greet", "--line", "5").returncode == 1
    assert (home.jobs_dir / "greet.toml").exists()
