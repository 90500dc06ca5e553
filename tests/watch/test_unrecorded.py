"""Which runs are told by their directories alone; whatever else lies there."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from recorded_runs import NIGHT, a_run, row, rows

from maejobs.home import Home
from maejobs.launch.process import host_name
from maejobs.rundb.database import open_database
from maejobs.rundb.directory import LOG_NAME, SETTLING_SECONDS, keep_record
from maejobs.rundb.events import EVENTS_NAME
from maejobs.rundb.record import write_run
from maejobs.rundb.run import LOOK_BACK, LOST, MISSED, RUNNING, SUCCEEDED, Run
from maejobs.watch import unrecorded
from maejobs.watch.reconcile import reconcile
from maejobs.watch.unrecorded import unrecorded_runs

NAME = "pretrain-20260301T0200Z-1"


def directory_of(home: Home, name: str = NAME, job: str = "pretrain") -> Path:
    directory = home.runs_dir / job / name
    directory.mkdir(parents=True)
    return directory


def started(directory: Path, seconds_ago: float = SETTLING_SECONDS + 60) -> Path:
    """As of a run that had no room for its record."""
    (directory / LOG_NAME).touch()
    changed = datetime.now(UTC).timestamp() - seconds_ago
    os.utime(directory, (changed, changed))
    return directory


def found(home: Home) -> list[Run]:
    with open_database(home) as engine:
        return list(unrecorded_runs(home, engine))


def names(home: Home) -> list[str]:
    return [run.id for run in found(home)]


def test_a_record_that_the_database_lacks_is_taken_as_it_is(home):
    run = a_run(directory=str(directory_of(home)), state=SUCCEEDED, finished=NIGHT)
    keep_record(Path(run.directory), run)
    assert found(home) == [run]


@pytest.mark.parametrize(("state", "is_found"), [(MISSED, True), (LOST, False), (RUNNING, False)])
def test_only_a_slot_that_nobody_started_is_no_record_of_it(home, state, is_found):
    keep_record(directory_of(home), a_run())
    with open_database(home) as engine:
        write_run(engine, a_run(state=state))
    assert names(home) == [NAME] * is_found


def test_without_a_record_the_name_tells_the_slot_and_the_log_that_it_was_started(home):
    started(directory_of(home))
    directory_of(home, "pretrain-20260302T0200Z-1")  # was never started
    (run,) = found(home)
    assert (run.id, run.slot, run.attempt, run.trigger) == (NAME, NIGHT, 1, "cron")
    assert (run.state, run.host) == (RUNNING, host_name())


def test_one_by_hand_has_no_slot(home):
    started(directory_of(home, "pretrain-20260301T020000Z-m"))
    (run,) = found(home)
    assert (run.slot, run.trigger) == (None, "manual")


@pytest.mark.parametrize("name", ["20261399T0200Z-1", "20260230T0200Z-1", "00000101T0200Z-1"])
def test_a_date_that_is_none_is_no_slot_and_hides_no_other_run(home, name):
    started(directory_of(home, f"pretrain-{name}"))
    started(directory_of(home))
    assert {run.id: run.slot for run in found(home)} == {f"pretrain-{name}": None, NAME: NIGHT}


def test_one_that_is_being_started_or_still_runs_is_let_be(home, monkeypatch):
    started(directory_of(home), seconds_ago=0)
    started(directory_of(home, "pretrain-20260302T0200Z-1"))
    monkeypatch.setattr(unrecorded, "somebody_has", lambda words: words.endswith("0302T0200Z-1"))
    assert names(home) == []


def test_what_is_older_than_a_month_is_not_looked_at(home):
    started(directory_of(home), LOOK_BACK.total_seconds() + 60)
    assert names(home) == []


@pytest.mark.fault
def test_another_s_record_and_names_that_are_none_tell_nothing(home):
    keep_record(directory_of(home, "pretrain-20260302T0200Z-1"), a_run())
    keep_record(directory_of(home, NAME, "other"), a_run())
    for name in (b"\xff\xfe", b"two words", b"a\nb"):
        odd = Path(os.fsdecode(os.fsencode(home.runs_dir / "pretrain") + b"/" + name))
        odd.mkdir(parents=True)
        started(odd)
    (home.runs_dir / "pretrain" / "file").touch()
    (home.runs_dir / "linked").symlink_to(home.runs_dir / "other")
    started(home.runs_dir / "pretrain" / "pretrain-20260302T0200Z-1")
    assert names(home) == []


@pytest.mark.fault
def test_a_directory_that_goes_meanwhile_is_no_trouble(home, monkeypatch):
    keep_record(directory_of(home), a_run())
    gone = directory_of(home, "pretrain-20260302T0200Z-1")
    entries = unrecorded._entries

    def last_seen(parent):
        listed = entries(parent)
        if gone.exists() and len(listed) == 2:
            gone.rmdir()
        return listed

    monkeypatch.setattr(unrecorded, "_entries", last_seen)
    assert names(home) == [NAME]


@pytest.mark.fault
@pytest.mark.parametrize(("ending", "state"), [("completed", SUCCEEDED), ("diverged", LOST)])
def test_reconcile_judges_it_by_its_events_and_once(home, ending, state):
    directory = directory_of(home)
    (directory / EVENTS_NAME).write_text(f'{{"event": "outcome", "status": "{ending}"}}\n')
    started(directory)
    assert reconcile(home).taken_up == [NAME]
    assert row(home, "SELECT state, outcome FROM runs") == {"state": state, "outcome": ending}
    again = reconcile(home)
    assert (again.taken_up, again.lost, again.ended_well) == ([], [], [])
    assert rows(home, "SELECT count(*) n FROM events") == [{"n": 1}]
