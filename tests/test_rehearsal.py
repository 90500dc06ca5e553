"""A rehearsal's stage: the jobs we ship, made to fit nights of seconds."""

import os
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from running import lives

from maejobs import clock, rehearsal
from maejobs.cron.block import Entry, render_block
from maejobs.cron.fires import ZONE_VARIABLE
from maejobs.errors import MaejobsError
from maejobs.jobs.load import job_names, load_job
from maejobs.rehearsal import Firing, firings, set_stage, start_as_cron
from maejobs.shipped import shipped


@pytest.fixture
def jobs_dir(tmp_path):
    return set_stage(tmp_path / "stage", night_seconds=40).home().jobs_dir


def test_every_shipped_job_is_on_stage_and_valid(jobs_dir):
    assert job_names(jobs_dir) == job_names(shipped("jobs.d"))
    for name in job_names(jobs_dir):
        load_job(jobs_dir, name)


def test_its_nights_are_short_and_train_on_the_sample(jobs_dir):
    pretrain = load_job(jobs_dir, "pretrain")
    assert (pretrain.timeout, pretrain.until) == (timedelta(seconds=40), None)
    assert pretrain.command[pretrain.command.index("--data") + 1] == "sample"


def test_it_keeps_fewer_checkpoints_than_there_are_nights(jobs_dir):
    command = load_job(jobs_dir, "rotate").command
    assert command[command.index("--keep-last") + 1] == "1"
    assert command[command.index("--daily") + 1] == "0"
    assert "--weekly" not in command


def test_the_other_jobs_are_as_shipped(jobs_dir):
    for name in set(job_names(jobs_dir)) - {"pretrain", "rotate"}:
        shipped_text = (shipped("jobs.d") / f"{name}.toml").read_text()
        assert (jobs_dir / f"{name}.toml").read_text() == shipped_text


def test_its_lines_fire_on_the_clock_that_they_count_their_slots_by(tmp_path, monkeypatch):
    """They are started without the `TZ` of whoever looks on."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv(ZONE_VARIABLE, "Europe/Berlin")
    stage = set_stage(tmp_path / "stage", night_seconds=40)
    monkeypatch.setattr(rehearsal, "POLL_SECONDS", 0.01)
    seen = tmp_path / "seen"
    command = f"printenv MAEJOBS_ZONE TZ > {seen}; exit 3; maejobs --home {stage.home_dir}"
    table = render_block([Entry("pretrain", "0 2 * * *", command)])
    (stage.home_dir / "crontab").write_bytes(table)
    (firing,) = firings(stage, nights=1)
    assert f"{firing.at.astimezone(ZoneInfo('Europe/Berlin')):%H:%M}" == "02:00"
    assert start_as_cron(stage, firing, lambda: None) == 3
    assert seen.read_text() == "Europe/Berlin\n"


def test_who_interrupts_it_leaves_nothing_running(tmp_path, monkeypatch):
    monkeypatch.setattr(rehearsal, "POLL_SECONDS", 0.02)
    stage = set_stage(tmp_path / "stage", night_seconds=40)
    started = tmp_path / "started"
    command = f"sh -c 'echo $$ > {started}; exec sleep 60'; true"

    def interrupt() -> None:
        if started.exists() and started.read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start_as_cron(stage, Firing(clock.now(), Entry("x", "* * * * *", command)), interrupt)
    assert not lives(int(started.read_text()))


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ("pretrain", 'until = "06:00"'),
        ("pretrain", '"--data", "auto"'),
        ("rotate", '"--keep-last", "3"'),
        ("rotate", '"--weekly", "4"'),
    ],
)
def test_a_shipped_job_that_cannot_be_made_to_fit_is_named(tmp_path, monkeypatch, job, words):
    changed = tmp_path / "jobs.d"
    changed.mkdir()
    for source in shipped("jobs.d").glob("*.toml"):
        text = source.read_text()
        (changed / source.name).write_text(text.replace(words, ""))
    monkeypatch.setattr(rehearsal, "shipped", lambda _name: changed)

    with pytest.raises(MaejobsError, match=rf"jobs\.d/{job}\.toml: .*{words.split()[0]}"):
        set_stage(tmp_path / "stage", night_seconds=40)
    assert not (tmp_path / "stage").exists()


def test_a_shipped_job_that_hangs_is_stopped(jobs_dir):
    for job in (load_job(jobs_dir, name) for name in job_names(jobs_dir)):
        patience = [limit for limit in (job.timeout, job.stall_after) if limit]
        assert patience, f"{job.name} could hang until somebody looks"
        assert min(patience) <= timedelta(hours=3)


def test_all_of_it_is_private(tmp_path):
    before = os.umask(0o022)
    try:
        root = set_stage(tmp_path / "stage", night_seconds=40).root
    finally:
        os.umask(before)
    assert [p for p in (root, *root.rglob("*")) if p.stat().st_mode & 0o077] == []
