"""Migrations: up, down, at once, killed half way, and in step with the schema."""

import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from databases import change, is_postgresql
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorded_runs import a_run, row, rows
from sqlalchemy import Column, Integer, MetaData, inspect

from maejobs.home import Home
from maejobs.rundb.database import (
    DatabaseUnavailable,
    engine_of,
    found_revision,
    open_database,
    protect_file,
    reading,
)
from maejobs.rundb.migrate import downgrade, head, upgrade
from maejobs.rundb.record import write_run
from maejobs.rundb.samples import ingest_samples
from maejobs.rundb.schema import REVISION, metadata

UPGRADE = """
import sys
from maejobs.home import open_home
from maejobs.rundb.migrate import upgrade
home = open_home(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
upgrade(home)
"""
VIEWS = ("v_jobs", "v_runs", "v_metrics", "v_checkpoints", "v_events")
LATER_COLUMNS = (
    "failure_class",
    "pace",
    "energy",
    "gpu_utilisation",
    "peak_gpu_memory",
    "peak_tree_memory",
    "bytes_read",
    "bytes_written",
)
A_RUN_OF_0001 = """
INSERT INTO jobs (name, summary) VALUES ('pretrain', 'nights');
INSERT INTO runs (id, job, slot, attempt, trigger, state, host, queued, directory, step,
                  events_offset, broken_events)
    VALUES ('old', 'pretrain', 1.5, 1, 'cron', 'failed', 'here', 1.5, '/x', 7, 99, 1);
INSERT INTO metrics VALUES ('old', 0, 'loss', 7, 0.25, 2.5);
INSERT INTO checkpoints VALUES ('old', 9, '/c', 7, 5, 'ab', 3.5);
INSERT INTO events VALUES ('old', 18, 'note', '{}', 4.5);
"""
LATER = ["0002", "0003", "0004"]  # revisions with a way down


def differences(home: Home, schema: MetaData) -> list:
    engine = engine_of(home)
    with reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        found = compare_metadata(context, schema)
    engine.dispose()
    return found


def objects(home: Home) -> dict[str, object]:
    """Every table and view, with its columns and indexes."""
    engine = engine_of(home)
    found = inspect(engine)
    names = [*found.get_table_names(), *found.get_view_names()]
    parts = {
        name: (
            [(column["name"], str(column["type"])) for column in found.get_columns(name)],
            sorted((index["name"], *index["column_names"]) for index in found.get_indexes(name)),
        )
        for name in names
    }
    engine.dispose()
    return parts


def start_upgrade(home: Home) -> subprocess.Popen[str]:
    upgrader = subprocess.Popen(
        [sys.executable, "-c", UPGRADE, str(home.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert upgrader.stdout.readline() == "ready\n"
    return upgrader


def test_the_code_reads_what_the_newest_migration_makes():
    assert head() == REVISION


@pytest.mark.both_databases
def test_migrations_and_schema_do_not_drift(home):
    assert differences(home, metadata) == []


def test_drift_would_be_noticed(home):
    drifted = MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.sorted_tables:
        table.to_metadata(drifted)
    drifted.tables["runs"].append_column(Column("planet", Integer))
    drifted.tables["metrics"].indexes.clear()
    assert {difference[0] for difference in differences(home, drifted)} == {
        "add_column",
        "remove_index",
    }


@pytest.mark.both_databases
def test_down_and_up_again_makes_the_very_same_database(home):
    before = objects(home)
    downgrade(home, "base")
    assert list(objects(home)) == ["alembic_version"]
    upgrade(home)
    assert objects(home) == before


def test_an_upgrade_of_what_is_up_to_date_changes_nothing(home, engine):
    write_run(engine, a_run())
    upgrade(home)
    assert row(home, "SELECT count(*) n FROM runs") == {"n": 1}
    assert found_revision(home) == REVISION


def test_a_revision_that_does_not_exist_is_said_not_to(home):
    with pytest.raises(DatabaseUnavailable, match="xyzzy"):
        upgrade(home, "xyzzy")


@pytest.mark.both_databases
def test_what_a_database_holds_survives_the_way_up_and_down(bare):
    """From a populated one of each revision to the newest, back, and up again."""
    upgrade(bare, "0001")
    change(bare, *filter(str.strip, A_RUN_OF_0001.split(";")))
    before = {view: rows(bare, f"SELECT * FROM {view}") for view in VIEWS}
    assert all(len(found) == 1 for found in before.values())
    columns = list(before["v_runs"][0])

    for revision in LATER:
        upgrade(bare, revision)
        assert rows(bare, "SELECT run, step FROM v_runs") == [{"run": "old", "step": 7}]
    upgrade(bare)
    (run,) = rows(bare, "SELECT * FROM v_runs")
    assert run == before["v_runs"][0] | dict.fromkeys(LATER_COLUMNS)
    assert list(run) == [*columns, *LATER_COLUMNS]
    with open_database(bare) as engine:
        later = a_run(id="new", attempt=3, failure_class="xid", pace="slow", energy=3.6e6)
        write_run(engine, later)
        file = bare.root / "samples.jsonl"
        file.write_text('{"event": "sample", "seconds": 15, "cpu": 1.5, "memory": 7}\n')
        ingest_samples(engine, "new", file)
        ingest_samples(engine, "old", file)  # its offset is from before there was one
    (new, old) = rows(bare, "SELECT run, cpu, memory_peak FROM v_samples ORDER BY run")
    assert new == {"run": "new", "cpu": 1.5, "memory_peak": 7} == old | {"run": "new"}

    for revision in [*reversed(LATER), "0001"]:
        downgrade(bare, revision)
        found = rows(bare, "SELECT run FROM v_runs ORDER BY queued")
        assert found == [{"run": "old"}, {"run": "new"}]
    for view in set(VIEWS) - {"v_runs", "v_jobs"}:
        assert rows(bare, f"SELECT * FROM {view}") == before[view]
    upgrade(bare)
    assert differences(bare, metadata) == []


@pytest.mark.fault
@pytest.mark.both_databases
def test_several_upgrades_at_once_are_safe(bare):
    count = 3 if is_postgresql(bare) else 6
    upgraders = [start_upgrade(bare) for _ in range(count)]
    for upgrader in upgraders:
        upgrader.stdin.write("\n")
        upgrader.stdin.flush()
    errors = [upgrader.communicate(timeout=60)[1] for upgrader in upgraders]
    assert errors == [""] * count
    assert [upgrader.returncode for upgrader in upgraders] == [0] * count
    assert row(bare, "SELECT version_num FROM alembic_version") == {"version_num": REVISION}
    assert differences(bare, metadata) == []


@pytest.mark.fault
@pytest.mark.sqlite("it would not wait by itself")
def test_a_new_file_that_somebody_is_just_filling_is_waited_for(tmp_path):
    home = Home(tmp_path / "home")
    home.create_directories()
    filling = sqlite3.connect(home.database_file, isolation_level=None, check_same_thread=False)
    filling.execute("CREATE TABLE recipes (name)")
    filling.execute("BEGIN IMMEDIATE")  # for which SQLite would not wait
    timer = threading.Timer(0.5, filling.execute, ["COMMIT"])
    timer.start()
    upgrade(home)
    timer.join()
    filling.close()
    assert found_revision(home) == REVISION


@pytest.mark.fault
@pytest.mark.parametrize("delay", [0.005, 0.02, 0.05, 0.1])
def test_an_upgrade_that_is_killed_leaves_all_or_nothing(bare, delay):
    upgrader = start_upgrade(bare)
    upgrader.stdin.write("\n")
    upgrader.stdin.flush()
    time.sleep(delay)
    upgrader.kill()
    upgrader.communicate(timeout=60)
    assert found_revision(bare) in (None, REVISION)
    upgrade(bare)
    assert differences(bare, metadata) == []


@pytest.mark.fault
def test_an_upgrade_that_fails_half_way_leaves_nothing(bare):
    protect_file(bare, engine_of(bare))
    change(bare, "CREATE TABLE v_samples (in_the_way integer)")  # the last thing that is made
    with pytest.raises(DatabaseUnavailable, match="v_samples"):
        upgrade(bare)
    assert list(objects(bare)) == ["v_samples"]


@settings(deadline=None, max_examples=5, suppress_health_check=list(HealthCheck))
@given(st.permutations(["up", "up", "down"]))
def test_any_order_of_moves_ends_where_the_last_one_says(bare, moves):
    upgrade(bare)
    for move in moves:
        upgrade(bare) if move == "up" else downgrade(bare, "base")
    assert found_revision(bare) == (REVISION if moves[-1] == "up" else None)
