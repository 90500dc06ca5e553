"""watch: our own lines in the crontab; and `exec --slot`, which makes up for a slot."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from databases import away, configure, take_away, told_of_absence

from maejobs import clock
from maejobs.cron.block import read_entries
from maejobs.cron.schedule import RECONCILE

FOREIGN = b"0 5 * * 1 tar\n# no newline at the end"
LINES = [(RECONCILE, "@reboot"), (RECONCILE, "2-59/5 * * * *")]
QUICK = 'command = ["true"]\nschedule = "15 3 * * *"\n'


@pytest.fixture
def table(home, write_job):
    write_job("quick", QUICK)
    table = Path(home.crontab)
    table.write_bytes(FOREIGN)
    return table


def ours(table: Path) -> list[tuple[str, str]]:
    return [(entry.job, entry.expression) for entry in read_entries(table.read_bytes())]


def test_the_lines_of_a_home_that_was_deleted_can_be_taken_out(inside, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    gone, table = tmp_path / "gone", tmp_path / "tab"
    options = ("--home", str(gone), "--crontab", str(table))
    (gone / "jobs.d").mkdir(parents=True, mode=0o700)
    gone.chmod(0o700)
    table.write_bytes(FOREIGN)
    inside("watch", "install", *options)
    assert ours(table) == LINES
    shutil.rmtree(gone)
    assert inside("watch", "remove", *options).returncode == 0
    assert (table.read_bytes(), gone.exists()) == (FOREIGN, False)
    assert len(list(tmp_path.glob("state/maejobs/crontab-backups/file-*/*"))) == 1
    misspelt = inside("watch", "remove", *options)
    assert (misspelt.returncode, gone.exists()) == (2, False)
    assert f"no home at {gone}; `maejobs init` makes it" in misspelt.stderr


def test_two_lines_come_and_go_and_nothing_else_is_touched(home, table, inside):
    done = inside("watch", "install")
    assert done.returncode == 0, done.stderr
    assert ours(table) == LINES
    assert table.read_bytes().startswith(FOREIGN)
    for _, expression in LINES:
        assert f"\n+{expression} " in done.stdout
    assert all(len(line) < 250 for line in table.read_text().splitlines())
    assert table.read_text().count(" # maejobs:RECONCILE\n") == 2

    again = inside("watch", "install")
    assert (again.returncode, "already; nothing changed" in again.stdout) == (0, True)
    assert ours(table) == LINES

    assert inside("watch", "remove").returncode == 0
    assert table.read_bytes() == FOREIGN
    assert "already; nothing changed" in inside("watch", "remove").stdout


def test_jobs_come_and_go_beside_them(table, inside):
    inside("schedule", "quick", "0 2 * * *")
    inside("watch", "install")
    inside("schedule", "quick", "0 4 * * *")
    assert ours(table) == [("quick", "0 4 * * *"), *LINES]
    inside("unschedule", "quick")
    assert ours(table) == LINES
    inside("schedule", "quick", "0 2 * * *")
    inside("watch", "remove")
    assert ours(table) == [("quick", "0 2 * * *")]


def test_a_dry_run_shows_them(home, table, inside, snapshot):
    before = snapshot()
    done = inside("watch", "install", "--dry-run")
    assert "\n+@reboot " in done.stdout
    assert "(dry run: nothing was written)" in done.stdout
    assert snapshot() == before
    inside("watch", "install")
    before = snapshot()
    assert "\n-@reboot " in inside("watch", "remove", "--dry-run").stdout
    assert snapshot() == before


def test_lines_that_call_a_maejobs_that_has_moved_are_written_anew(table, inside, monkeypatch):
    monkeypatch.setattr("maejobs.cli.entries._executable", lambda: Path("/opt/old/maejobs"))
    inside("watch", "install")
    monkeypatch.setattr("maejobs.cli.entries._executable", lambda: Path("/opt/new/maejobs"))
    inside("watch", "install")
    assert ours(table) == LINES
    assert b"/opt/old" not in table.read_bytes()


def test_a_cron_that_knows_no_reboot_gets_the_other_line(home, table, inside):
    for dialect in ("busybox", "portable"):
        configure(home, f'crontab = "crontab"\ndialect = "{dialect}"\n')
        inside("watch", "install")
        assert ours(table) == LINES[1:]
    configure(home, 'crontab = "crontab"\ndialect = "cronie"\n')
    inside("watch", "install")
    assert ours(table) == LINES


def test_two_homes_in_one_crontab_leave_each_others_alone(home, table, inside, tmp_path):
    other = tmp_path / "other"
    assert inside("init", "--home", str(other)).returncode == 0
    (other / "maejobs.toml").write_text(f'crontab = "{home.crontab}"\n')
    inside("watch", "install")
    inside("watch", "install", "--home", str(other))
    assert ours(table) == LINES * 2
    inside("watch", "remove")
    assert ours(table) == LINES
    assert all(f"--home {other}" in e.command for e in read_entries(table.read_bytes()))


def test_they_are_listed_and_are_no_jobs(table, inside):
    inside("schedule", "quick")
    inside("watch", "install")
    assert b"RECONCILE" in table.read_bytes()
    assert inside("list").stdout.encode() == table.read_bytes()
    assert [e["job"] for e in json.loads(inside("list", "--json").stdout)["entries"]] == [
        "quick",
        RECONCILE,
        RECONCILE,
    ]
    assert inside("diff").returncode == 0
    assert "nothing to change\n" in inside("apply", "--prune", "--yes").stdout
    for command in ("next", "status", "plan"):
        assert RECONCILE not in inside(command).stdout


@pytest.mark.both_databases
def test_cron_hears_once_of_a_database_that_is_away(home, table, inside, snapshot):
    def told(code: int) -> str:
        done = inside("exec", RECONCILE)
        assert (done.stdout, done.returncode) == ("", code)
        return done.stderr

    assert told(0) == ""
    for _ in range(2):
        with away(home):
            before = snapshot()
            assert told_of_absence(home) in inside("exec", RECONCILE, "--dry-run").stderr
            assert snapshot() == before
            complaint = told(1)
            assert told_of_absence(home) in complaint
            assert complaint.count("\n") == 1
            assert [told(1) for _ in range(3)] == [""] * 3
        assert told(0) == ""


def test_cron_hears_of_a_second_trouble_beside_the_first(home, table, inside):
    table.write_bytes(b"# >>> maejobs (managed) >>>\n")
    first = inside("exec", RECONCILE)
    assert (first.returncode, "missed slots not looked for" in first.stderr) == (0, True)
    take_away(home)
    assert inside("exec", RECONCILE).stderr.count("\n") == 1
    assert inside("exec", RECONCILE).stderr == ""


@pytest.mark.fault
def test_a_damaged_block_keeps_them(table, inside):
    inside("schedule", "quick")
    inside("watch", "install")
    whole = table.read_bytes()
    table.write_bytes(whole.removesuffix(b"# <<< maejobs <<<\n"))
    assert inside("watch", "remove").returncode == 2
    assert inside("apply", "--yes").returncode == 0
    assert table.read_bytes() == whole


def test_without_a_home_it_says_how_one_is_made(inside, tmp_path):
    done = inside("watch", "install", "--home", str(tmp_path / "none"))
    assert (done.returncode, "maejobs init" in done.stderr) == (2, True)


def test_the_doctor_tells_where_they_are_missing(table, inside):
    told = lambda: inside("doctor").stdout  # noqa: E731
    assert "watch:" not in told()  # nothing is scheduled
    inside("schedule", "quick")
    assert "warning  watch: lost and missed runs are found late; `maejobs watch install`" in told()
    inside("watch", "install")
    assert "watch:" not in told()
    table.write_bytes(table.read_bytes().replace(b"@reboot /", b"@reboot /moved/"))
    assert "bad      entry RECONCILE: /moved/" in told()


def test_what_cron_calls_is_quiet_and_sets_the_record_straight(home, maejobs):
    done = maejobs("exec", RECONCILE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (home.root / "reconciled.json").exists()
    assert list(home.runs_dir.iterdir()) == []
    take_away(home)
    done = maejobs("exec", RECONCILE)
    assert (done.returncode, told_of_absence(home) in done.stderr) == (1, True)


# exec --slot


def test_a_slot_is_made_up_for_by_name(home, write_job, inside):
    write_job("quick", QUICK)
    done = inside("exec", "quick", "--slot", "20260301T0200Z")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (run,) = json.loads(inside("runs", "--json").stdout)
    assert run["id"] == "quick-20260301T0200Z-1"
    assert (run["trigger"], run["state"]) == ("catch-up", "succeeded")
    again = inside("exec", "quick", "--slot", "2026-03-01T03:00+01:00")
    assert (again.returncode, "has succeeded" in again.stderr) == (75, True)
    dry = inside("exec", "quick", "--slot", "20260302T0200Z", "--dry-run")
    assert "would run quick for the slot" in dry.stdout
    assert len(json.loads(inside("runs", "--json").stdout)) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("yesterday", "no minute"),
        ("2026-03-01T02:00", "no minute"),
        ("20260301T020001Z", "no minute"),
        ("", "no minute"),
        ("99990101T0000Z", "has not come yet"),
        ("0001-01-01T00:00+23:59", "no minute"),
    ],
)
def test_a_bad_slot_is_refused(home, write_job, inside, snapshot, text, why):
    write_job("quick", QUICK)
    before = snapshot()
    done = inside("exec", "quick", "--slot", text)
    assert (done.returncode, why in done.stderr) == (2, True)
    assert len(done.stderr.splitlines()) == 1
    assert snapshot() == before


def test_the_slot_of_this_minute_has_come(home, write_job, inside, monkeypatch):
    write_job("quick", QUICK)
    monkeypatch.setattr(clock, "now", lambda: datetime(2026, 3, 1, 2, 0, 0, tzinfo=UTC))
    assert inside("exec", "quick", "--slot", "20260301T0200Z").returncode == 0
