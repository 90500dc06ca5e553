"""What is wrong with a database is found, a line each; a sound one has nothing to be told of."""

import pytest
from databases import change
from recorded_runs import a_run

from maejobs.home import Home
from maejobs.rundb.check import find_problems
from maejobs.rundb.database import DatabaseUnavailable, place_of
from maejobs.rundb.ingest import ingest
from maejobs.rundb.record import write_run
from maejobs.rundb.schema import metadata

EVENTS = """\
{"event": "metric", "name": "loss", "step": 5, "value": 0.25}
{"event": "checkpoint", "path": "c/5", "step": 5}
{"event": "note", "text": "hello"}
"""


@pytest.fixture
def lived_in(home, engine) -> Home:
    stream = home.root / "events.jsonl"
    stream.write_text(EVENTS)
    for night in range(3):
        write_run(engine, a_run(night=night))
        ingest(engine, a_run(night=night).id, stream)
    return home


@pytest.mark.parametrize("quick", [True, False])
def test_a_sound_database_has_no_problems(lived_in, quick):
    assert find_problems(lived_in, quick) == []


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("DELETE FROM jobs", "3 rows of runs belong to jobs that are not there"),
        (
            "DELETE FROM runs WHERE id = 'pretrain-20260301T0200Z-1'",
            "1 rows of metrics belong to runs that are not there",
        ),
        ("UPDATE jobs SET last_run = 'x'", "the last run of 1 jobs is not there"),
        ("DROP VIEW v_runs", "view v_runs is not there"),
        ("DROP INDEX ix_runs_queued", "index ix_runs_queued is not there"),
        ("DROP VIEW v_events; DROP TABLE events", "table events is not there"),
        pytest.param(
            "DROP VIEW v_events; CREATE VIEW v_events AS SELECT * FROM nowhere",
            "nowhere",
            marks=pytest.mark.sqlite("PostgreSQL has no view of what is not there"),
        ),
    ],
)
def test_what_does_not_fit_is_told(lived_in, statement, problem):
    change(lived_in, *statement.split("; "))
    found = find_problems(lived_in)
    assert any(problem in line for line in found), found
    assert all(line.startswith(f"run database {place_of(lived_in)}: ") for line in found)


def test_every_table_that_belongs_to_a_run_is_looked_at(lived_in):
    change(lived_in, "DELETE FROM runs")
    found = " ".join(find_problems(lived_in))
    children = {
        table.name
        for table in metadata.sorted_tables
        if any(key.column.table.name == "runs" for key in table.foreign_keys)
    }
    assert {"metrics", "checkpoints", "events"} <= children
    for name in ("metrics", "checkpoints", "events"):
        assert f"3 rows of {name} belong to runs that are not there" in found


@pytest.mark.fault
@pytest.mark.sqlite("its indexes are held against its tables; PostgreSQL looks after its own")
def test_an_index_that_disagrees_with_its_table_takes_the_full_check(lived_in):
    change(
        lived_in,
        "PRAGMA writable_schema = ON",
        # Now the index claims to hold what it does not.
        "UPDATE sqlite_master SET sql = replace(sql, 'queued DESC', 'started DESC') "
        "WHERE name = 'ix_runs_queued'",
    )
    assert any("ix_runs_queued" in line for line in find_problems(lived_in))
    assert find_problems(lived_in, quick=True) == []


@pytest.mark.fault
@pytest.mark.sqlite("damages pages of its file")
def test_damaged_pages_are_told_in_lines_and_without_a_traceback(lived_in):
    size = lived_in.database_file.stat().st_size
    with lived_in.database_file.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * (size // 2))
    try:
        found = find_problems(lived_in)
    except DatabaseUnavailable as error:
        found = [str(error)]
    assert found
    assert not any("\n" in line for line in found)


def test_one_of_another_version_is_not_judged(home):
    change(home, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseUnavailable, match="newer than this maejobs"):
        find_problems(home)
