"""Runs and reconcile tell of themselves, and no pager costs them anything."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, closing, suppress
from datetime import timedelta

import pytest
from databases import away, configure, take_away
from pager import HANG
from recorded_runs import a_run
from running import SLOT, end_of, only_run, shell, supervisor, wait_for
from small_disk import fill, needs_root, small_disk

from maejobs import clock
from maejobs.cron.fires import ZONE_VARIABLE
from maejobs.errors import NotNow
from maejobs.launch.process import boot_id, host_name, start_time
from maejobs.notify import hooks, outbox
from maejobs.notify.hooks import Herald
from maejobs.notify.judge import judge, read_told
from maejobs.notify.outbox import waiting
from maejobs.notify.post import HTTP_TIMEOUT
from maejobs.notify.send import send
from maejobs.notify.unpinged import note, noted
from maejobs.rundb.database import DatabaseUnavailable, open_database
from maejobs.rundb.record import write_run
from maejobs.supervise.execute import execute
from maejobs.watch.reconcile import reconcile


@pytest.fixture
def no_sender(monkeypatch) -> list[str]:
    """No process is started: the tests send themselves. One item for each that would be."""
    started: list[str] = []

    def start(arguments):
        started.append(arguments[1])
        return 0

    monkeypatch.setattr(hooks, "start_detached", start)
    monkeypatch.setattr(hooks, "_has_ended", lambda pid: True)
    return started


def job(script: str, pager=None, more: str = "", rules: str = "") -> str:
    ping = f'ping = "http://{pager.address}/abc"\n' if pager else ""
    return shell(script) + more + f"\n[notify]\n{ping}{rules}"


def names(home) -> list[str]:
    return [message.name.rpartition("-pretrain")[0] or message.name for message in waiting(home)]


def test_a_run_pings_its_start_and_its_success_with_its_last_lines(
    home, write_job, pager, no_sender
):
    more = 'env = { API_TOKEN = "hunter22" }\n'
    write_job("quick", job("echo one; echo $API_TOKEN", pager, more))
    run = execute(home, "quick", "cron", SLOT).run
    assert [message.kind for message in waiting(home)] == ["start", "success"]
    assert list(send(home, 0))
    assert pager.paths == ["/abc/start", "/abc"]
    assert pager.got[1][1].splitlines()[-2:] == ["one", "********"]  # as its log has it
    assert run.id in pager.got[0][1]
    assert no_sender == ["send", "send"]


def test_a_failed_run_pings_fail_and_a_try_in_between_is_only_logged(
    home, write_job, pager, no_sender
):
    write_job("fails", job("exit 3", pager, 'retries = 1\nretry_delay = "0s"\n'))
    execute(home, "fails", "cron", SLOT)
    kinds = [message.kind for message in waiting(home)]
    assert kinds == ["start", "log", "start", "fail"]
    assert "failed (exit code 3)" in waiting(home)[-1].body


def test_the_homes_switch_knows_jobs_by_name(telling, write_job, pager, no_sender):
    home = telling(ping_base=f"http://{pager.address}/key")
    write_job("quick", shell("true"))
    execute(home, "quick", "cron", SLOT)
    assert waiting(home)[0].url == f"http://{pager.address}/key/quick"


def test_without_settings_nothing_is_put_and_nothing_started(home, write_job, no_sender):
    write_job("fails", shell("false") + "infrastructure_retries = 0\n")
    execute(home, "fails", "cron", SLOT)
    reconcile(home)
    assert (waiting(home), no_sender) == ([], [])


def test_bad_settings_cost_no_run(home, telling, write_job, no_sender, caplog):
    home = telling(urlz=[])
    write_job("fails", shell("false"))
    assert execute(home, "fails", "cron", SLOT).run.state == "failed"
    assert "did you mean urls?" in caplog.text


@pytest.mark.both_databases
def test_a_failure_and_its_recovery_are_told_once_each(telling, write_job, no_sender, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv(ZONE_VARIABLE, "Asia/Kathmandu")
    home = telling()
    write_job("moody", job('test -e "$MAEJOBS_HOME/well"'))
    now = clock.now()
    execute(home, "moody", "cron", SLOT)
    assert no_sender == ["send"]
    # Its supervisor, which is this process, lives still; that it gave up was noted.
    assert [change.count for change in judge(home, now)] == [1]
    assert judge(home, now) == []
    (home.root / "well").touch()
    execute(home, "moody", "manual")
    assert [change.count for change in judge(home, now)] == [0]
    assert judge(home, now) == []
    alert, recovery = waiting(home)
    assert (alert.kind, recovery.kind) == ("alert", "recovery")
    assert "slot: Tue 24 Nov 07:45\n" in alert.body  # on cron's clock
    execute(home, "moody", "manual")
    assert no_sender == ["send", "send"]  # a success of a job that was well starts no process


def test_of_a_job_that_is_no_more_nothing_stands_and_nobody_hears_that_it_is_well(
    telling, write_job, no_sender
):
    home = telling()
    write_job("moody", job("false"))
    execute(home, "moody", "cron", SLOT)
    judge(home, clock.now())
    outbox.remove(home, waiting(home)[0])
    (home.jobs_dir / "moody.toml").unlink()
    with away(home):
        assert judge(home, clock.now()) == []
        assert read_told(home) == {"moody"}  # it may still be scheduled
    no_sender.clear()
    reconcile(home)
    assert no_sender == ["send"]
    assert judge(home, clock.now()) == []
    assert (read_told(home), waiting(home)) == (set(), [])


def test_a_success_that_a_clock_noted_which_was_ahead_hides_no_failure(telling):
    home, now = telling(), clock.now()
    (home.jobs_dir / "pretrain.toml").write_text('command = ["true"]\n')
    for night, state, ahead in ((1, "succeeded", 365), (0, "failed", 0)):
        at = now + timedelta(days=ahead)
        with open_database(home) as engine:
            write_run(engine, a_run(night=night, state=state, queued=at, finished=at))
    assert [change.outcome.state for change in judge(home, now)] == ["failed"]


def test_a_try_that_another_follows_is_not_told_yet(telling, no_sender):
    home = telling()
    with closing(Waiting()) as process, open_database(home) as engine:
        write_run(engine, failed(process))
        (home.jobs_dir / "pretrain.toml").write_text('command = ["true"]\n')
        assert judge(home, clock.now()) == []
    assert len(judge(home, clock.now())) == 1  # killed meanwhile, so there will be none


def ourselves() -> dict:
    """This process as a run's supervisor."""
    return {
        "supervisor_pid": os.getpid(),
        "supervisor_started": start_time(os.getpid()),
        "boot_id": boot_id(),
    }


class Waiting:
    """A process that stands in for a supervisor which waits to try again."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        self.pid = self._process.pid

    def close(self) -> None:
        self._process.communicate()


def failed(process, **fields):
    now = clock.now()
    return a_run(
        slot=now.replace(second=0, microsecond=0),
        state="failed",
        queued=now,
        started=now,
        finished=now,
        supervisor_pid=process.pid,
        supervisor_started=start_time(process.pid),
        boot_id=boot_id(),
        **fields,
    )


def test_a_bad_job_file_is_told(telling, write_job, no_sender):
    home = telling()
    write_job("broken", "command = 3\n")
    with pytest.raises(Exception, match="command"):
        execute(home, "broken", "cron", SLOT)
    assert no_sender == ["send"]
    (change,) = judge(home, clock.now())
    assert "bad job file" in change.outcome.reason


@pytest.mark.both_databases
def test_a_lost_run_is_told_and_pinged_by_reconcile(telling, write_job, pager, no_sender):
    home = telling()
    write_job("pretrain", job("true", pager))
    with open_database(home) as engine:
        write_run(engine, a_run(host=host_name(), queued=clock.now(), boot_id="another"))
    assert reconcile(home).lost
    assert names(home) == ["fail"]
    (change,) = judge(home, clock.now())
    assert change.outcome.state == "lost"
    reconcile(home)
    assert sorted(names(home)) == ["alert", "fail"]


def killed_at(monkeypatch, home, moment: str) -> None:
    """Run the job in a process of its own, killed as it comes to the method `moment`."""
    killed = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # noqa: E731
    with monkeypatch.context() as patched:
        patched.setattr(Herald, moment, killed)
        assert end_of(supervisor(home, "pretrain")) == -signal.SIGKILL


@pytest.mark.fault
@pytest.mark.parametrize(
    ("script", "kind", "told", "is_away"),
    [
        ("true", "success", "succeeded, took", False),
        ("exit 3", "fail", "failed (exit code 3), took", True),
    ],
)
def test_a_run_whose_supervisor_was_killed_before_it_told_its_end_is_pinged_once(
    home, write_job, pager, no_sender, monkeypatch, script, kind, told, is_away
):
    write_job("pretrain", job(script, pager))
    if is_away:
        take_away(home)
    killed_at(monkeypatch, home, "ended")
    assert [message.kind for message in waiting(home)] == ["start"]
    with suppress(DatabaseUnavailable):
        reconcile(home)
    assert [message.kind for message in waiting(home)] == ["start", kind]
    assert told in waiting(home)[-1].body
    for message in waiting(home):
        outbox.remove(home, message)
    with suppress(DatabaseUnavailable):
        reconcile(home)
    assert waiting(home) == []


@pytest.mark.fault
def test_a_try_whose_supervisor_was_killed_before_the_next_has_failed(
    home, write_job, pager, no_sender, monkeypatch
):
    write_job("pretrain", job("exit 3", pager, 'retries = 1\nretry_delay = "1h"\n'))
    monkeypatch.setattr("maejobs.supervise.execute.wait", lambda *_: os.kill(os.getpid(), 9))
    assert end_of(supervisor(home, "pretrain")) == -signal.SIGKILL
    reconcile(home)
    assert [message.kind for message in waiting(home)] == ["start", "log", "fail"]


def test_a_try_whose_slot_another_has_made_good_meanwhile_has_not_failed(
    home, write_job, pager, no_sender
):
    more = 'retries = 1\nretry_delay = "0s"\n'
    write_job("pretrain", job('test -e "$MAEJOBS_HOME/well"', pager, more))

    def on_wait(*_):
        (home.root / "well").touch()
        execute(home, "pretrain", "cron", SLOT)

    with pytest.raises(NotNow):
        execute(home, "pretrain", "cron", SLOT, on_wait=on_wait)
    assert [message.kind for message in waiting(home)] == ["start", "log", "start", "success"]
    assert noted(home) == {}


def test_a_note_that_is_being_written_is_none_yet_and_one_never_written_goes(home):
    note(home, a_run())
    for pid in (1, 2**22 + 1):
        (home.notify_dir / "unpinged" / f".{a_run().id}.{pid}.tmp").touch()
    assert noted(home) == {a_run().id: "pretrain"}
    assert len(list((home.notify_dir / "unpinged").iterdir())) == 2


@pytest.mark.fault
def test_a_verdict_whose_reconcile_was_killed_is_pinged_by_the_next(
    home, write_job, pager, no_sender, monkeypatch
):
    write_job("pretrain", job("true", pager))
    killed_at(monkeypatch, home, "started")
    with monkeypatch.context() as patched:
        patched.setattr("maejobs.watch.reconcile.after_reconcile", lambda *_: None)
        assert reconcile(home, dry_run=True).lost
        wait_for(lambda: reconcile(home).lost)
    assert waiting(home) == []
    reconcile(home)
    reconcile(home)
    assert [message.kind for message in waiting(home)] == ["fail"]


def test_while_a_run_goes_on_or_has_told_its_end_nobody_else_tells_it(
    home, write_job, pager, no_sender
):
    write_job("fails", job("exit 3", pager, 'retries = 1\nretry_delay = "0s"\n'))
    execute(home, "fails", "cron", SLOT)
    assert noted(home) == {}
    told = [message.name for message in waiting(home)]
    note(home, a_run(id="never-was"))
    note(home, only_live := a_run(host=host_name(), state="failed", **ourselves()))
    with open_database(home) as engine:
        write_run(engine, only_live)
    reconcile(home)
    assert [message.name for message in waiting(home)] == told
    assert list(noted(home)) == [only_live.id]


def test_without_a_database_the_spooled_records_are_judged(telling, write_job, no_sender):
    home = telling()
    write_job("fails", job("false"))
    with away(home):
        execute(home, "fails", "cron", SLOT)
        assert len(judge(home, clock.now())) == 1
    reconcile(home)
    assert judge(home, clock.now()) == []
    assert read_told(home) == {"fails"}


def test_what_waits_is_sent_by_a_later_round_even_without_a_database(
    home, write_job, pager, no_sender
):
    write_job("quick", job("true", pager))
    execute(home, "quick", "cron", SLOT)
    no_sender.clear()
    take_away(home)
    with pytest.raises(Exception, match="run database"):
        reconcile(home)
    assert no_sender == ["send"]


def test_a_mistake_in_the_settings_is_told_once_and_not_at_each_look(home, write_job, inside):
    configure(home, 'crontab = "crontab"\n[notify]\nurls = ["foo"]\n')
    write_job("quick", 'command = ["true"]\n')
    done = inside("exec", "quick")
    assert done.returncode == 0
    assert done.stderr.count("\n") == done.stderr.count("nobody is told: ") == 1


@pytest.mark.fault
def test_a_pager_that_hangs_makes_no_run_longer(home, write_job, pager):
    """With the real sender, in its own process."""
    pager.otherwise = HANG
    write_job("quick", job("true", pager))
    begun = time.monotonic()
    run = execute(home, "quick", "cron", SLOT).run
    assert run.state == "succeeded"
    assert time.monotonic() - begun < HTTP_TIMEOUT  # one ping's; there are two
    wait_for(lambda: pager.got, 60)
    assert only_run(home, "quick").state == "succeeded"


@pytest.mark.fault
@needs_root
def test_a_full_disk_costs_the_message_and_no_run(home, write_job, pager, no_sender, caplog):
    write_job("quick", job("true", pager))
    with ExitStack() as stack:
        stack.enter_context(small_disk(home.notify_dir, "64k"))
        fill(home.notify_dir / "filler")
        assert execute(home, "quick", "cron", SLOT).run.state == "succeeded"
    assert "nobody is told" in caplog.text
    assert waiting(home) == []


def test_a_supervisor_imports_neither_apprise_nor_another_databases_dialect():
    heavy = ("apprise", "sqlalchemy.dialects.postgresql")
    code = (
        "import maejobs.supervise.execute, maejobs.rundb.record, sqlalchemy, sys; "
        "sqlalchemy.create_engine('sqlite://'); "
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
