"""`maejobs doctor --probe` where no cron reads the table, and what it leaves behind."""

import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import MAEJOBS

from maejobs.cli.probe import probe, probed
from maejobs.cron.block import Entry, read_entries, replace_entries
from maejobs.cron.schedule import PROBE
from maejobs.errors import NotNow

FOREIGN = b"0 5 * * 1 tar\n# no newline at the end"


@pytest.fixture
def table(home):
    table = Path(home.crontab)
    table.write_bytes(FOREIGN)
    return table


def test_where_nothing_reads_the_table_it_says_so_and_leaves_it_as_it_was(home, table):
    good, text = probed(home, patience=0.3)
    assert (good, table.read_bytes()) == (False, FOREIGN)
    assert "nothing started a line of the crontab" in text


def test_interrupted_it_takes_its_line_out(home, table, monkeypatch):
    def interrupt(home, patience):
        (entry,) = read_entries(table.read_bytes())
        assert (entry.job, entry.expression) == (PROBE, "* * * * *")
        raise KeyboardInterrupt

    monkeypatch.setattr("maejobs.cli.probe._wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        probe(home)
    assert table.read_bytes() == FOREIGN


def test_the_line_answers_through_exec_and_leaves_no_run(home, maejobs):
    done = maejobs("exec", PROBE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (home.root / "probe").exists()
    assert list(home.runs_dir.iterdir()) == []


def test_a_line_left_behind_is_told_and_goes_with_the_next_probe(home, table, maejobs):
    left = Entry(PROBE, "* * * * *", f"/opt/maejobs exec PROBE --home {home.root}")
    table.write_bytes(replace_entries(FOREIGN, [left]))
    assert "left in the crontab" in maejobs("doctor").stdout
    with pytest.raises(NotNow):
        probe(home, patience=0)
    assert table.read_bytes() == FOREIGN


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["TERM", "HUP"])
def test_told_to_end_it_takes_its_line_out(home, table, number):
    command = [MAEJOBS, "doctor", "--probe", "--home", home.root]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as probing:
        latest = time.monotonic() + 20
        while b"PROBE" not in table.read_bytes():
            assert time.monotonic() < latest
            time.sleep(0.05)
        probing.send_signal(number)
    assert probing.returncode == 128 + number
    assert table.read_bytes() == FOREIGN


def test_a_probes_line_is_no_job_to_others(home, table, maejobs):
    left = Entry(PROBE, "* * * * *", f"/opt/maejobs exec PROBE --home {home.root}")
    table.write_bytes(replace_entries(FOREIGN, [left]))
    assert maejobs("diff").returncode == 0
    assert PROBE not in maejobs("next").stdout
