"""Room on the disk, in bytes and in checkpoints to come."""

import shutil

import pytest
from databases import ruin, take_away
from keep.campaigns import FIRST_NIGHT, write_checkpoint
from recorded_runs import a_run
from running import python, runs_of
from small_disk import needs_root, small_disk
from sqlalchemy import insert

from maejobs.errors import NotNow
from maejobs.jobs.model import DiskRoom
from maejobs.rundb.database import open_database
from maejobs.rundb.record import write_run
from maejobs.rundb.schema import checkpoints
from maejobs.supervise.disk_gate import check_disk, checkpoint_size
from maejobs.supervise.execute import execute

WRITES = """
import json, os, pathlib
step = pathlib.Path({place!r}, "step")
step.write_bytes(bytes({size}))
event = {{"event": "checkpoint", "path": str(step), "step": 1, "bytes": {size}}}
open(os.environ["MAEJOBS_EVENTS"], "a").write(json.dumps(event) + "\\n")
"""


def tell(home, job: str, night: int, *sizes: int | None) -> None:
    """Record a run of the job whose checkpoints had these sizes."""
    run = a_run(job, night)
    with open_database(home) as engine:
        write_run(engine, run)
        with engine.begin() as connection:
            for offset, size in enumerate(sizes):
                row = {"run": run.id, "offset": offset, "path": "c", "bytes": size}
                connection.execute(insert(checkpoints).values(**row, time=run.queued))


def test_too_little_room_is_told_with_both_sizes(home, tmp_path):
    check_disk(home, "night", tmp_path, DiskRoom(path="", free=1))
    with pytest.raises(NotNow, match=r"has .*B free, the job asks for 1\.0 EB") as no:
        check_disk(home, "night", tmp_path, DiskRoom(path="", free=10**18))
    assert no.value.reason == "disk_low"


def test_a_directory_that_is_not_there_yet_is_measured_where_it_will_be(home, tmp_path):
    check_disk(home, "night", tmp_path / "campaigns" / "main", DiskRoom(path="", free=1))


def test_room_for_checkpoints_is_foretold_from_the_last_one_of_the_job(home, tmp_path):
    free = shutil.disk_usage(tmp_path).free
    tell(home, "night", 0, 2 * free)
    tell(home, "night", 1, 2 * free, free // 3, None, 0)
    tell(home, "night", 2)  # one that told of none
    tell(home, "other", 3, 2 * free)

    assert checkpoint_size(home, "night", tmp_path) == free // 3
    check_disk(home, "night", tmp_path, DiskRoom(path="", checkpoints=2))
    with pytest.raises(NotNow, match="9 checkpoints of the size of the last take") as no:
        check_disk(home, "night", tmp_path, DiskRoom(path="", checkpoints=9))
    assert no.value.reason == "disk_low"


def test_before_the_first_checkpoint_only_free_bytes_count(home, tmp_path):
    check_disk(home, "night", tmp_path / "campaign", DiskRoom(path="", checkpoints=1000))
    with pytest.raises(NotNow, match="the job asks for"):
        check_disk(home, "night", tmp_path, DiskRoom(path="", free=10**18, checkpoints=1))


@pytest.mark.parametrize("database", ["empty", "gone", "broken"])
def test_what_the_database_does_not_know_the_campaign_tells(home, tmp_path, database):
    write_checkpoint(tmp_path, 999_999_999, FIRST_NIGHT)
    newest = write_checkpoint(tmp_path, 1_000_000_000, FIRST_NIGHT)
    torn = write_checkpoint(tmp_path, 1_000_000_001, FIRST_NIGHT)
    (torn / "manifest.json").unlink()
    (newest / "more").write_bytes(bytes(12_345))
    if database == "gone":
        take_away(home)
    elif database == "broken":
        ruin(home)

    expected = sum(file.stat().st_size for file in newest.iterdir())
    assert checkpoint_size(home, "night", tmp_path) == expected > 12_345


@needs_root
def test_a_night_is_skipped_whose_checkpoint_would_not_fit(home, write_job, tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    script = WRITES.format(place=str(place), size=600_000)
    write_job("night", f'disk = {{ path = "{place}", checkpoints = 1 }}\n' + python(script))
    with small_disk(place, "1m"):
        assert execute(home, "night", "manual").run.state == "succeeded"
        run = execute(home, "night", "manual").run
        assert (run.state, run.reason) == ("skipped", "disk_low")
        (place / "step").unlink()
        assert execute(home, "night", "manual").run.state == "succeeded"
    assert [row.state for row in runs_of(home, "night")] == ["succeeded", "skipped", "succeeded"]
