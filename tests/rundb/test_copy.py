"""All history in another database: whole, of one moment, or not there."""

import json
from dataclasses import replace

import pytest
from databases import configure
from recorded_runs import a_run, row, rows

from maejobs.errors import UserError
from maejobs.home import Home
from maejobs.rundb import copy
from maejobs.rundb.check import find_problems
from maejobs.rundb.copy import copy_history
from maejobs.rundb.database import found_revision
from maejobs.rundb.ingest import ingest_directory
from maejobs.rundb.migrate import upgrade
from maejobs.rundb.record import set_job, write_run
from maejobs.rundb.schema import VIEWS

pytestmark = pytest.mark.both_databases


@pytest.fixture
def lived_in(home, engine) -> Home:
    directory = home.runs_dir / "pretrain"
    directory.mkdir()
    told = [
        {"event": "metric", "name": "loss", "step": 2**40, "value": 1 / 7, "time": 1.123456},
        {"event": "checkpoint", "path": "/c/step-1", "bytes": 2**40, "time": 2},
        {"event": "note", "text": "☃", "big": 2**70, "null": None, "time": 3},
    ]
    (directory / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in told))
    sample = {"event": "sample", "seconds": 15, "cpu": 1.5, "memory": 2**40, "time": 4}
    (directory / "samples.jsonl").write_text(json.dumps(sample) + "\n")
    set_job(engine, "pretrain", summary="a night’s work", schedule="0 2 * * *")
    write_run(engine, a_run(reason="it’s ☃"))
    ingest_directory(engine, a_run().id, directory)
    return home


@pytest.fixture
def other(tmp_path) -> Home:
    """A home with a file of its own, in which there is no table yet."""
    home = Home(tmp_path / "other")
    home.create_directories()
    configure(home)
    return home


def file_of(home: Home) -> str:
    return f"sqlite:///{home.database_file}"


def history(home: Home) -> dict[str, list]:
    return {view: rows(home, f"SELECT * FROM {view}") for view in VIEWS}


def test_what_goes_over_and_back_is_what_it_was(lived_in, other, new_home, tmp_path):
    counts = copy_history(lived_in, file_of(other))
    assert counts == dict.fromkeys(counts, 1)
    assert history(other) == history(lived_in)
    back = new_home(tmp_path / "back")
    copy_history(other, back.configured_database_url or file_of(back))
    assert history(back) == history(lived_in)
    assert find_problems(back) == []


def test_where_there_is_history_none_is_added(lived_in, other):
    copy_history(lived_in, file_of(other))
    for dry_run in (True, False):
        with pytest.raises(UserError, match="holds history already"):
            copy_history(lived_in, file_of(other), dry_run)
    assert row(other, "SELECT count(*) n FROM runs") == {"n": 1}


def test_an_older_database_is_somebodys_and_stays_as_it_is(lived_in, other):
    older = replace(other, configured_database_url=file_of(other))
    upgrade(older, "0003")
    with pytest.raises(UserError, match="holds history already"):
        copy_history(lived_in, file_of(other))
    assert found_revision(older) == "0003"


def test_a_dry_run_counts_and_makes_nothing(lived_in, other):
    assert copy_history(lived_in, file_of(other), dry_run=True)["metrics"] == 1
    assert not other.database_file.exists()


def test_it_is_of_one_moment_or_not_there(lived_in, other, engine, monkeypatch):
    copy_table = copy._copy

    def while_somebody_writes(old, new, table):
        count = copy_table(old, new, table)
        write_run(engine, a_run(job=f"while-{table.name}"))
        return count

    def break_down(old, new, table):
        copy_table(old, new, table)
        raise KeyboardInterrupt

    monkeypatch.setattr(copy, "_copy", break_down)
    with pytest.raises(KeyboardInterrupt):
        copy_history(lived_in, file_of(other))
    assert rows(other, "SELECT name FROM jobs") == []
    monkeypatch.setattr(copy, "_copy", while_somebody_writes)
    copy_history(lived_in, file_of(other))
    assert rows(other, "SELECT id FROM runs") == [{"id": a_run().id}]
