"""The whole of it: the installed command, the real crontab, the real daemon, real training."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from databases import configure
from private_cron import HOMES, JOE, PrivateCron, private_cron  # noqa: F401 (a fixture)
from recorded_runs import rows

from maejobs.home import Home

MAEJOBS = Path(sys.executable).parent / "maejobs"
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
FOREIGN = (
    b"# backups of the wiki, do not touch\n"
    b'MAILTO=""\n'
    b'  17 4\t* * 1-5   /usr/local/bin/wiki-backup --when="$(date +\\%F)"  # caf\xe9\n'
    b"\n"
    b"@reboot /bin/true"
    b"\n"
)
# No other job of this machine may be started by the daemon under test.
ALONE = 'mount -t tmpfs tmpfs /etc/cron.d && mount --bind /dev/null /etc/crontab && exec "$@"'

# The system's tables are private already: see private_cron.
NO_MAIN_TABLE = 'mount --bind /dev/null /etc/crontab && exec "$@"'

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/usr/sbin/cron").exists(), reason="/usr/sbin/cron is missing"),
    pytest.mark.skipif(FAKETIME is None, reason="libfaketime.so.1 is missing"),
]


@pytest.fixture
def daemon(private_cron: PrivateCron) -> Iterator[Callable[..., None]]:  # noqa: F811
    """`daemon("2026-11-24 01:59:57")` starts Debian's cron on a clock that begins there."""
    started: list[subprocess.Popen[bytes]] = []

    def start(at: str, alone: str = ALONE) -> None:
        faked = [f"LD_PRELOAD={FAKETIME}", f"FAKETIME=@{at}", "FAKETIME_DONT_FAKE_MONOTONIC=1"]
        command = private_cron.command(
            "sh", "-c", alone, "sh", "env", *faked, "/usr/sbin/cron", "-f"
        )
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))

    yield start
    for process in started:
        process.terminate()
        process.wait(10)


def test_a_night_from_schedule_to_record(
    private_cron: PrivateCron,  # noqa: F811
    daemon: Callable[[str], None],
    new_database: Callable[..., str | None],
    tmp_path: Path,
) -> None:
    home = tmp_path / "the home"  # with a blank, as homes have
    database = with_database(home, new_database)

    def maejobs(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return private_cron.run([MAEJOBS, *arguments, "--home", str(home)])

    private_cron.run(["crontab", "-"], input=FOREIGN)
    assert maejobs("init").returncode == 0
    job = home / "jobs.d" / "pretrain.toml"
    job.write_text(job.read_text().replace('until = "06:00" ', 'timeout = "25s"'))

    scheduled = maejobs("schedule", "pretrain", "0 2 * * *")
    assert scheduled.returncode == 0, scheduled.stderr
    theirs = private_cron.run(["crontab", "-l"])
    ours = maejobs("list")
    assert (ours.stdout, ours.stderr, ours.returncode) == (
        theirs.stdout,
        theirs.stderr,
        theirs.returncode,
    )

    daemon("2026-11-24 01:59:56")
    run = _wait_for_end(database)

    assert run["state"] == "succeeded"
    assert run["outcome"] == "paused"
    assert run["trigger"] == "cron"
    assert run["peak_memory"] > 100_000_000
    assert run["cpu_seconds"] > 1
    log = (Path(run["directory"]) / "log").read_text()
    assert "Traceback" not in log
    losses = rows(database, "SELECT value FROM v_metrics WHERE name = 'loss' ORDER BY time")
    assert losses
    assert all(0 < loss["value"] < 10 for loss in losses)
    (checkpoint, *_) = rows(database, "SELECT path FROM v_checkpoints ORDER BY time DESC")
    assert (Path(checkpoint["path"]) / "weights.safetensors").exists()

    assert maejobs("unschedule", "pretrain").returncode == 0
    assert private_cron.run(["crontab", "-l"]).stdout == FOREIGN


@pytest.mark.parametrize("user", ["root", "joe"])
def test_a_line_of_the_system_table_is_started(
    private_cron: PrivateCron,  # noqa: F811
    daemon: Callable[..., None],
    new_database: Callable[..., str | None],
    user: str,
) -> None:
    private_cron.let_everybody_run_maejobs()
    home = f"{HOMES}/{user}/mae"
    seen_by_us = private_cron.homes / user / "mae"
    database = with_database(seen_by_us, new_database)
    if user == "joe":
        for path in (seen_by_us, *seen_by_us.iterdir()):
            os.chown(path, JOE, JOE)
    place = ["--crontab", "system", "--home", home]
    number = str(JOE if user == "joe" else 0)
    become = ["setpriv", "--reuid", number, "--regid", number, "--clear-groups"]
    init = [*become, MAEJOBS, "init", "--home", home]
    assert private_cron.run(init).returncode == 0
    (seen_by_us / "jobs.d" / "quick.toml").write_text('command = ["id", "-un"]\n')
    done = private_cron.run([MAEJOBS, "schedule", "quick", "* * * * *", *place])
    assert done.returncode == 0, done.stderr
    assert f"* * * * * {user} /".encode() in private_cron.run([MAEJOBS, "list", *place]).stdout

    daemon("2026-11-24 01:59:56", NO_MAIN_TABLE)
    run = _wait_for_end(database, 60)
    assert (run["state"], run["trigger"]) == ("succeeded", "cron")
    (log,) = seen_by_us.glob("runs/quick/*/log")
    assert log.read_text() == f"{user}\n"
    assert log.stat().st_uid == (JOE if user == "joe" else 0)

    assert private_cron.run([MAEJOBS, "unschedule", "quick", *place]).returncode == 0
    assert not (private_cron.spool / "cron.d" / "maejobs").exists()


def test_list_is_what_crontab_says_when_there_is_none(private_cron: PrivateCron) -> None:  # noqa: F811
    theirs = private_cron.run(["crontab", "-l"])
    ours = private_cron.run([MAEJOBS, "list"])
    assert theirs.returncode == 1
    assert (ours.stdout, ours.stderr, ours.returncode) == (
        theirs.stdout,
        theirs.stderr,
        theirs.returncode,
    )


def with_database(root: Path, new_database: Callable[..., str | None]) -> Home:
    """The home that `maejobs init` will make at `root`; its settings say where its database is."""
    home = Home(root, configured_database_url=new_database(migrated=False))
    root.mkdir()
    configure(home, "")
    return home


def _wait_for_end(home: Home, seconds: float = 150) -> dict[str, Any]:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        found = rows(home, "SELECT * FROM v_runs")
        if found and found[0]["finished"]:
            return found[0]
        time.sleep(0.5)
    pytest.fail(f"no run ended within {seconds:.0f} s; cron: {shutil.which('cron')}")


def test_a_probe_sees_cron_start_a_line_and_leaves_the_table_as_it_was(
    private_cron: PrivateCron,  # noqa: F811
    daemon: Callable[[str], None],
    tmp_path: Path,
) -> None:
    home = ["--home", str(tmp_path / "home")]
    private_cron.run(["crontab", "-"], input=FOREIGN)
    assert private_cron.run([MAEJOBS, "init", *home]).returncode == 0
    daemon("2026-11-24 01:59:57 x60")
    done = private_cron.run([MAEJOBS, "doctor", "--probe", *home])
    assert "probe: a line of the crontab was started" in done.stdout.decode(), done.stderr
    assert private_cron.run(["crontab", "-l"]).stdout == FOREIGN


def test_cron_calls_reconcile_at_boot_and_in_the_minutes_it_is_to(
    private_cron: PrivateCron,  # noqa: F811
    daemon: Callable[..., None],
    tmp_path: Path,
) -> None:
    place = tmp_path / "the home"
    home = ["--home", str(place)]
    private_cron.run(["crontab", "-"], input=FOREIGN)
    assert private_cron.run([MAEJOBS, "init", *home]).returncode == 0
    assert private_cron.run([MAEJOBS, "watch", "install", *home]).returncode == 0
    theirs = private_cron.run(["crontab", "-l"]).stdout
    assert private_cron.run([MAEJOBS, "list", *home]).stdout == theirs
    assert theirs.count(b"exec RECONCILE") == 2

    daemon("2026-11-24 01:56:52")
    calls = set()
    give_up = time.monotonic() + 60
    while len(calls) < 2:
        assert time.monotonic() < give_up, calls
        if (place / "reconciled.json").exists():
            ((_, last),) = json.loads((place / "reconciled.json").read_text())
            calls.add(last)
        time.sleep(0.1)
    assert not list((place / "runs").iterdir())

    assert private_cron.run([MAEJOBS, "watch", "remove", *home]).returncode == 0
    assert private_cron.run(["crontab", "-l"]).stdout == FOREIGN
