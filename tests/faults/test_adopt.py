"""Kill -9 at every write of `adopt`: what cron started before starts once, under either name."""

import subprocess
import sys

import pytest

from maejobs.cron.block import read_entries

pytestmark = pytest.mark.fault

LINE = b"17 4 * * 1-5 /usr/local/bin/wiki-backup"
TABLE = b"# the wiki's\n" + LINE + b"\n"
# Dies right before the nth time that it opens a file of the home to write, renames, links or
# removes one.
KILLED = """
import os, signal, sys
root, left = sys.argv.pop(1), int(sys.argv.pop(1))
WRITES = os.O_WRONLY | os.O_RDWR

def hook(event, arguments):
    global left
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
    if not (writes or event in ("os.rename", "os.link", "os.remove")):
        return
    if str(arguments[0]).startswith(root):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
sys.argv[0] = "maejobs"
from maejobs.cli import main
main()
"""


def test_killed_at_any_write_the_line_is_started_once_and_adopt_can_be_called_again(
    home, inside, tmp_path
):
    adopt = ("adopt", "wiki", "--matching", "wiki-backup", "--home", str(home.root))
    table = home.root / "crontab"
    for kill_at in range(100):
        table.write_bytes(TABLE)
        (home.jobs_dir / "wiki.toml").unlink(missing_ok=True)
        argv = [sys.executable, "-c", KILLED, str(home.root), str(kill_at), *adopt]
        ended = subprocess.run(argv, capture_output=True, timeout=60)
        if ended.returncode == 0:
            break
        assert ended.returncode == -9, ended.stderr.decode()
        assert inside("apply", "--yes").returncode == 0, kill_at
        foreign = LINE in table.read_bytes().splitlines()
        ours = [entry.job for entry in read_entries(table.read_bytes())]
        assert ours == ([] if foreign else ["wiki"]), kill_at
        if foreign:
            again = inside(*adopt)
            assert again.returncode == 0, (kill_at, again.stderr)
        assert LINE not in table.read_bytes().splitlines(), kill_at
        assert [entry.job for entry in read_entries(table.read_bytes())] == ["wiki"], kill_at
        assert inside("jobs").returncode == 0, kill_at
    assert kill_at > 6
