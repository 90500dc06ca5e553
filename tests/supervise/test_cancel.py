"""Telling a run to stop, whoever still looks after it."""

import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest
from databases import take_away
from recorded_runs import NIGHT, a_run, at_home
from running import (
    ORDERLY,
    SLOT,
    end_of,
    kill,
    lives,
    only_run,
    shell,
    supervisor,
    wait_for,
    wait_until_ready,
)

from maejobs.errors import UserError
from maejobs.launch.process import boot_id, start_time
from maejobs.rundb.directory import keep_record
from maejobs.rundb.run import QUEUED, RUNNING
from maejobs.supervise.cancel import find_record, stop_run
from maejobs.supervise.execute import execute
from maejobs.watch.reconcile import reconcile


def test_a_supervised_run_is_stopped_by_its_supervisor_and_recorded_as_cancelled(home, write_job):
    write_job("night", shell(ORDERLY))
    process = supervisor(home, "night")
    wait_until_ready(home, "night")

    assert stop_run(find_record(home, "night"), "us")

    assert end_of(process) == 1
    run = only_run(home, "night")
    assert (run.state, run.reason) == ("cancelled", "stopped by us")


def test_where_no_word_can_be_left_the_run_is_stopped_all_the_same(home, write_job):
    write_job("night", shell(ORDERLY))
    process = supervisor(home, "night")
    wait_until_ready(home, "night")
    record = find_record(home, "night")
    (Path(record.directory) / "stopped_by").mkdir()  # a full disk refuses as well

    assert stop_run(record, "us")

    assert end_of(process) == 1
    assert only_run(home, "night").reason == "stopped by SIGTERM to its supervisor"


def test_a_command_whose_supervisor_was_killed_is_stopped_itself(home, write_job):
    write_job("night", shell(ORDERLY))
    process = supervisor(home, "night")
    pid = wait_until_ready(home, "night")
    process.kill()
    end_of(process)

    assert stop_run(find_record(home, "night"), "us")

    wait_for(lambda: not lives(pid))
    assert not stop_run(find_record(home, "night"), "us")
    assert reconcile(home).lost == []
    run = only_run(home, "night")
    assert (run.state, run.reason) == ("cancelled", "stopped by us")


def test_a_supervisor_that_somebody_holds_hears_of_it(home, write_job):
    write_job("night", shell(ORDERLY))
    process = supervisor(home, "night")
    wait_until_ready(home, "night")
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)

    assert stop_run(find_record(home, "night"), "us")

    try:
        end_of(process, 10)
    finally:
        kill(process.pid, signal.SIGKILL)
    assert only_run(home, "night").reason == "stopped by us"


def test_what_runs_elsewhere_or_ran_before_the_last_boot_cannot_be_stopped(home, write_job):
    write_job("night", shell(ORDERLY))
    process = supervisor(home, "night")
    wait_until_ready(home, "night")
    record = find_record(home, "night")

    elsewhere = {"host": "elsewhere", "boot_id": "theirs"}
    for change in (elsewhere, {"boot_id": "earlier"}):
        assert not stop_run(type(record)(**vars(record) | change), "us")
    assert process.poll() is None
    # What began before the host was given another name is there all the same.
    assert stop_run(type(record)(**vars(record) | {"host": "before"}), "us")
    end_of(process)


def test_a_run_is_found_by_its_name_and_by_its_jobs_without_a_database(home, write_job):
    write_job("night", 'command = ["true"]\n')
    first = execute(home, "night", "cron", SLOT).run
    second = execute(home, "night", "manual").run
    take_away(home)

    assert find_record(home, first.id) == first
    assert find_record(home, "night") == second


def test_the_run_under_way_is_meant_rather_than_a_newer_one_that_is_over(home, write_job):
    write_job("night", shell(ORDERLY))
    process = supervisor(home, "night")
    wait_until_ready(home, "night")
    assert execute(home, "night", "manual").run.reason == "overlap"

    assert find_record(home, "night").slot == SLOT

    process.send_signal(signal.SIGTERM)
    end_of(process)


def test_the_run_under_way_is_meant_rather_than_one_that_waits_for_its_end(home):
    us = {"supervisor_pid": os.getpid(), "supervisor_started": start_time(os.getpid())}
    for number, state in enumerate((RUNNING, QUEUED, QUEUED)):
        run = a_run(night=number, state=state, boot_id=boot_id(), **us)
        directory = at_home(home, run.id)
        keep_record(directory, run)

    assert find_record(home, "pretrain").slot == NIGHT
    keep_record(at_home(home, find_record(home, "pretrain").id), a_run(boot_id="earlier", **us))
    assert find_record(home, "pretrain").slot == NIGHT + timedelta(days=2)


@pytest.mark.parametrize("name", ["night", "night-20261124T0200Z-1", "*", "", "../runs", "a/b"])
def test_what_is_not_there_is_not_found(home, name):
    with pytest.raises(UserError, match="no run and no job with runs"):
        find_record(home, name)
