"""What is written out is what the views hold, in batches, and Parquet says the same as JSON."""

import json
from datetime import timedelta

import pytest
from recorded_runs import NIGHT, a_run, rows

from maejobs.errors import UserError
from maejobs.rundb import export
from maejobs.rundb.export import Export, write_json_lines, write_parquet
from maejobs.rundb.ingest import ingest
from maejobs.rundb.record import write_run
from maejobs.rundb.schema import VIEWS, samples

EVENTS = """\
{"event": "metric", "name": "loss", "step": 5, "value": 0.25, "time": 1772330500}
{"event": "metric", "name": "loss", "step": 6, "value": NaN, "time": 1772330600}
{"event": "checkpoint", "path": "c/5", "step": 5, "bytes": 9, "sha256": "a", "time": 1772330600}
{"event": "note", "text": "é \\u001b[31m", "more": {"deep": [1, null]}, "time": 1772330700}
"""
NAMES = [view.removeprefix("v_") for view in VIEWS]


@pytest.fixture
def full(engine, home):
    stream = home.root / "events.jsonl"
    stream.write_text(EVENTS)
    for night in range(7):
        write_run(engine, a_run(night=night, reason=None if night < 5 else "why"))
        run = a_run(night=night).id
        ingest(engine, run, stream)
        with engine.begin() as connection:
            sample = {"run": run, "offset": 0, "time": NIGHT, "seconds": 15.0, "memory": 1 << 20}
            connection.execute(samples.insert(), sample | ({"cpu": 0.5} if night > 3 else {}))
    return engine


def exported(engine, name, since=None):
    return [row for batch in Export(engine, name, since).batches() for row in batch]


@pytest.mark.parametrize("name", NAMES)
def test_json_lines_hold_every_row_and_column_of_the_view(full, home, tmp_path, name, monkeypatch):
    monkeypatch.setattr(export, "BATCH", 2)
    written = Export(full, name)
    assert write_json_lines(written, tmp_path / "x") == written.count()
    text = (tmp_path / "x").read_text()
    assert text.isascii()
    found = [json.loads(line) for line in text.splitlines()]
    stored = rows(home, f"SELECT * FROM v_{name}")
    for row in stored:
        if "body" in row:
            row["body"] = json.loads(row["body"])
    assert found == stored
    assert found


def test_rows_come_in_batches(full, monkeypatch):
    monkeypatch.setattr(export, "BATCH", 3)
    assert [len(batch) for batch in Export(full, "runs").batches()] == [3, 3, 1]


def test_since_leaves_out_what_is_older(full):
    since = NIGHT + timedelta(days=4)
    found = {row["run"] for row in exported(full, "runs", since)}
    assert found == {a_run(night=night).id for night in (4, 5, 6)}
    assert exported(full, "metrics", since) == []


def test_jobs_are_of_no_time(full):
    with pytest.raises(UserError, match="leave --since out"):
        Export(full, "jobs", NIGHT)


@pytest.mark.parametrize("name", NAMES)
def test_parquet_says_the_same_whatever_the_first_batch_lacks(full, tmp_path, name, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    monkeypatch.setattr(export, "BATCH", 2)
    count = write_parquet(Export(full, name), tmp_path / "x.parquet")
    table = parquet.read_table(tmp_path / "x.parquet")
    expected = exported(full, name)
    for row in expected:
        if "body" in row:
            row["body"] = json.dumps(row["body"])
    assert table.to_pylist() == expected
    assert count == len(expected) > 0
    kinds = {field.name: str(field.type) for field in table.schema}
    assert set(kinds.values()) <= {"string", "int64", "double"}
    if name == "runs":
        assert (kinds["reason"], kinds["attempt"]) == ("string", "int64")
        assert kinds["duration"] == kinds["slot"] == "double"


def test_parquet_of_no_rows_has_its_columns(engine, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    assert write_parquet(Export(engine, "runs"), tmp_path / "x.parquet") == 0
    assert "failure_class" in parquet.read_schema(tmp_path / "x.parquet").names
