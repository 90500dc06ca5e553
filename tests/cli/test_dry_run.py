"""--dry-run: says what would be done, and not a byte is written."""

import json
import shlex
import sys
from pathlib import Path

import pytest

CALLS = [
    'schedule quick "0 3 * * *"',
    'schedule quick "0 3 * * *" --also --json',
    'schedule other "0 3 * * *"',
    "unschedule quick",
    "apply",
    "adopt tar --line 1",
    "adopt tar --matching archive --json",
    "restore",
    "pause quick",
    "resume paused",
    "run quick",
    "run quick --json",
    "exec quick",
    "retry fails",
    "init",
    "db upgrade",
    "reconcile",
    "demo stage --nights 2",
    "keep cleanup --max-age 0s --max-size 0B",
    "keep cleanup --history-age 0s --history-count 0 --series-age 0s",
    "db backup",
    "db export --output runs.jsonl",
]


@pytest.fixture
def lived_in(home, write_job, inside):
    """A home with a schedule, a pause, a run that failed, and a foreign line in the crontab."""
    Path(home.crontab).write_bytes(b"0 5 * * 1 tar cf archive .\n")
    write_job("quick", 'command = ["true"]\n')
    write_job("drifted", 'command = ["true"]\nschedule = "0 4 * * *"\n')
    write_job("other", 'command = ["true"]\n')
    write_job("paused", 'command = ["true"]\n')
    write_job("fails", 'command = ["false"]\n')
    inside("schedule", "quick", "0 2 * * *")
    inside("pause", "paused")
    inside("run", "fails")
    inside("run", "fails")


def test_nothing_is_written(lived_in, inside, snapshot):
    before = snapshot()
    for call in CALLS:
        done = inside(*shlex.split(call), "--dry-run")
        assert done.returncode == 0, (call, done.stderr)
        assert done.stdout.strip(), call
        assert snapshot() == before, call


def test_without_it_each_of_these_writes(lived_in, inside, snapshot):
    """So that the test above can fail."""
    for call in (
        "pause quick",
        "resume paused",
        'schedule quick "0 3 * * *"',
        "unschedule quick",
        "apply --yes",
        "adopt tar --line 1",
    ):
        before = snapshot()
        assert inside(*shlex.split(call)).returncode == 0
        assert snapshot() != before, call


def test_the_line_that_would_stand_in_the_crontab_is_shown(lived_in, inside):
    done = inside("schedule", "quick", "0 3 * * *", "--dry-run")
    assert "(dry run) rescheduled quick: 0 2 * * * → 0 3 * * *" in done.stdout
    assert "\n-0 2 * * * " in done.stdout
    assert "\n+0 3 * * * " in done.stdout
    told = json.loads(inside("schedule", "quick", "0 3 * * *", "--dry-run", "--json").stdout)
    assert (told["changed"], told["written"]) == (True, False)


def test_a_dry_run_finds_the_same_mistakes(lived_in, inside):
    assert inside("schedule", "quick", "0 3 * 13 *", "--dry-run").returncode == 2
    assert inside("schedule", "quik", "0 3 * * *", "--dry-run").returncode == 2
    assert inside("run", "quik", "--dry-run").returncode == 2


def test_the_command_is_shown_as_it_would_be_started(home, lived_in, write_job, inside):
    words = '["{python}", "{home}/x.py", "{job}", "{run_dir}/{run_id}", "{{}}"]'
    write_job("fails", f"command = {words}\n")
    expected = f"{sys.executable} {home.root}/x.py fails '{{run_dir}}/{{run_id}}' '{{}}'"
    for call in ("run fails", "exec fails", "retry fails"):
        assert expected in inside(*call.split(), "--dry-run").stdout
    told = json.loads(inside("run", "fails", "--dry-run", "--json").stdout)
    assert told["command"] == expected


def test_before_there_is_a_home_none_is_made(inside, tmp_path):
    place = tmp_path / "none"
    place.mkdir()
    (place / "maejobs.toml").write_text('crontab = "crontab"\n')
    done = inside("schedule", "pretrain", "0 2 * * *", "--dry-run", "--home", str(place))
    assert "+0 2 * * * " in done.stdout
    assert "would be made" in inside("init", "--dry-run", "--home", str(place)).stdout
    assert [path.name for path in place.iterdir()] == ["maejobs.toml"]
