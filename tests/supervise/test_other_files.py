"""What a command may put in the place of its run's own files: pipes, which nobody may wait for."""

import json
import os

import pytest
from running import end_of, only_run, shell, supervisor

from maejobs.files import open_plain
from maejobs.rundb.directory import LOG_NAME, RECORD_NAME, STOPPED_BY_NAME, read_record, stopped_by
from maejobs.rundb.run import SUCCEEDED
from maejobs.supervise.log import read_times
from maejobs.supervise.log_reader import read_lines, start_of_last
from maejobs.watch.reconcile import reconcile

FILES = "run.json stopped_by log log.times samples.jsonl events.jsonl"
# The supervisor may make one of them in between.
PIPES = f"cd $MAEJOBS_RUN_DIR; for f in {FILES}; do until rm -f $f && mkfifo $f; do :; done; done"


def test_pipes_in_the_place_of_a_runs_files_keep_nobody_waiting(home, write_job):
    ping = '[notify]\nping = "http://127.0.0.1:1/x"\n'  # with which the log's end is sent
    write_job("pipes", shell(PIPES) + ping)

    running = supervisor(home, "pipes")
    try:
        assert end_of(running, 20) == 0
    finally:
        if running.poll() is None:
            running.kill()

    assert only_run(home, "pipes").state == SUCCEEDED


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_plain_file_is_not_read(tmp_path, make):
    for name in (RECORD_NAME, STOPPED_BY_NAME, LOG_NAME, "log.times"):
        make(tmp_path / name)

    assert read_record(tmp_path) is None
    assert stopped_by(tmp_path) is None
    for read in (
        lambda: open_plain(tmp_path / LOG_NAME),
        lambda: list(read_lines(tmp_path / LOG_NAME, 0)),
        lambda: start_of_last(tmp_path / LOG_NAME, 1),
        lambda: read_times(tmp_path / "log.times"),
    ):
        with pytest.raises(OSError, match="no plain file"):
            read()


def test_a_record_that_nests_without_end_is_none(home):
    directory = home.runs_dir / "night" / "night-20261124T0200Z-1"
    directory.mkdir(parents=True)
    (directory / LOG_NAME).touch()
    for text in ("[" * 200_000, json.dumps({"id": "x"}), "{}\0"):
        (directory / RECORD_NAME).write_text(text)
        assert read_record(directory) is None
    reconcile(home)
