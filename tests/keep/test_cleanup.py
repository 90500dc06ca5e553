"""Which run directories go, and that a running run's never does."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maejobs.errors import UserError
from maejobs.keep.cleanup import RunDirectory, clean_up, plan_cleanup

from .campaigns import refuse_to_delete, snapshot, write_checkpoint

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def nobody(path: Path) -> bool:
    return False


def write_run(runs: Path, job: str, run: str, days_old: float, size: int = 100) -> Path:
    path = runs / job / run
    path.mkdir(parents=True)
    (path / "log").write_bytes(b"x" * size)
    os.utime(path / "log", ((NOW - timedelta(days=days_old)).timestamp(),) * 2)
    return path


def runs_in(runs: Path) -> list[str]:
    return sorted(f"{path.parent.name}/{path.name}" for path in runs.glob("*/*"))


def test_runs_past_their_age_go_and_each_jobs_newest_stays(tmp_path):
    write_run(tmp_path, "pretrain", "a", days_old=50)
    write_run(tmp_path, "pretrain", "b", days_old=40)
    write_run(tmp_path, "pretrain", "c", days_old=1)
    write_run(tmp_path, "yearly", "d", days_old=300)

    report = clean_up(tmp_path, NOW, 30, None, nobody)

    assert runs_in(tmp_path) == ["pretrain/c", "yearly/d"]
    assert [(r.path.name, r.bytes, r.reason) for r in report.removed] == [
        ("a", 100, "50 days old"),
        ("b", 100, "40 days old"),
    ]
    assert (report.kept, report.freed, report.kept_bytes) == (2, 200, 200)


@pytest.mark.parametrize(("max_bytes", "max_count"), [(200, None), (None, 2)])
def test_what_a_clock_wrote_that_was_ahead_takes_no_later_runs_place(
    tmp_path, max_bytes, max_count
):
    for name, days_old in (("a", -400), ("b", -399), ("c", 1), ("d", 0)):
        write_run(tmp_path, "pretrain", name, days_old)
    clean_up(tmp_path, NOW, 30, max_bytes, nobody, max_count=max_count)
    assert runs_in(tmp_path) == ["pretrain/c", "pretrain/d"]


def test_what_another_clean_up_takes_away_meanwhile_is_passed_over(tmp_path):
    for name in "abc":
        write_run(tmp_path, "pretrain", name, days_old=50)

    def is_active(path: Path) -> bool:
        if path.name == "b" and path.exists():
            path.rename(path.with_name(".trash-b"))
        return False

    assert [r.path.name for r in clean_up(tmp_path, NOW, 30, None, is_active).removed] == ["a"]


def test_too_large_a_total_costs_the_oldest_first(tmp_path):
    for name, days_old in (("a", 4), ("b", 3), ("c", 2), ("d", 1)):
        write_run(tmp_path, "pretrain", name, days_old)

    report = clean_up(tmp_path, NOW, None, 200, nobody)

    assert runs_in(tmp_path) == ["pretrain/c", "pretrain/d"]
    assert report.removed[0].reason == "all runs together take more than 200 bytes"


def test_a_total_just_within_its_bound_costs_nothing(tmp_path):
    write_run(tmp_path, "pretrain", "a", 2)
    write_run(tmp_path, "pretrain", "b", 1)

    assert clean_up(tmp_path, NOW, 30, 200, nobody).removed == []


def test_each_job_keeps_its_newest_by_number(tmp_path):
    for name, days_old in (("a", 4), ("b", 3), ("c", 2), ("d", 1)):
        write_run(tmp_path, "pretrain", name, days_old)
    write_run(tmp_path, "yearly", "e", days_old=300)

    report = clean_up(tmp_path, NOW, None, None, nobody, protected={"b"}, max_count=2)

    assert runs_in(tmp_path) == ["pretrain/b", "pretrain/c", "pretrain/d", "yearly/e"]
    assert report.removed[0].reason == "not of the newest 2 of its job"


def test_a_running_run_stays_however_old_and_large(tmp_path):
    active = write_run(tmp_path, "pretrain", "a", 90, size=10_000)
    write_run(tmp_path, "pretrain", "b", 80)
    write_run(tmp_path, "pretrain", "c", 1)

    clean_up(tmp_path, NOW, 30, 0, lambda path: path == active)

    assert runs_in(tmp_path) == ["pretrain/a", "pretrain/c"]


def test_a_run_taken_up_again_meanwhile_stays(tmp_path):
    write_run(tmp_path, "pretrain", "a", 90)
    write_run(tmp_path, "pretrain", "b", 1)
    answers = iter([False, False, True])

    report = clean_up(tmp_path, NOW, 30, None, lambda path: next(answers))

    assert runs_in(tmp_path) == ["pretrain/a", "pretrain/b"]
    assert (report.removed, report.kept) == ([], 2)


def test_protected_runs_stay(tmp_path):
    write_run(tmp_path, "pretrain", "a", 90)
    write_run(tmp_path, "pretrain", "b", 1)

    assert clean_up(tmp_path, NOW, 30, 0, nobody, protected={"a"}).removed == []


def test_a_run_that_holds_checkpoints_stays(tmp_path):
    run = write_run(tmp_path, "pretrain", "a", 90)
    write_checkpoint(run / "campaign", 1)
    newest = write_run(tmp_path, "pretrain", "b", 1)
    (newest / "log").touch()

    clean_up(tmp_path, datetime.now(UTC) + timedelta(days=90), 30, 0, nobody)

    assert (run / "campaign" / "checkpoints" / "step-000000001" / "state.pt").exists()


def test_a_run_is_as_old_as_its_newest_file(tmp_path):
    run = write_run(tmp_path, "pretrain", "a", 90)
    (run / "artefacts").mkdir()
    recent = run / "artefacts" / "late"
    recent.touch()
    os.utime(recent, (NOW.timestamp(),) * 2)
    write_run(tmp_path, "pretrain", "b", -1)

    assert clean_up(tmp_path, NOW, 30, None, nobody).removed == []


def test_a_dry_run_foretells_and_touches_nothing(tmp_path):
    for name, days_old in (("a", 90), ("b", 3), ("c", 2)):
        write_run(tmp_path, "pretrain", name, days_old)
    before = snapshot(tmp_path)

    foretold = clean_up(tmp_path, NOW, 30, 150, nobody, dry_run=True)

    assert snapshot(tmp_path) == before
    assert foretold.removed == clean_up(tmp_path, NOW, 30, 150, nobody).removed
    assert runs_in(tmp_path) == ["pretrain/c"]


def test_links_are_neither_followed_nor_counted(tmp_path):
    runs = tmp_path / "runs"
    treasure = write_run(tmp_path, "elsewhere", "treasure", 90, size=10**6)
    old = write_run(runs, "pretrain", "a", 90)
    (old / "link").symlink_to(treasure)
    (old / "linked-log").symlink_to(treasure / "log")
    os.utime(
        old / "linked-log", ((NOW - timedelta(days=90)).timestamp(),) * 2, follow_symlinks=False
    )
    (runs / "pretrain" / "latest").symlink_to(treasure)
    (runs / "linked-job").symlink_to(treasure.parent)
    write_run(runs, "pretrain", "b", 1)
    before = snapshot(treasure)

    report = clean_up(runs, datetime.now(UTC) + timedelta(days=90), 30, None, nobody)

    assert [removal.path for removal in report.removed] == [old]
    assert report.freed < 1000
    assert snapshot(treasure) == before
    assert (runs / "pretrain" / "latest").is_symlink()


def test_trash_of_a_killed_clean_up_is_swept_with_the_next(tmp_path):
    write_run(tmp_path, "pretrain", ".trash-z", 90)
    write_run(tmp_path, "pretrain", "a", 90)
    write_run(tmp_path, "pretrain", "b", 1)

    clean_up(tmp_path, NOW, 30, None, nobody)

    assert [path.name for path in (tmp_path / "pretrain").iterdir()] == ["b"]


def test_no_runs_yet_is_fine(tmp_path):
    assert clean_up(tmp_path / "runs", NOW, 30, 0, nobody).removed == []
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("age", "size"), [(-1, None), (None, -1)])
def test_a_negative_limit_deletes_nothing(tmp_path, age, size):
    write_run(tmp_path, "pretrain", "a", 90)
    write_run(tmp_path, "pretrain", "b", 1)

    with pytest.raises(UserError, match="negative"):
        clean_up(tmp_path, NOW, age, size, nobody)
    assert len(runs_in(tmp_path)) == 2


RUNS = st.lists(
    st.tuples(
        st.sampled_from("xyz"),
        st.integers(0, 1000),
        st.integers(0, 100),
        st.sampled_from([None, None, "active"]),
    ),
    max_size=12,
).map(
    lambda drawn: [
        RunDirectory(Path(job) / str(i), job, size, NOW - timedelta(days=days), held)
        for i, (job, size, days, held) in enumerate(drawn)
    ]
)


@given(RUNS, st.integers(0, 100), st.integers(0, 5000))
def test_held_and_newest_runs_stay_and_the_bound_holds_for_the_rest(runs, max_age, max_bytes):
    removed = {removal.path for removal in plan_cleanup(runs, NOW, max_age, max_bytes)}
    left = [run for run in runs if run.path not in removed]

    assert all(run in left for run in runs if run.held)
    assert {run.job for run in left} == {run.job for run in runs}
    for job in {run.job for run in runs}:
        newest = max(run.newest for run in runs if run.job == job)
        assert any(run.newest == newest for run in left if run.job == job)
    # Whoever is left beyond these is within both limits.
    spare = len(left) - sum(1 for run in left if run.held) - len({run.job for run in left})
    if spare > 0:
        assert sum(run.bytes for run in left) <= max_bytes


@given(RUNS, st.integers(0, 50), st.integers(0, 2500), st.integers(0, 50), st.integers(0, 2500))
def test_wider_limits_remove_less(runs, age, size, more_age, more_size):
    narrow = plan_cleanup(runs, NOW, age, size)
    wide = plan_cleanup(runs, NOW, age + more_age, size + more_size)

    assert {r.path for r in wide} <= {r.path for r in narrow}


def test_what_cannot_be_deleted_keeps_nothing_else_from_going(tmp_path, monkeypatch):
    for name, days_old in (("a", 90), ("b", 80), ("c", 70), ("d", 1)):
        write_run(tmp_path, "pretrain", name, days_old)
    refuse_to_delete("a", monkeypatch)

    report = clean_up(tmp_path, NOW, 75, None, nobody)
    again = clean_up(tmp_path, NOW, 60, None, nobody)

    assert [[removal.path.name for removal in one.removed] for one in (report, again)] == [
        ["b"],
        ["c"],
    ]
    (line,) = report.undeleted
    assert (
        line
        == f"{tmp_path}/pretrain/.trash-a: cannot be deleted: Operation not permitted (of-root)"
    )
    assert again.undeleted == report.undeleted
