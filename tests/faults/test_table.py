"""Kill -9 and crowds while a real crontab is changed: it is the old table or the new, and whole.

Each test runs one Python process within the private mount namespace; it forks the writers, so that
fifty of them start in a blink.
"""

import json
import sys

import pytest
from private_cron import PrivateCron, private_cron  # noqa: F401 (a fixture)

pytestmark = pytest.mark.fault

FOREIGN = (
    b"# the wiki's, do not touch\n"
    b'MAILTO=""\n'
    b'  17 4\t* * 1-5   wiki-backup --when="$(date +\\%F)"  # caf\xe9\n'
    b"\n"
)

KILLED = """
import json, os, random, signal, subprocess, sys, time
from pathlib import Path
from maejobs.cron import block, host, table_lock, user_target
from maejobs.cron.block import Entry, read_entries, replace_entries
from maejobs.cron.install import Step, change_table
from maejobs.cron.target import open_target

backups, times = Path(sys.argv[1]), int(sys.argv[2])
table = lambda: subprocess.run(["crontab", "-l"], capture_output=True).stdout

def change(number, on_step=lambda step: None):
    entry = Entry("night", f"{number % 60} 2 * * *", "/opt/maejobs exec night")
    change_table(
        open_target("user"), lambda old: replace_entries(old, [entry]), backups, on_step=on_step
    )

def killed(number, wait, on_step=lambda step: None):
    child = os.fork()
    if child == 0:
        os.setsid()
        change(number, on_step)
        os._exit(0)
    if wait is not None:
        time.sleep(wait)
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def seen(number, step, status, before, after):
    told = {"step": step, "status": status, "old": after == before}
    entry, = read_entries(after)
    told["new"] = entry.expression == f"{number % 60} 2 * * *"
    began = time.monotonic()
    change(number + 1)
    told["next_after"] = time.monotonic() - began
    told["next"] = read_entries(table())[0].expression == f"{(number + 1) % 60} 2 * * *"
    told["foreign"] = table().startswith(sys.stdin_bytes)
    print(json.dumps(told), flush=True)

sys.stdin_bytes = sys.stdin.buffer.read()
subprocess.run(["crontab", "-"], input=sys.stdin_bytes, check=True)
change(0)
number = 0
for step in Step:
    for _ in range(times):
        number += 2
        before = table()
        def die(at, step=step):
            if at is step:
                os.kill(os.getpid(), signal.SIGKILL)
        status = killed(number, None, die)
        seen(number, step, status, before, table())
draws = random.Random(7)
for _ in range(3 * times):
    number += 2
    before = table()
    status = killed(number, draws.uniform(0, 0.025))
    seen(number, "group", status, before, table())
"""


def test_killed_at_any_step_the_table_is_the_old_or_the_new_and_the_lock_is_free(
    private_cron: PrivateCron,  # noqa: F811
    tmp_path,
) -> None:
    times = 10
    done = private_cron.run(
        [sys.executable, "-c", KILLED, tmp_path / "backups", str(times)], input=FOREIGN, timeout=200
    )
    assert done.returncode == 0, done.stderr.decode()
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == (7 + 3) * times
    for case in told:
        assert case["old"] != case["new"], case
        assert case["next"], case
        assert case["foreign"], case
        assert case["next_after"] < 30, case  # a lock left behind would make it wait for a minute
    steps = [case for case in told if case["step"] != "group"]
    assert {case["status"] for case in steps} == {-9}
    assert {case["step"] for case in steps if case["new"]} == {"verify"}
    assert {case["old"] for case in told if case["step"] == "group"} == {True, False}


CROWD = """
import os, subprocess, sys
import maejobs.cli.scheduling, maejobs.cli.entries, maejobs.rundb.database, maejobs.rundb.record
import maejobs.jobs.load, maejobs.cron.install, maejobs.cron.user_target, maejobs.cron.host
from maejobs.cli import main

homes = sys.argv[1:]
null = os.open(os.devnull, os.O_WRONLY)

def call(*arguments):
    child = os.fork()
    if child:
        return child
    os.dup2(null, 1)
    sys.argv = ["maejobs", *arguments]
    try:
        main()
    except SystemExit as left:
        os._exit(left.code or 0)
    os._exit(0)

def wait(children):
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

for home in homes:
    wait([call("init", "--home", home)])
    for n in range(25):
        with open(f"{home}/jobs.d/job-{n}.toml", "w") as file:
            file.write('command = ["true"]\\n')
for n in range(25):
    wait([call("schedule", f"job-{n}", "0 2 * * *", "--home", homes[n % 2])])
every = [("unschedule", f"job-{n}", "--home", homes[n % 2]) for n in range(25)]
every += [("schedule", f"job-{n}", f"{n} 3 * * *", "--home", homes[1 - n % 2]) for n in range(25)]
before = subprocess.run(["crontab", "-l"], capture_output=True, check=True).stdout
for run in range(3):
    statuses = wait([call(*arguments) for arguments in every])
    print(run, sorted(set(statuses)), flush=True)
    os.system("crontab -l | grep -c ' 2 [*] [*] [*] .*# maejobs:'")
    os.system("crontab -l | grep -c ' 3 [*] [*] [*] .*# maejobs:'")
    if run < 2:
        subprocess.run(["crontab", "-"], input=before, check=True)
sys.stdout.flush()
os.system("crontab -l")
"""


@pytest.mark.slow
def test_fifty_writers_of_two_homes_lose_nothing_three_times(
    private_cron: PrivateCron,  # noqa: F811
    tmp_path,
) -> None:
    private_cron.run(["crontab", "-"], input=FOREIGN)
    homes = [tmp_path / "one", tmp_path / "two"]
    done = private_cron.run([sys.executable, "-c", CROWD, *homes], timeout=280)
    assert done.returncode == 0, done.stderr.decode()
    lines = done.stdout.splitlines()
    assert [line.decode() for line in lines[:9]] == [
        word for run in range(3) for word in (f"{run} [0]", "0", "25")
    ]
    table = b"".join(line + b"\n" for line in lines[9:])
    assert table.startswith(FOREIGN)
    ours = [line for line in table.removeprefix(FOREIGN).splitlines() if b"exec" in line]
    assert sorted(line.split(b"maejobs:")[1] for line in ours) == sorted(
        b"job-%d" % n for n in range(25)
    )
