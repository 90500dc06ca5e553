"""Against the real `crontab` of cronie and busybox, and what checkers say of what we accept."""

import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cronie import cronie, why_not_cronie

from cron.test_host import STEPS, THEIRS
from maejobs.cron.block import Entry, replace_entries
from maejobs.cron.dialect import Dialect
from maejobs.cron.fields import SPANS
from maejobs.cron.grammar import BadExpression, parse_expression

BUSYBOX = Path("/usr/bin/busybox")
DIALECT = "from maejobs.cron.dialect import host_dialect; print(host_dialect())"
OURS = Entry("a", "30 2 * * 1-5", "/opt/maejobs exec a")
CHARACTERS = "0123456789*/-,~ LW#?@;=%\tsunJAN"

pytestmark = pytest.mark.e2e
needs_cronie = pytest.mark.skipif(why_not_cronie() is not None, reason=str(why_not_cronie()))
needs_busybox = pytest.mark.skipif(not BUSYBOX.exists(), reason=f"{BUSYBOX} is not installed")
needs_debian = pytest.mark.skipif(shutil.which("crontab") is None, reason="needs `crontab`")


@pytest.fixture(
    params=[
        pytest.param("cronie", marks=needs_cronie),
        pytest.param("busybox", marks=needs_busybox),
    ]
)
def host(request, private_cron, tmp_path):
    """Runs a command where `crontab` is the other host's."""
    directory = tmp_path / "bin"
    directory.mkdir()
    crontab = directory / "crontab"
    if request.param == "busybox":
        crontab.symlink_to(BUSYBOX)
    else:
        crontab.write_text(f'#!/bin/sh\nexec {shlex.join(cronie("bin/crontab"))} "$@"\n')
        crontab.chmod(0o755)

    def run(*argv, input=b""):
        path = f"{directory}:/usr/sbin:/usr/bin:/sbin:/bin"
        return private_cron.run(argv, env={"PATH": path}, input=input)

    run.dialect = request.param
    return run


def test_the_host_is_known_by_its_crontab(host):
    assert host(sys.executable, "-c", DIALECT).stdout.decode().strip() == host.dialect


def test_a_table_goes_in_and_out_byte_for_byte(host):
    table = replace_entries(THEIRS, [OURS])
    steps = [("check", table), ("install", table), ("read", None), ("install", THEIRS)]
    steps += [("read", None), ("install", b""), ("read", None)]
    wanted = [(name, None if t is None else t.decode("latin-1")) for name, t in steps]
    done = host(sys.executable, "-c", STEPS, input=json.dumps(wanted).encode())
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    held, theirs = table.decode("latin-1"), THEIRS.decode("latin-1")
    assert answers == [None, None, held, None, theirs, None, None]


def test_cronies_checker_names_the_line_and_busybox_has_none(host):
    wanted = [("check", "* * * * * y\n0 25 * * * x\n"), ("read", None)]
    done = host(sys.executable, "-c", STEPS, input=json.dumps(wanted).encode())
    said, table = map(json.loads, done.stdout.splitlines())
    assert said is None if host.dialect == "busybox" else "line 2: bad hour" in said
    assert table is None


@pytest.mark.parametrize(
    "dialect",
    [
        pytest.param(Dialect.DEBIAN, marks=needs_debian),
        pytest.param(Dialect.CRONIE, marks=needs_cronie),
    ],
)
def test_the_hosts_checker_takes_whatever_we_accept(dialect, tmp_path):
    accepted = accepted_of(dialect, 12_000)
    assert len(accepted) > 1500
    assert checker_says(dialect, tmp_path / "tab", accepted) == ""
    for bad in ("5/10 * * * *", "0 24 * * *"):
        assert "bad" in checker_says(dialect, tmp_path / "tab", [*accepted, bad])


@needs_busybox
@pytest.mark.skipif(os.geteuid() != 0, reason="busybox's crond wants root")
def test_busyboxs_daemon_reads_what_we_accept_as_we_do(tmp_path):
    accepted = accepted_of(Dialect.BUSYBOX, 12_000)
    assert len(accepted) > 1500
    refused = ["5-7/2-3 * * * *", "0 24 * * *"]
    seen = busybox_reads(tmp_path, [*accepted, *refused])
    assert seen[len(accepted) :] == [None, None]
    for text, times in zip(accepted, seen, strict=False):
        expression = parse_expression(text, Dialect.BUSYBOX)
        assert times is not None, text
        minutes, hours, days, months, weekdays = times
        assert (minutes, hours) == (expression.minute.values, expression.hour.values), text
        assert {month + 1 for month in months} == expression.month.values, text
        assert (days - {0}, weekdays) == (expression.day.values, expression.weekday.values), text
        # A field that leaves nothing out is as good as absent (FixDayDow in its crond.c).
        stars = (len(days) == 32, len(weekdays) == 7)
        assert stars == (expression.day.star, expression.weekday.star), text


def busybox_reads(directory, expressions):
    """What busybox's crond makes of each expression: its five fields' numbers; None: it rejects.

    At its chattiest it logs the bits of each field it has read.
    """
    spool, log = directory / "spool", directory / "log"
    spool.mkdir()
    seen = []
    for start in range(0, len(expressions), 1000):  # it reads 2048 lines at most
        part = expressions[start : start + 1000]
        (spool / "root").write_text("".join(f"{text} true\n" for text in part))
        log.unlink(missing_ok=True)
        command = [BUSYBOX, "crond", "-f", "-l", "0", "-c", spool, "-L", log]
        with subprocess.Popen(command) as daemon:
            latest = time.monotonic() + 20
            while not log.exists() or log.read_text().count("entry:") < len(part):
                assert time.monotonic() < latest
                time.sleep(0.1)
            time.sleep(0.2)  # the last one's bits
            daemon.terminate()
        _, *told = log.read_text().split("crond: user:root entry:(null)\n")
        seen += [None if "parse error" in lines else _bits(lines) for lines in told]
    return seen


def _bits(lines):
    fields = [line for line in lines.splitlines() if set(line) <= {"0", "1"}]
    assert len(fields) == len(SPANS), lines
    return [{n for n, bit in enumerate(field) if bit == "1"} for field in fields]


def accepted_of(dialect, count):
    """What our grammar accepts of `count` expressions, most with a mistake or two in them."""
    draws = random.Random(f"{dialect} 2026")
    accepted = set()
    for _ in range(count):
        text = list(" ".join(field_of(draws, span) for span in SPANS))
        for _ in range(draws.choice((0, 1, 1, 2))):
            place = draws.randrange(len(text))
            text[place : place + draws.choice((0, 1))] = draws.choice(CHARACTERS)
        try:
            parse_expression("".join(text), dialect)
        except BadExpression:
            continue
        accepted.add("".join(text))
    return sorted(accepted)


def field_of(draws, span):
    low, high = sorted(draws.choices(range(span.low, span.high + 1), k=2))
    names = [name for name in span.names if span.number(name) in range(low, high + 1)]
    item = draws.choice(("*", str(low), f"{low}-{high}", f"*/{max(low, 1)}", *names[:1]))
    return draws.choice((item, item, f"{item},{high}"))


def checker_says(dialect, file, expressions):
    file.write_text("".join(f"{text} true\n" for text in expressions))
    command = (
        ["crontab", "-n", str(file)]
        if dialect is Dialect.DEBIAN
        else cronie("bin/crontab", "-T", str(file))
    )
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return "" if done.returncode == 0 else done.stdout + done.stderr
