"""Runs that fail, each in its way: what is recorded, and what is tried again."""

import json
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
from databases import ruin
from running import SLOT, only_run, runs_of, shell

from maejobs.errors import EXIT_FAILED, UserError
from maejobs.rundb.database import open_database
from maejobs.rundb.record import write_run
from maejobs.rundb.run import SUCCEEDED, Run
from maejobs.supervise import evidence
from maejobs.supervise.cancel import awaits_retry, find_record
from maejobs.supervise.execute import execute
from maejobs.supervise.locks import acquire, named_lock_file

AT_ONCE = 'retry_delay = "0s"\n'
DIVERGED = json.dumps({"event": "outcome", "status": "diverged", "reason": "the loss is nan"})


def say(line: str) -> str:
    return f"echo '{line}' >> $MAEJOBS_EVENTS; "


@pytest.mark.parametrize(
    ("script", "failure_class", "reason"),
    [
        ("exit 3", "exit_code", "exit code 3"),
        ("exit 2", "bad_input", "exit code 2"),
        ("kill -SEGV $$", "signal", "ended by SIGSEGV"),
        ("cat /dev/zero > /dev/full; exit 1", "no_space", "exit code 1: the disk was full"),
        (
            "echo 'torch.OutOfMemoryError: CUDA out of memory.'; exit 1",
            "cuda_out_of_memory",
            "exit code 1: the GPU's memory was full",
        ),
        (say(DIVERGED) + "exit 1", "diverged", "exit code 1: the training diverged"),
    ],
)
def test_a_failure_is_recorded_with_its_class(home, write_job, script, failure_class, reason):
    write_job("night", shell(script) + "infrastructure_retries = 0\n")

    execute(home, "night", "cron", SLOT)

    run = only_run(home, "night")
    assert (run.failure_class, run.reason) == (failure_class, reason)


def test_what_succeeded_has_no_class(home, write_job):
    write_job("night", shell("echo No space left on device"))
    execute(home, "night", "cron", SLOT)
    assert only_run(home, "night").failure_class is None


def test_a_kill_while_the_kernel_killed_for_want_of_memory_is_told_from_any_other(
    home, write_job, monkeypatch
):
    write_job("night", shell("kill -KILL $$") + "infrastructure_retries = 1\n" + AT_ONCE)
    counts = iter([0, 1, 1, 1])  # of the host: before and after each of two runs
    monkeypatch.setattr(evidence, "oom_kills", lambda: next(counts))

    execute(home, "night", "cron", SLOT)

    first, second = runs_of(home, "night")
    assert first.failure_class == "oom_killed"
    assert first.reason == "ended by SIGKILL: the kernel killed it for want of memory"
    assert (second.failure_class, second.reason) == ("signal", "ended by SIGKILL")


def test_a_run_that_timed_out_says_so(home, write_job):
    write_job("night", shell("exec sleep 60") + 'timeout = "0.3s"\nretries = 3\n' + AT_ONCE)
    execute(home, "night", "cron", SLOT)
    assert only_run(home, "night").failure_class == "timed_out"


def test_a_bad_job_file_and_a_program_that_is_not_there_say_so(home, write_job):
    write_job("night", "command = 3\n")
    with pytest.raises(UserError):
        execute(home, "night", "cron", SLOT)
    assert only_run(home, "night").failure_class == "bad_job_file"

    write_job("typo", 'command = ["no-such-command"]\nretries = 3\n' + AT_ONCE)
    execute(home, "typo", "cron", SLOT)
    assert only_run(home, "typo").failure_class == "bad_command"


def test_a_secret_in_the_programs_path_is_hidden_and_the_failure_told_apart_all_the_same(
    home, write_job, tmp_path
):
    program, env = f"{tmp_path}/sekrit-zz/train", 'env = { API_KEY = "sekrit-zz" }\n'
    write_job("night", f'command = ["{program}"]\n{env}')

    execute(home, "night", "cron", SLOT)

    run = only_run(home, "night")
    assert run.reason == f"could not start {tmp_path}/***/train: No such file or directory"
    assert run.failure_class == "bad_command"
    assert "sekrit" not in find_record(home, "night").to_json()


def test_a_home_that_is_not_mounted_is_the_hosts_fault_and_tried_again(
    home, write_job, monkeypatch
):
    write_job("night", 'command = ["true"]\n' + AT_ONCE)
    monkeypatch.setenv("HOME", str(home.root / "not-mounted"))

    assert execute(home, "night", "cron", SLOT).exit_code == EXIT_FAILED

    runs = runs_of(home, "night")
    assert [run.failure_class for run in runs] == ["could_not_start"] * 3
    assert [run.retry_of for run in runs] == [None, runs[0].id, runs[1].id]


def test_a_full_disk_uses_up_no_try_of_the_commands_own(home, write_job):
    script = "cd $MAEJOBS_HOME; echo x >> tries; [ $(wc -l < tries) = 2 ] && exit 7; "
    write_job("night", shell(script + "cat /dev/zero > /dev/full") + "retries = 1\n" + AT_ONCE)

    execute(home, "night", "cron", SLOT)

    classes = [run.failure_class for run in runs_of(home, "night")]
    assert classes == ["no_space", "exit_code", "no_space", "no_space"]


def test_a_retry_that_a_gate_skipped_is_made_again(home, write_job):
    write_job("night", shell("exit 7") + 'retries = 1\nlocks = ["gpu7"]\n' + AT_ONCE)
    another = ExitStack()

    def on_wait(run, delay):
        """Another takes the GPU before the second try, and gives it back before the third."""
        if run.state == "failed":
            another.enter_context(acquire(named_lock_file(home, "gpu7"), "another"))
        else:
            assert awaits_retry(find_record(home, "night"))  # `maejobs cancel` takes it for one
            another.close()

    execute(home, "night", "cron", SLOT, on_wait=on_wait)

    runs = runs_of(home, "night")
    assert [run.state for run in runs] == ["failed", "skipped", "failed"]
    assert [run.retry_of for run in runs] == [None, runs[0].id, runs[1].id]


@pytest.mark.parametrize("script", ["exit 2", say(DIVERGED) + "exit 1"])
def test_what_would_happen_again_is_tried_again_only_if_the_job_says_so(home, write_job, script):
    write_job("night", shell(script) + "retries = 1\n" + AT_ONCE)
    write_job("eager", shell(script) + 'retries = 1\nretry = ["bad_input", "diverged"]\n' + AT_ONCE)

    execute(home, "night", "cron", SLOT)
    execute(home, "eager", "cron", SLOT)

    assert len(runs_of(home, "night")) == 1
    assert len(runs_of(home, "eager")) == 2


def nights_of(home, job: str, length: timedelta, count: int = 6) -> None:
    """So many successes in the job's past."""
    with open_database(home) as engine:
        for number in range(count):
            at = datetime.now(UTC) - timedelta(days=1 + number)
            run = Run(
                id=f"{job}-{number}", job=job, trigger="manual", attempt=1, queued=at, host="here",
                started=at, finished=at + length, state=SUCCEEDED, directory="/none",
            )  # fmt: skip
            write_run(engine, run)


def test_a_success_that_came_much_too_soon_is_flagged(home, write_job):
    write_job("night", shell("exit 0"))
    nights_of(home, "night", timedelta(hours=4))

    verdict = execute(home, "night", "cron", SLOT)

    assert (verdict.run.state, verdict.run.pace, verdict.exit_code) == ("succeeded", "fast", 0)
    assert runs_of(home, "night")[-1].pace == "fast"


@pytest.mark.parametrize(
    "script",
    ["exit 1", say('{"event": "outcome", "status": "paused"}') + "exit 0"],
    ids=["failed", "paused at its deadline"],
)
def test_what_did_not_do_its_work_is_not_judged_by_its_length(home, write_job, script):
    write_job("night", shell(script))
    nights_of(home, "night", timedelta(hours=4))
    execute(home, "night", "cron", SLOT)
    assert runs_of(home, "night")[-1].pace is None


def test_without_a_past_or_a_database_there_is_no_flag(home, write_job):
    write_job("night", shell("exit 0"))
    nights_of(home, "night", timedelta(hours=4), count=4)
    assert execute(home, "night", "cron", SLOT).run.pace is None

    ruin(home)
    verdict = execute(home, "night", "cron", SLOT + timedelta(days=1))
    assert (verdict.run.state, verdict.run.pace) == ("succeeded", None)
