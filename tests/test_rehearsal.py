"""A rehearsal's stage: the jobs we ship, made to fit nights of seconds."""

import os
from datetime import timedelta

import pytest

from maejobs import rehearsal
from maejobs.errors import MaejobsError
from maejobs.jobs.load import job_names, load_job
from maejobs.rehearsal import set_stage
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
