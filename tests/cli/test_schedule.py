"""schedule and unschedule: what a user types, and what then stands in the crontab."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import MAEJOBS
from databases import change, configure, is_postgresql, locked, take_away
from private_cron import PrivateCron, private_cron  # noqa: F401 (a fixture)
from recorded_runs import NIGHT, a_run

from maejobs.cron.block import Entry, read_entries, replace_entries
from maejobs.cron.dialect import Dialect
from maejobs.rundb.database import open_database
from maejobs.rundb.queries import job_rows, newest_runs
from maejobs.rundb.record import write_run
from maejobs.rundb.run import SUCCEEDED
from maejobs.shipped import shipped

QUICK = 'command = ["true"]\nschedule = "15 3 * * *"\n'


def expressions(home, job="quick"):
    table = Path(home.crontab)
    entries = read_entries(table.read_bytes()) if table.exists() else []
    return [entry.expression for entry in entries if entry.job == job]


def test_a_bad_month_is_named_and_pointed_at_and_nothing_is_written(
    home, write_job, inside, snapshot
):
    write_job("quick", QUICK)
    before = snapshot()
    done = inside("schedule", "quick", "0 2 * 13 *")
    assert done.returncode == 2
    assert done.stderr == ("maejobs: bad month: 13 is outside 1–12\n  0 2 * 13 *\n        ^\n")
    assert done.stdout == ""
    assert snapshot() == before


def test_rescheduling_shows_the_change_and_makes_it(home, write_job, inside):
    write_job("quick", QUICK)
    assert "scheduled quick: 0 2 * * *" in inside("schedule", "quick", "0 2 * * *").stdout
    done = inside("schedule", "quick", "0 4 * * *")
    assert "rescheduled quick: 0 2 * * * → 0 4 * * *" in done.stdout
    assert expressions(home) == ["0 4 * * *"]


def test_the_same_schedule_twice_says_so_and_leaves_every_byte(home, write_job, inside, snapshot):
    write_job("quick", QUICK)
    inside("schedule", "quick", "0 2 * * *")
    before = snapshot()
    done = inside("schedule", "quick", "0 2   * * *")
    assert done.returncode == 0
    assert "scheduled so already: 0 2 * * *; nothing changed" in done.stdout
    assert snapshot() == before


def test_also_adds_an_entry_once(home, write_job, inside):
    write_job("quick", QUICK)
    inside("schedule", "quick", "0 2 * * *")
    first = inside("schedule", "quick", "0 14 * * *", "--also")
    again = inside("schedule", "quick", "0 14 * * *", "--also")
    assert "0 2 * * * → 0 2 * * *, 0 14 * * *" in first.stdout
    assert "so already" in again.stdout
    assert expressions(home) == ["0 2 * * *", "0 14 * * *"]


def test_blanks_put_in_by_hand_make_no_other_expression(home, write_job, inside):
    write_job("quick", QUICK)
    write_job("other", QUICK)
    inside("schedule", "quick", "0 2 * * *")
    table = Path(home.crontab)
    by_hand = table.read_bytes().replace(b"0 2 * * *", b"0\t2  * * *")
    table.write_bytes(by_hand)
    again = inside("schedule", "quick", "0 2 * * *", "--also")
    assert "so already: 0 2 * * *; nothing changed" in again.stdout
    assert table.read_bytes() == by_hand
    assert inside("schedule", "other", "0 3 * * *").returncode == 0
    assert by_hand.splitlines()[1] in table.read_bytes()


def test_without_also_one_entry_replaces_all(home, write_job, inside):
    write_job("quick", QUICK)
    inside("schedule", "quick", "0 2 * * *")
    inside("schedule", "quick", "0 14 * * *", "--also")
    inside("schedule", "quick", "0 14 * * *")
    assert expressions(home) == ["0 14 * * *"]


def test_without_an_expression_the_job_file_decides(home, write_job, inside):
    write_job("quick", QUICK)
    write_job("never", 'command = ["true"]\n')
    inside("schedule", "quick")
    assert expressions(home) == ["15 3 * * *"]
    done = inside("schedule", "never")
    assert done.returncode == 2
    assert 'maejobs schedule never "0 2 * * *"' in done.stderr


def test_before_init_scheduling_makes_the_home(home, inside):
    shutil.rmtree(home.root / "jobs.d")
    shutil.rmtree(home.root / "db")
    done = inside("schedule", "pretrain", "0 2 * * *")
    assert done.returncode == 0, done.stderr
    assert f"made the home {home.root}" in done.stderr
    with open_database(home) as engine:
        assert newest_runs(engine, 1) == []
    assert expressions(home, "pretrain") == ["0 2 * * *"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("schedule", "pretrain", "0 2 * 13 *"),
        ("schedule", "pretrian", "0 2 * * *"),
        ("schedule", "pretrain", "0 2 * * *", "--dry-run"),
        ("unschedule", "pretrain"),
        ("pause", "pretrain"),
        ("status",),
        ("runs",),
        ("logs", "pretrain"),
        ("db", "upgrade"),
    ],
    ids=" ".join,
)
def test_a_misspelt_home_is_not_half_made(tmp_path, maejobs, arguments):
    crontab = tmp_path / "no-crontab-here"
    crontab.write_text("#!/bin/sh\necho 'no crontab for you' >&2\nexit 1\n")
    (tmp_path / "bin").mkdir()
    crontab.chmod(0o755)
    crontab.rename(tmp_path / "bin" / "crontab")
    done = maejobs(
        *arguments, "--home", str(tmp_path / "typo"), PATH=f"{tmp_path / 'bin'}:/usr/bin:/bin"
    )
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "typo").exists()


def test_a_crontab_that_cannot_be_changed_leaves_no_home_behind(inside, tmp_path):
    place = tmp_path / "none"
    place.mkdir()
    (place / "maejobs.toml").write_text('crontab = "crontab"\n')
    (place / "crontab").write_text("# >>> maejobs >>>\n")
    done = inside("schedule", "pretrain", "0 2 * * *", "--home", str(place))
    assert done.returncode == 2
    assert sorted(path.name for path in place.iterdir()) == ["crontab", "maejobs.toml"]
    assert "made the home" not in done.stderr


def test_init_replaces_no_link_whose_disk_is_not_mounted(home, inside):
    link = home.jobs_dir / "pretrain.toml"
    link.symlink_to("/mnt/none/pretrain.toml")
    assert "pretrain" not in inside("init").stdout
    assert link.is_symlink()


def test_before_init_a_misspelt_job_is_looked_for_among_ours(inside, tmp_path):
    place = tmp_path / "none"
    done = inside("schedule", "pretrian", "0 2 * * *", "--home", str(place))
    assert done.returncode == 2
    assert "no job 'pretrian' among ours" in done.stderr
    assert "did you mean pretrain?" in done.stderr
    assert str(shipped("jobs.d")) not in done.stderr
    done = inside("schedule", "report", "0 2 * * *", "--home", str(place))
    assert "backup, cleanup, evaluate" in done.stderr


FAKE_CRONTAB = """case $1 in
-l) cat {table} 2>/dev/null || {{ echo "no crontab for you" >&2; exit 1; }};;
-) cat > {table};;
*) exit 1;;
esac"""


def test_without_a_daemon_scheduling_warns_that_nobody_reads_the_table(
    home, write_job, inside, script, tmp_path, monkeypatch
):
    write_job("quick", QUICK)
    monkeypatch.setattr("maejobs.daemon.alone.running_cron", lambda: None)
    assert inside("schedule", "quick", "0 2 * * *").stderr == ""
    configure(home, "")
    crontab = Path(script(FAKE_CRONTAB.format(table=tmp_path / "table")))
    (tmp_path / "bin").mkdir()
    crontab.rename(tmp_path / "bin" / "crontab")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    done = inside("schedule", "quick", "0 2 * * *")
    assert done.returncode == 0
    assert done.stderr == (
        "maejobs: no cron daemon runs; `service cron start` starts Debian's, "
        "`maejobs daemon` ours\n"
    )
    assert "exec quick" in (tmp_path / "table").read_text()


def test_what_the_hosts_cron_does_not_take_is_refused_but_not_in_a_file_of_our_own(
    home, write_job, inside, monkeypatch
):
    write_job("quick", QUICK)
    monkeypatch.setattr("maejobs.cron.dialect.host_dialect", lambda: Dialect.BUSYBOX)
    assert inside("schedule", "quick", "@daily").returncode == 0
    configure(home, "")
    refused = inside("schedule", "quick", "@daily")
    assert refused.returncode == 2
    assert "busybox" in refused.stderr


@pytest.mark.parametrize("where", ["before", "after", "environment"])
def test_a_home_that_is_not_the_default_is_written_into_the_line(
    home, write_job, maejobs, tmp_path, where
):
    write_job("quick", QUICK)
    other = tmp_path / "the other %home's \\ place"
    shutil.copytree(home.root, other)
    call = ["schedule", "quick", "0 2 * * *"]
    if where == "environment":
        done = maejobs(*call, MAEJOBS_HOME=str(other))
    elif where == "before":
        done = maejobs("--home", str(other), *call)
    else:
        done = maejobs(*call, "--home", str(other))
    assert done.returncode == 0, done.stderr
    (entry,) = read_entries((other / "crontab").read_bytes())
    assert " --home " in entry.command
    assert maejobs("next", "--home", str(other), "-n", "1").stdout.count("quick") == 1


@pytest.fixture
def default_home(home, write_job, tmp_path):
    """A copy of the home, in the default place of who has `tmp_path / "user"` for HOME."""
    write_job("quick", QUICK)
    return shutil.copytree(home.root, tmp_path / "user" / ".local" / "share" / "maejobs")


def test_the_default_home_is_not_written_into_the_line(default_home, inside, tmp_path, monkeypatch):
    monkeypatch.setattr("maejobs.home._where_cron_starts", lambda _: tmp_path / "user")
    assert inside("schedule", "quick", "0 2 * * *", "--home", str(default_home)).returncode == 0
    (entry,) = read_entries((default_home / "crontab").read_bytes())
    assert entry.command == f"{MAEJOBS} exec quick"


def test_a_default_home_below_another_home_than_crons_is_written(
    default_home, inside, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.delenv("MAEJOBS_HOME")
    assert inside("schedule", "quick", "0 2 * * *").returncode == 0
    (entry,) = read_entries((default_home / "crontab").read_bytes())
    assert entry.command == f"{MAEJOBS} exec quick --home {default_home}"


def test_two_homes_in_one_crontab_leave_each_other_alone(home, write_job, inside, tmp_path):
    write_job("quick", QUICK)
    other = tmp_path / "other"
    shutil.copytree(home.root, other)
    (other / "maejobs.toml").write_text(f'crontab = "{home.crontab}"\n')
    inside("schedule", "quick", "0 2 * * *")
    inside("schedule", "quick", "0 3 * * *", "--home", str(other))
    assert expressions(home) == ["0 2 * * *", "0 3 * * *"]
    inside("schedule", "quick", "0 4 * * *")
    assert expressions(home) == ["0 4 * * *", "0 3 * * *"]
    assert inside("unschedule", "quick").returncode == 0
    assert expressions(home) == ["0 3 * * *"]
    assert inside("unschedule", "quick").returncode == 2


def test_one_home_under_two_spellings_is_one_home(home, write_job, inside, tmp_path):
    write_job("quick", QUICK)
    link = tmp_path / "link"
    link.symlink_to(home.root)
    inside("schedule", "quick", "0 2 * * *")
    inside("schedule", "quick", "0 3 * * *", "--home", str(link))
    inside("schedule", "quick", "0 4 * * *", "--home", f"{home.root}/../{home.root.name}")
    assert expressions(home) == ["0 4 * * *"]


def test_a_line_of_the_job_outside_the_block_is_told(home, write_job, inside):
    write_job("quick", QUICK)
    inside("schedule", "quick", "0 2 * * *")
    table = Path(home.crontab)
    line = table.read_bytes().splitlines()[1]
    table.write_bytes(line + b"\n")
    told = (
        "maejobs: line 1 of the crontab starts quick from outside our block; "
        "`maejobs apply quick` fetches it in, `maejobs edit` takes it out\n"
    )
    for arguments in (["schedule", "quick", "0 3 * * *"], ["unschedule", "quick"]):
        done = inside(*arguments)
        assert (done.returncode, done.stderr) == (0, told)
    done = inside("unschedule", "quick")
    assert (done.returncode, done.stderr.startswith(told)) == (2, True)
    assert table.read_bytes() == line + b"\n"


def test_that_a_job_is_on_pause_is_said_wherever_its_slots_are_shown(home, write_job, inside):
    write_job("quick", QUICK)
    write_job("other", QUICK)
    inside("schedule", "other", "0 3 * * *")
    inside("pause", "quick")
    done = inside("schedule", "quick", "0 2 * * *")
    assert done.stderr == "maejobs: quick is paused; `maejobs resume quick` lets it run\n"
    for command in ("next", "plan"):
        assert "on pause, and so skipped until `maejobs resume`: quick\n" in inside(command).stdout
    slots = json.loads(inside("next", "-n", "2", "--json").stdout)
    assert {(slot["job"], slot["paused"]) for slot in slots} == {("quick", True), ("other", False)}
    assert json.loads(inside("plan", "--json").stdout)["paused"] == ["quick"]
    assert json.loads(inside("schedule", "quick", "0 4 * * *", "--json").stdout)["paused"] is True
    inside("resume", "quick")
    assert "pause" not in inside("next").stdout + inside("plan").stdout


def test_two_entries_that_call_for_one_minute_are_told(home, write_job, inside, monkeypatch):
    monkeypatch.setattr("maejobs.clock.now", lambda: datetime(2026, 11, 23, 18, 30, 7, tzinfo=UTC))
    write_job("quick", QUICK)
    assert inside("schedule", "quick", "0 2 * * *").stderr == ""
    assert inside("schedule", "quick", "0 3 * * *", "--also").stderr == ""
    assert inside("schedule", "quick", "0 2 * * 5", "--also", "--json").stderr == (
        "maejobs: `0 2 * * *` and `0 2 * * 5` of quick both call for Fri 2026-11-27 02:00, and one "
        "of them finds the slot taken\n"
    )


def test_one_of_several_entries_can_be_taken_out(home, write_job, inside):
    write_job("quick", QUICK)
    for expression in ("0 2 * * *", "0 14 * * *", "@daily"):
        inside("schedule", "quick", expression, "--also")
    done = inside("unschedule", "quick", "0  14 * * *", "--json")
    told = {"removed": ["0 14 * * *"], "left": ["0 2 * * *", "@daily"]}
    assert json.loads(done.stdout) == {"job": "quick", "written": True, **told}
    assert expressions(home) == ["0 2 * * *", "@daily"]
    other = inside("unschedule", "quick", "0 3 * * *")
    why = """quick is not scheduled at '0 3 * * *'; it is at "0 2 * * *", "@daily\""""
    assert (other.returncode, other.stderr) == (2, f"maejobs: {why}\n")
    unquoted = inside("unschedule", "quick", "0", "2", "*", "*", "*")
    assert (unquoted.returncode, "quote the expression" in unquoted.stderr) == (2, True)
    with open_database(home) as engine:
        assert job_rows(engine)["quick"].schedule == "0 2 * * *\n@daily"
    assert inside("unschedule", "quick").stdout.count("unscheduled quick") == 2


def test_a_home_that_was_deleted_is_not_made_anew_to_unschedule(
    home, inside, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    table, gone = tmp_path / "tab", tmp_path / "gone"
    entry = Entry("quick", "0 2 * * *", f"/opt/maejobs exec quick --home {gone}")
    before = replace_entries(b"# mine\n", [entry])
    table.write_bytes(before)
    done = inside("unschedule", "quick", "--home", str(gone), "--crontab", str(table))
    assert (done.returncode, gone.exists()) == (0, False)
    assert table.read_bytes() == b"# mine\n"
    (kept,) = tmp_path.glob("state/maejobs/crontab-backups/file-*/*.crontab")
    assert kept.read_bytes() == before
    place = kept.parents[1]
    assert done.stderr == (
        f"maejobs: {gone} is not there; the crontab from before is below {place}\n"
    )


def test_unscheduling_gives_back_the_bytes_from_before(home, write_job, inside):
    write_job("quick", QUICK)
    foreign = b"# caf\xe9\r\n 5 4 * * *\t/bin/true  # kept\n\n@reboot /bin/true"
    Path(home.crontab).write_bytes(foreign)
    inside("schedule", "quick", "0 2 * * *")
    assert Path(home.crontab).read_bytes().startswith(foreign + b"\n# >>> maejobs")
    done = inside("unschedule", "quick")
    assert done.stdout == "unscheduled quick: 0 2 * * *\n"
    assert Path(home.crontab).read_bytes() == foreign


def test_what_schedule_prints_for_programs(home, write_job, inside):
    write_job("quick", QUICK)
    inside("schedule", "quick", "0 2 * * *")
    told = json.loads(inside("schedule", "quick", "@daily", "--json").stdout)
    assert (told["before"], told["after"]) == (["0 2 * * *"], ["@daily"])
    assert told["changed"] is True
    assert told["written"] is True
    assert all(at.endswith("+00:00") for at in told["next"])


@pytest.mark.both_databases
def test_a_database_that_is_away_does_not_keep_a_job_from_the_crontab(home, write_job, inside):
    write_job("quick", QUICK)
    take_away(home)
    done = inside("schedule", "quick", "0 2 * * *")
    assert done.returncode == 0
    assert "not noted in the database" in done.stderr
    assert expressions(home) == ["0 2 * * *"]


def test_a_damaged_block_is_refused_with_its_line(home, write_job, inside, snapshot):
    write_job("quick", QUICK)
    Path(home.crontab).write_bytes(b"# mine\n# >>> maejobs >>>\n")
    before = snapshot()
    for arguments in (["schedule", "quick", "0 2 * * *"], ["unschedule", "quick"], ["next"]):
        done = inside(*arguments)
        assert done.returncode == 2
        assert "line 2 of the crontab" in done.stderr
    assert set(snapshot()) - set(before) <= {".crontab.lock"}
    assert snapshot()["crontab"] == before["crontab"]


@pytest.fixture
def night(write_job, inside, monkeypatch):
    """A night that holds the GPU until six, however long it takes; and evaluate, which needs it."""
    monkeypatch.setenv("TZ", "Etc/UTC")
    monkeypatch.setattr("maejobs.clock.now", lambda: datetime(2026, 11, 23, 18, 30, 7, tzinfo=UTC))
    write_job("pretrain", 'command = ["true"]\nuntil = "06:00"\nlocks = ["gpu0"]\n')
    write_job("evaluate", 'command = ["true"]\nlocks = ["gpu0"]\n')
    assert inside("schedule", "pretrain", "0 2 * * *", "--strict").returncode == 0


LOST = (
    "evaluate Tue 24 Nov 05:30 may be skipped: pretrain of 02:00 holds gpu0 until 06:00 "
    "at the latest; how long it takes is not known yet"
)


@pytest.mark.usefixtures("night")
def test_a_run_that_would_be_lost_is_shown_before_it_is_scheduled(home, inside):
    done = inside("schedule", "evaluate", "30 5 * * *")
    shown = done.stdout.splitlines()
    assert shown[0] == "next: Tue 2026-11-24 05:30 (in 10 h)"
    assert shown[-2:] == [f"collision  {LOST} (7 times)", "scheduled evaluate: 30 5 * * *"]
    assert expressions(home, "evaluate") == ["30 5 * * *"]


@pytest.mark.usefixtures("night")
def test_strict_refuses_it_in_one_line_and_writes_nothing(home, inside, snapshot):
    before = snapshot()
    for arguments in ([], ["--dry-run"], ["--json"]):
        done = inside("schedule", "evaluate", "30 5 * * *", "--strict", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"maejobs: {LOST}; nothing was written (--strict)\n"
    assert snapshot() == before


@pytest.mark.usefixtures("night")
def test_strict_lets_pass_what_is_in_nobodys_way(home, inside):
    assert inside("schedule", "evaluate", "30 6 * * *", "--strict").returncode == 0
    assert expressions(home, "evaluate") == ["30 6 * * *"]


@pytest.mark.usefixtures("night")
def test_strict_looks_at_the_table_that_would_be_written(home, inside):
    """The entry that is replaced is in nobody's way any more."""
    assert inside("schedule", "evaluate", "30 5 * * *").returncode == 0
    assert inside("schedule", "evaluate", "30 7 * * *", "--strict").returncode == 0
    refused = inside("schedule", "evaluate", "30 5 * * *", "--also", "--strict")
    assert refused.returncode == 2
    assert expressions(home, "evaluate") == ["30 7 * * *"]


@pytest.mark.usefixtures("night")
def test_the_shown_plan_for_programs(inside):
    plan = json.loads(inside("schedule", "evaluate", "30 5 * * *", "--json").stdout)["plan"]
    assert {firing["job"] for firing in plan["firings"]} == {"evaluate"}
    assert [problem["count"] for problem in plan["problems"]] == [7]


@pytest.mark.usefixtures("night")
def test_recorded_runs_tell_when_the_next_will_be_done(home, inside):
    started = NIGHT
    run = a_run(state=SUCCEEDED, started=started, finished=started + timedelta(minutes=40))
    with open_database(home) as engine:
        write_run(engine, run)
    done = inside("schedule", "pretrain", "0 3 * * *")
    assert "next: Tue 2026-11-24 03:00 (in 8 h), until 03:40\n" in done.stdout


@pytest.mark.usefixtures("night")
def test_neither_a_bad_neighbour_nor_a_locked_database_keeps_a_job_out(
    home, inside, write_job, monkeypatch
):
    monkeypatch.setattr("maejobs.cli.entries.PATIENCE_SECONDS", 0.1)
    write_job("pretrain", "nonsense\n")
    if not is_postgresql(home):
        change(home, "PRAGMA journal_mode = DELETE")  # in which readers are kept away
    with locked(home, "EXCLUSIVE"):
        done = inside("schedule", "evaluate", "30 5 * * *")
    assert done.returncode == 0
    assert "pretrain.toml" in done.stderr
    assert "how long runs take is not known" in done.stderr
    assert expressions(home, "evaluate") == ["30 5 * * *"]


def test_more_slots_than_can_be_looked_through_are_scheduled_all_the_same(
    home, write_job, inside, monkeypatch
):
    write_job("quick", QUICK)
    monkeypatch.setattr("maejobs.watch.plan.MOST_FIRINGS", 100)
    done = inside("schedule", "quick", "* * * * *")
    assert done.returncode == 0
    assert "the coming week is not looked through: more than 100 slots" in done.stderr
    assert expressions(home) == ["* * * * *"]
    assert inside("schedule", "quick", "*/2 * * * *", "--strict").returncode == 2
    assert expressions(home) == ["* * * * *"]


def test_in_the_real_crontab(private_cron: PrivateCron, home, write_job):  # noqa: F811
    write_job("quick", QUICK)
    configure(home, "")
    foreign = b"MAILTO=root\n# caf\xe9\n17 4 * * * /bin/true\n"
    private_cron.run(["crontab", "-"], input=foreign)

    def maejobs(*arguments):
        return private_cron.run([MAEJOBS, *arguments], {"MAEJOBS_HOME": str(home.root)})

    assert maejobs("schedule", "quick", "0 2 * * *").returncode == 0
    theirs, ours = private_cron.run(["crontab", "-l"]), maejobs("list")
    assert theirs.stdout.startswith(foreign)
    assert b"exec quick --home" in theirs.stdout
    assert (ours.stdout, ours.stderr, ours.returncode) == (theirs.stdout, theirs.stderr, 0)
    bad = maejobs("schedule", "quick", "0 2 * 13 *")
    assert bad.returncode == 2
    assert private_cron.run(["crontab", "-l"]).stdout == theirs.stdout
    assert maejobs("unschedule", "quick").returncode == 0
    assert private_cron.run(["crontab", "-l"]).stdout == foreign
    assert list(home.crontab_backups_dir.iterdir())


def test_busybox_cannot_be_given_a_path_that_it_would_cut(home, write_job, inside, monkeypatch):
    write_job("quick", QUICK)
    configure(home, 'crontab = "crontab"\ndialect = "busybox"\n')
    assert inside("schedule", "quick", "0 2 * * *").returncode == 0
    monkeypatch.setattr("maejobs.cli.entries._executable", lambda: Path("/opt/50%/maejobs"))
    done = inside("schedule", "quick", "0 3 * * *")
    assert (done.returncode, "reads a `%` otherwise" in done.stderr) == (2, True)
