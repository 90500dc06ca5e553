"""`maejobs db` as a user meets it."""

import json
import re
import stat
import sys
from pathlib import Path

import pytest
from databases import change, content_of_copy
from running import shell

from maejobs.cli.export import TABLES
from maejobs.rundb import network_disk
from maejobs.rundb.database import place_of

SECRET = "hunter2-and-more"


def test_a_home_on_a_network_disk_is_not_made(home, inside, monkeypatch, tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"nas:/export {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(network_disk, "MOUNTS", mounts)
    done = inside("init", "--home", str(tmp_path / "new"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("maejobs: run database ")
    assert "nas:/export" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()


@pytest.fixture
def lived_in(home, write_job, inside):
    """A home with a run whose job has secrets, in its file, its `env_file` and its command."""
    write_job(
        "quick",
        shell(f"echo {SECRET} $FROM_FILE")
        + 'env_file = "secrets"\n'
        + f'env = {{ API_KEY = "{SECRET}" }}\n',
    )
    (home.root / "secrets").write_text("FROM_FILE=from-the-file\n")
    (home.root / "secrets").chmod(0o600)
    assert inside("run", "quick").returncode == 0
    return home


def test_no_secret_is_in_what_is_written_out(lived_in, inside, tmp_path):
    told = "".join(inside("db", "export", table).stdout for table in TABLES)
    made = json.loads(inside("db", "backup", str(tmp_path / "b"), "--json").stdout)
    told += content_of_copy(Path(made["path"]))
    assert "***" in told
    assert SECRET not in told
    assert "from-the-file" not in told


def test_what_can_be_exported_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "database.md").read_text()
    (told,) = re.findall(r"writes a view out as [^:]+: ([^,]+(?:,[^,]+)+), with the columns", page)
    assert re.findall(r"`(\w+)`", told) == list(TABLES)


@pytest.mark.both_databases
def test_an_export_goes_to_standard_output_or_replaces_a_file(lived_in, inside, tmp_path):
    (line,) = inside("db", "export").stdout.splitlines()
    assert json.loads(line)["job_name"] == "quick"
    file = tmp_path / "runs.jsonl"
    file.write_text("old")
    assert inside("db", "export", "--output", str(file), "--dry-run").stdout == (
        f"would write 1 rows of runs to {file}\n"
    )
    assert file.read_text() == "old"
    told = json.loads(inside("db", "export", "--output", str(file), "--json").stdout)
    assert told == {"table": "runs", "rows": 1, "output": str(file), "dry_run": False}
    assert file.read_text() == line + "\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert inside("db", "export", "--since", "2100-01-01").stdout == ""
    assert inside("db", "export", "--since", "1d").stdout == line + "\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--since", "soon"), "'soon' is neither a date nor a duration"),
        (("--since", "9" * 99 + "d"), "is neither a date nor a duration"),
        (("jobs", "--since", "1d"), "leave --since out"),
        (("planets",), "'planets' is not one of"),
        (("--format", "parquet"), "--output FILE"),
        (("--json",), "--output FILE"),
        (("--output", "/dev/null"), "no plain file"),
        (("--output", "/dev/stdout"), "no plain file"),
        (("--output", "/nowhere/x"), "there is no directory"),
    ],
)
def test_an_export_that_cannot_be_meant_writes_nothing(home, inside, snapshot, arguments, told):
    before = snapshot()
    done = inside("db", "export", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert told in done.stderr
    assert snapshot() == before


def test_parquet_without_pyarrow_says_what_brings_it(home, inside, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = inside("db", "export", "--format", "parquet", "--output", str(tmp_path / "x"))
    assert done.returncode == 2
    assert "pip install 'maejobs[parquet]'" in done.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.both_databases
def test_a_check_says_that_all_is_well_or_what_is_not(lived_in, inside):
    done = inside("db", "check")
    assert (done.returncode, done.stdout) == (0, f"{place_of(lived_in)} is sound\n")
    change(lived_in, "DELETE FROM jobs")
    done = inside("db", "check", "--quick")
    assert (done.returncode, done.stdout.count("\n")) == (1, 1)
    told = json.loads(inside("db", "check", "--json").stdout)
    assert told["problems"] == [done.stdout.rstrip("\n")]


@pytest.mark.both_databases
def test_a_backup_lies_in_the_home_unless_told_otherwise(lived_in, inside, snapshot):
    before = snapshot()
    assert inside("db", "backup", "--dry-run").stdout.startswith("would copy to ")
    assert snapshot() == before
    assert ", checked\n" in inside("db", "backup").stdout
    assert len(list(lived_in.database_backups_dir.glob("runs-*"))) == 1
