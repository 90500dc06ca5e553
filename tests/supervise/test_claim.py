"""Who may run a slot."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from databases import take_away
from running import SLOT, directories, end_of, only_run, runs_of, shell, supervisor

from maejobs.errors import EXIT_NOT_NOW, MaejobsError, NotNow
from maejobs.launch.process import start_time
from maejobs.rundb.directory import RECORD_NAME, read_record
from maejobs.rundb.run import Run
from maejobs.supervise.claim import claim_by_hand, claim_slot, has_process
from maejobs.supervise.execute import execute

# Twenty supervisors, forked so that they begin at once; the last one to lose lets the winner end.
CROWD = """
import os, sys
from datetime import datetime
from pathlib import Path
from maejobs.errors import NotNow
from maejobs.home import open_home
from maejobs.supervise import recorder
from maejobs.supervise.execute import execute
_, root, slot, go = sys.argv
recorder.SAVE_PATIENCE_SECONDS = 2.0
gun, fire = os.pipe()
for _ in range(20):
    if not os.fork():
        os.close(fire)
        os.read(gun, 1)
        try:
            at = datetime.fromisoformat(slot)
            code = execute(open_home(root), "night", "cron", at).exit_code
        except NotNow as no:
            code = no.exit_code
        os._exit(code)
os.close(fire)
for left in range(20, 0, -1):
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
    if left == 2:
        Path(go).touch()
"""


def record(home, name: str, attempt: int, **changes) -> Run:
    """Write the record of a run as a supervisor of this boot that has died left it."""
    verdict = execute(home, "done", "manual").run  # a real one, to be changed
    values = vars(verdict) | {"supervisor_started": 1.0, "pid_started": 1.0, "attempt": attempt}
    run = Run(**values | changes)
    directory = home.runs_dir / "night" / name
    directory.mkdir(parents=True, exist_ok=True)
    (directory / RECORD_NAME).write_text(run.to_json())
    return run


@pytest.fixture
def night(home, write_job):
    write_job("done", 'command = ["true"]\n')
    claim_slot(home, "night", SLOT)
    return lambda **changes: record(home, "night-20261124T0200Z-1", 1, **changes)


def test_a_slots_runs_are_named_by_slot_and_attempt(home):
    assert claim_slot(home, "night", SLOT) == ("night-20261124T0200Z-1", 1)
    assert (home.runs_dir / "night" / "night-20261124T0200Z-1").stat().st_mode & 0o777 == 0o700


def test_a_slot_just_claimed_is_taken(home):
    claim_slot(home, "night", SLOT)

    with pytest.raises(NotNow, match="is just being started") as no:
        claim_slot(home, "night", SLOT)
    assert no.value.reason == "slot_taken"


def test_a_claim_whose_supervisor_died_before_its_first_word_holds_for_a_minute_only(home):
    name, _ = claim_slot(home, "night", SLOT)
    long_ago = time.time() - 120
    os.utime(home.runs_dir / "night" / name, (long_ago, long_ago))

    assert claim_slot(home, "night", SLOT) == ("night-20261124T0200Z-2", 2)


def test_other_slots_and_jobs_are_free(home):
    claim_slot(home, "night", SLOT)

    assert claim_slot(home, "night", SLOT + timedelta(days=1))[1] == 1
    assert claim_slot(home, "other", SLOT)[1] == 1


@pytest.mark.parametrize("state", ["failed", "timed_out", "cancelled", "lost", "skipped"])
def test_a_slot_whose_run_ended_badly_may_be_tried_again(home, night, state):
    night(state=state)

    assert claim_slot(home, "night", SLOT) == ("night-20261124T0200Z-2", 2)


@pytest.mark.parametrize("state", ["failed", "lost", "skipped"])
def test_a_slot_that_ever_had_a_run_is_not_made_up_for(home, night, state):
    night(state=state)

    with pytest.raises(NotNow, match="has been run"):
        claim_slot(home, "night", SLOT, only_if_never_run=True)


def test_one_that_died_before_its_first_word_was_no_run(home):
    name, _ = claim_slot(home, "night", SLOT, only_if_never_run=True)
    with pytest.raises(NotNow, match="is just being started"):
        claim_slot(home, "night", SLOT, only_if_never_run=True)
    long_ago = time.time() - 120
    os.utime(home.runs_dir / "night" / name, (long_ago, long_ago))

    assert claim_slot(home, "night", SLOT, only_if_never_run=True)[1] == 2


@pytest.mark.both_databases
def test_a_slot_that_has_succeeded_is_refused(home, night):
    night(state="succeeded")

    with pytest.raises(NotNow, match=r"has succeeded .*`maejobs run night` starts one by hand"):
        claim_slot(home, "night", SLOT)


def test_a_slot_is_refused_while_its_supervisor_lives(home, night):
    night(state="running", supervisor_pid=os.getpid(), supervisor_started=start_time(os.getpid()))

    with pytest.raises(NotNow, match="is being run"):
        claim_slot(home, "night", SLOT)


def test_a_slot_is_refused_while_its_command_lives_without_a_supervisor(home, night):
    with subprocess.Popen(["sleep", "60"]) as command:
        run = night(state="running", pid=command.pid, pid_started=start_time(command.pid))
        assert has_process(run)
        with pytest.raises(NotNow, match="is being run"):
            claim_slot(home, "night", SLOT)
        command.kill()

    assert not has_process(run)
    assert claim_slot(home, "night", SLOT)[1] == 2


def test_the_processes_of_an_earlier_boot_are_gone(home, night):
    run = night(
        state="running",
        boot_id="earlier",
        supervisor_pid=os.getpid(),
        supervisor_started=start_time(os.getpid()),
    )

    assert not has_process(run)
    assert claim_slot(home, "night", SLOT)[1] == 2


def test_what_runs_on_another_host_is_that_hosts_to_judge(home, night):
    night(state="running", host="elsewhere", boot_id="theirs")

    with pytest.raises(NotNow, match="is being run on elsewhere"):
        claim_slot(home, "night", SLOT)


@pytest.mark.parametrize(
    ("events", "free"),
    [
        ([{"event": "outcome", "status": "paused"}], False),
        ([{"event": "outcome", "status": "completed"}, {"event": "note", "text": "x"}], False),
        ([{"event": "outcome", "status": "failed"}], True),
        ([{"event": "outcome", "status": "completed"}, {"event": "outcome"}], True),
        ([{"event": "progress", "step": 1}], True),
        ([], True),
    ],
)
def test_a_command_that_outlived_its_supervisor_has_the_last_word(home, night, events, free):
    night(state="running")
    stream = home.runs_dir / "night" / "night-20261124T0200Z-1" / "events.jsonl"
    stream.write_text("".join(json.dumps(event) + "\n" for event in events))

    if free:
        assert claim_slot(home, "night", SLOT)[1] == 2
    else:
        with pytest.raises(NotNow, match="has succeeded"):
            claim_slot(home, "night", SLOT)


def test_runs_by_hand_never_get_in_each_others_way(home):
    names = {claim_by_hand(home, "night", SLOT) for _ in range(3)}

    assert names == {
        "night-20261124T020000Z-m",
        "night-20261124T020000Z-m1",
        "night-20261124T020000Z-m2",
    }


def test_a_record_that_cannot_be_read_is_none(home, tmp_path):
    assert read_record(tmp_path) is None
    (tmp_path / RECORD_NAME).write_text('{"id": 1}')
    assert read_record(tmp_path) is None


def test_a_place_where_no_directory_can_be_made_is_named(home):
    home.runs_dir.rmdir()
    home.runs_dir.write_text("a file")

    with pytest.raises(MaejobsError, match=f"{home.runs_dir}.*cannot be made"):
        claim_slot(home, "night", SLOT)
    with pytest.raises(MaejobsError, match="cannot be made"):
        claim_by_hand(home, "night", SLOT)


def test_a_file_in_the_way_of_a_runs_directory_is_named(home):
    (home.runs_dir / "night").mkdir()
    (home.runs_dir / "night" / "night-20261124T0200Z-1").write_text("")

    with pytest.raises(MaejobsError, match="night-20261124T0200Z-1 is in the way"):
        claim_slot(home, "night", SLOT)


@pytest.mark.parametrize("database", ["there", "gone"])
def test_of_twenty_supervisors_for_one_slot_exactly_one_runs(home, write_job, database):
    if database == "gone":
        take_away(home)
    started = home.root / "started"
    go = home.root / "go"
    script = f"echo $$ >> {started}; while [ ! -e {go} ]; do sleep 0.1; done"
    write_job("night", shell(script))
    with subprocess.Popen(
        [sys.executable, "-c", CROWD, home.root, SLOT.isoformat(), go],
        stdout=subprocess.PIPE,
        text=True,
    ) as crowd:
        codes, _ = crowd.communicate(timeout=60)

    assert Counter(codes.split()) == {"0": 1, f"{EXIT_NOT_NOW}": 19}
    assert len(started.read_text().split()) == 1
    assert [Path(d).name for d in directories(home, "night")] == ["night-20261124T0200Z-1"]
    if database == "there":
        assert only_run(home, "night").state == "succeeded"
    assert end_of(supervisor(home, "night")) == EXIT_NOT_NOW


def test_a_failed_slot_is_tried_again_as_its_second_attempt(home, write_job):
    write_job("night", 'command = ["false"]\n')
    assert execute(home, "night", "cron", SLOT).exit_code == 1
    write_job("night", 'command = ["true"]\n')
    assert execute(home, "night", "cron", SLOT).exit_code == 0

    with pytest.raises(NotNow):
        execute(home, "night", "cron", SLOT)

    assert [(r.attempt, r.state) for r in runs_of(home)] == [(1, "failed"), (2, "succeeded")]


def test_a_slot_that_the_database_knows_to_be_done_is_refused_without_its_directory(
    home, write_job
):
    write_job("night", 'command = ["true"]\n')
    done = execute(home, "night", "cron", SLOT).run
    (Path(done.directory)).rename(home.root / "cleaned up")

    for _ in range(2):
        with pytest.raises(NotNow, match="in the database already"):
            execute(home, "night", "cron", SLOT)

    assert only_run(home, "night").state == "succeeded"
