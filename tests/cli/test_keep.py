"""keep, as a user calls it; what it decides is tested in tests/keep."""

import json
import shutil

import pytest
from keep.campaigns import snapshot as files_of
from keep.campaigns import steps_in, tear, write_campaign


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
