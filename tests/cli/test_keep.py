"""keep, as a user calls it; what it decides is tested in tests/keep."""

import json
import shutil
from datetime import timedelta

import pytest
from databases import is_postgresql, take_away
from keep.campaigns import refuse_to_delete, steps_in, tear, write_campaign
from keep.campaigns import snapshot as files_of
from recorded_runs import a_run, rows

from maejobs import clock
from maejobs.privilege import owner_of
from maejobs.rundb.database import open_database
from maejobs.rundb.record import write_run


@pytest.fixture
def campaign(tmp_path):
    return write_campaign(tmp_path / "campaign", 1, 2, 3, 4)


def test_a_backup_is_restored_into_a_campaign_that_is_gone(campaign, tmp_path, inside):
    disk = tmp_path / "disk"
    assert inside("keep", "backup", str(campaign), str(disk)).returncode == 0
    shutil.rmtree(campaign)
    before = files_of(tmp_path)
    dry = inside("keep", "restore", str(disk), str(campaign), "--dry-run")
    assert (dry.stdout, dry.stderr) == ("would restore: step-000000004\n", "")
    assert files_of(tmp_path) == before
    done = inside("keep", "restore", str(disk), str(campaign))
    assert done.stdout == "restored: step-000000004\n"
    assert steps_in(campaign) == [4]


def test_a_directory_without_checkpoints_is_told_as_such(tmp_path, inside):
    for command in (["list"], ["rotate"], ["rotate", "--dry-run"]):
        done = inside("keep", *command, str(tmp_path))
        assert (done.returncode, done.stdout) == (0, f"no checkpoints in {tmp_path}\n")


def test_a_restore_names_the_campaigns_whose_backups_are_there(campaign, tmp_path, inside):
    disk = tmp_path / "disk"
    for place in (campaign, write_campaign(tmp_path / "other", 1)):
        inside("keep", "backup", str(place), str(disk))
    for option in ([], ["--step", "1"], ["--dry-run"]):
        done = inside("keep", "restore", str(disk), str(tmp_path / "new"), *option)
        assert done.returncode == 2
        assert done.stderr.endswith("; below it are the backups of campaign, other: name one\n")
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_dry_restore_finds_the_same_mistakes(campaign, tmp_path, inside):
    disk = tmp_path / "disk"
    inside("keep", "backup", str(campaign), str(disk))
    for option in ([], ["--dry-run"]):
        done = inside("keep", "restore", str(disk), str(campaign), "--step", "99", *option)
        assert done.returncode == 2
        assert "no checkpoint of step 99" in done.stderr


@pytest.mark.parametrize("call", ["rotate --keep-last 1", "pin", "backup DISK"])
def test_a_dry_run_touches_nothing(campaign, tmp_path, inside, call):
    command, *rest = call.replace("DISK", str(tmp_path / "disk")).split()
    where = campaign / "checkpoints" / "step-000000001" if command == "pin" else campaign
    before = files_of(tmp_path)
    done = inside("keep", command, str(where), *rest, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "would " in done.stdout
    assert files_of(tmp_path) == before
    assert inside("keep", command, str(where), *rest).returncode == 0
    assert files_of(tmp_path) != before


def test_a_damaged_checkpoint_is_listed_as_such(campaign, tmp_path, inside):
    tear(campaign, 3)
    newest, damaged, *_ = json.loads(inside("keep", "list", str(campaign), "--json").stdout)
    assert (newest["problem"], bool(damaged["problem"])) == (None, True)
    (tmp_path / "empty" / "checkpoints").mkdir(parents=True)
    assert "no checkpoints in" in inside("keep", "list", str(tmp_path / "empty")).stdout


@pytest.mark.parametrize("suffix", ["json", "taking"])
def test_records_that_wait_are_counted_whichever_way_they_were_left(home, inside, suffix):
    (home.spool_dir / f"night-20261124T0200Z-1.{suffix}").write_text("{}")
    assert json.loads(inside("db", "info", "--json").stdout)["spooled"] == 1
    assert "1 spooled records" in inside("doctor").stdout


@pytest.mark.parametrize("suffix", ["json", "taking"])
def test_the_files_of_a_run_whose_record_waits_are_not_cleaned_up(home, inside, suffix):
    for name in ("night-1", "night-2"):
        (home.runs_dir / "night" / name).mkdir(parents=True)
        (home.runs_dir / "night" / name / "log").write_text("x")
    (home.spool_dir / f"night-1.{suffix}").write_text("{}")
    done = inside("keep", "cleanup", "--max-age", "0s", "--max-size", "0B")
    assert (home.runs_dir / "night" / "night-1").exists(), done.stdout


@pytest.mark.both_databases
def test_history_is_cleaned_up_where_it_is_asked_for(home, inside):
    with open_database(home) as engine:
        for days in (400, 300, 1):
            at = clock.now() - timedelta(days=days)
            name = f"night-{days}"
            write_run(engine, a_run(id=name, slot=at, queued=at, finished=at, state="failed"))
    assert json.loads(inside("keep", "cleanup", "--json").stdout)["history"] is None
    call = ("keep", "cleanup", "--history-age", "365d")
    assert "would forget 1 runs of pretrain: older" in inside(*call, "--dry-run").stdout
    told = json.loads(inside(*call, "--json").stdout)["history"]
    assert told["runs"] == {"pretrain": {"older than 365 days": 1}}
    why = "PostgreSQL does that itself" if is_postgresql(home) else "there is little to gain"
    assert told["not_packed"] == why
    assert len(rows(home, "SELECT * FROM runs")) == 2
    assert "not of the newest 1" in inside("keep", "cleanup", "--history-count", "1").stdout
    assert [row["id"] for row in rows(home, "SELECT id FROM runs")] == ["night-1"]


def test_a_clock_that_has_leapt_ahead_deletes_nothing_by_its_age(home, inside, snapshot):
    with open_database(home) as engine:
        for days in (400, 1):
            at = clock.now() - timedelta(days=days)
            run = a_run(id=f"night-{days}", slot=at, queued=at, finished=at, state="failed")
            write_run(engine, run)
            (home.runs_dir / "pretrain" / run.id).mkdir(parents=True)
    call = ("keep", "cleanup", "--max-age", "0s", "--history-age", "30d", "--json")
    ran = [clock.now() - timedelta(days=3653), clock.now() - timedelta(days=3650)]
    for leapt in ([ran], [ran, [clock.now() - timedelta(hours=1), clock.now()]]):
        spans = [[at.isoformat() for at in span] for span in leapt]
        (home.root / "reconciled.json").write_text(json.dumps(spans))
        before = snapshot()
        done = inside(*call)
        assert "nothing goes by its age" in done.stderr
        assert (done.returncode, json.loads(done.stdout)["by_age"]) == (0, False)
        assert snapshot() == before
    for calm in (ran[:0], [clock.now() - timedelta(days=3), clock.now()]):
        spans = [[at.isoformat() for at in calm]] if calm else []
        (home.root / "reconciled.json").write_text(json.dumps(spans))
        assert json.loads(inside(*call, "--dry-run").stdout)["by_age"] is True
    told = json.loads(inside(*call).stdout)
    assert (len(told["removed"]), told["history"]["runs"]) == (
        1, {"pretrain": {"older than 30 days": 1}},
    )  # fmt: skip


@pytest.mark.both_databases
def test_what_is_deleted_is_told_to_programs_too_while_the_database_is_away(home, inside):
    for name in ("night-1", "night-2"):
        (home.runs_dir / "night" / name).mkdir(parents=True)
    take_away(home)
    done = inside("keep", "cleanup", "--max-age", "0s", "--json")
    told = json.loads(done.stdout)
    assert len(told["removed"]) == 1
    assert (told["thinned"], told["history"]) == (None, None)
    assert "run database" in done.stderr
    assert done.returncode == 1


def test_the_job_that_we_ship_cleans_history_up_too(home, inside):
    """Its very command is understood."""
    inside("init")
    with open_database(home) as engine:
        for days in (800, 1):
            at = clock.now() - timedelta(days=days)
            name = f"night-{days}"
            write_run(engine, a_run(id=name, slot=at, queued=at, finished=at, state="failed"))
    done = inside("run", "cleanup")
    assert "forgot 1 runs of pretrain: older than 730 days" in done.stdout
    assert done.returncode == 0


def test_what_cannot_be_deleted_is_told_and_fails(campaign, home, inside, monkeypatch):
    refuse_to_delete("step-000000001", monkeypatch)
    for command in (["rotate", str(campaign)], ["rotate", str(campaign), "--json"]):
        done = inside("keep", *command)
        assert done.returncode == 1
        assert "step-000000001: cannot be deleted: Operation not permitted" in done.stderr
    assert len(json.loads(done.stdout)["undeleted"]) == 1

    for name in ("night-1", "night-2"):
        (home.runs_dir / "night" / name).mkdir(parents=True)
    refuse_to_delete("night-1", monkeypatch)
    done = inside("keep", "cleanup", "--max-count", "1", "--history-age", "1d")
    assert (done.returncode, "night-1: cannot be deleted" in done.stderr) == (1, True)
    assert "database not packed" in done.stdout


@pytest.mark.parametrize("verb", ["pin", "unpin"])
def test_a_dry_pin_finds_the_same_mistakes(campaign, inside, verb):
    for option in ([], ["--dry-run"]):
        done = inside("keep", verb, str(campaign), *option)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_root_looks_at_a_campaign_as_its_owner(campaign, tmp_path, inside, monkeypatch):
    became = []
    monkeypatch.setattr("maejobs.cli.options.become", became.append)
    checkpoint = campaign / "checkpoints" / "step-000000004"
    for words in (
        ["list", campaign],
        ["rotate", campaign],
        ["pin", checkpoint],
        ["unpin", checkpoint],
        ["backup", campaign, tmp_path / "disk"],
        ["restore", tmp_path / "disk" / "campaign", tmp_path / "new"],
    ):
        assert inside("keep", *map(str, words)).returncode == 0, words
    assert became == [owner_of(campaign)] * 6


def test_no_name_of_a_directory_drives_the_terminal(tmp_path, inside):
    (tmp_path / "a\x1b[2J" / "checkpoints").mkdir(parents=True)
    done = inside("keep", "list", str(tmp_path / "a\x1b[2J"))
    assert "\x1b" not in done.stdout + done.stderr
