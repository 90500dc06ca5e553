"""Secrets that a command prints are not in its log, which is otherwise what it wrote."""

import os
import re

from hypothesis import given
from hypothesis import strategies as st
from running import only_run, python, shell

from maejobs.supervise import redaction
from maejobs.supervise.execute import execute
from maejobs.supervise.log_limit import punch_hole
from maejobs.supervise.redaction import Redaction

SECRET = "correct horse"


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=12),
    st.lists(st.integers(0, 190), max_size=4),
)
def test_in_whatever_parts_it_comes_and_is_looked_at(tmp_path_factory, parts, places):
    log = tmp_path_factory.mktemp("log") / "log"
    whole = bytearray(b"." * 200)
    for place in places:
        whole[place : place + len(SECRET)] = SECRET.encode()
    chunk, redaction.CHUNK = redaction.CHUNK, 16
    try:
        hiding, written = Redaction(log, [SECRET]), 0
        hiding.tick()  # before there is a log
        for part in [*parts, len(whole)]:
            with log.open("ab") as file:
                file.write(whole[written : written + part])
            written += part
            hiding.tick()
    finally:
        redaction.CHUNK = chunk
    assert log.read_bytes() == bytes(whole).replace(SECRET.encode(), b"*" * len(SECRET))


@given(st.permutations(["pass", "password1", "word1234"]), st.integers(1, 12))
def test_a_secret_that_another_begins_or_overlaps_leaves_no_end(tmp_path_factory, secrets, part):
    """However it comes: what is hidden at once was all of one, and part of the next."""
    log = tmp_path_factory.mktemp("log") / "log"
    whole = b"a password1 and a password1234, a pass"
    hiding = Redaction(log, secrets)
    for at in range(0, len(whole), part):
        with log.open("ab") as file:
            file.write(whole[at : at + part])
        hiding.tick()
    assert log.read_bytes() == b"a ********* and a ************, a ****"


def test_what_a_job_prints_of_its_secrets_is_not_in_its_log(home, write_job, inside):
    (home.root / "env").write_text(f"PHRASE={SECRET}\nBIT=no\n")
    (home.root / "env").chmod(0o600)
    script = (
        "import os, sys, time\n"
        "print('the phrase:', os.environ['PHRASE'], 'and no more', flush=True)\n"
        "half = len(os.environ['PHRASE']) // 2\n"
        "sys.stdout.write(os.environ['PHRASE'][:half]); sys.stdout.flush(); time.sleep(0.7)\n"
        "print(os.environ['PHRASE'][half:])\n"
        "print(os.environ['MY_TOKEN'], file=sys.stderr)\n"
    )
    write_job("telling", python(script) + 'env_file = "env"\nenv = { MY_TOKEN = "a\\nb\\tc!" }\n')
    execute(home, "telling", "manual")

    run = only_run(home, "telling")
    assert (home.root / run.directory / "log").read_text() == (
        f"the phrase: {'*' * 13} and no more\n{'*' * 13}\n{'*' * 6}\n"
    )
    assert "horse" not in inside("logs", "telling").stdout


def test_what_was_dropped_of_a_log_is_not_looked_through(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"a" * 4096 + SECRET.encode() + b"a" * 9 * 4096 + SECRET.encode())
    punch_hole(log, 4096, 8 * 4096)
    taken = log.stat().st_blocks
    Redaction(log, [SECRET]).tick()
    assert SECRET.encode() not in log.read_bytes()
    assert log.stat().st_blocks == taken


def test_a_command_that_floods_its_log_keeps_nobody_looking(tmp_path, monkeypatch, caplog):
    """It writes more while we look: as if each chunk were followed by another."""
    monkeypatch.setattr(redaction, "CHUNK", 4096)
    log = tmp_path / "log"
    log.write_bytes(SECRET.encode() * 1000)
    hiding, pread = Redaction(log, [SECRET]), os.pread

    def flooded(*arguments):
        with log.open("ab") as file:
            file.write(SECRET.encode() * 1000)
        assert log.stat().st_size < 50_000_000
        return pread(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr("os.pread", flooded)
        hiding.tick(0.05)
    assert SECRET.encode() in log.read_bytes()
    monkeypatch.setattr(redaction, "LAST_LOOK_SECONDS", 0.0)
    hiding.close()
    assert "secrets near its end are not hidden" in caplog.text
    hiding.tick(60)
    hiding.close()
    assert SECRET.encode() not in log.read_bytes()
    assert len(caplog.messages) == 1


def test_a_log_that_cannot_be_written_costs_a_warning_not_the_run(tmp_path, caplog):
    (tmp_path / "elsewhere").write_text(SECRET)
    log = tmp_path / "log"
    log.symlink_to(tmp_path / "elsewhere")
    hiding = Redaction(log, [SECRET])
    hiding.tick()
    hiding.tick()
    assert (tmp_path / "elsewhere").read_text() == SECRET
    (warning,) = caplog.messages
    assert re.search(r"secrets in .*log are not hidden: Too many levels", warning)


def test_without_secrets_nothing_is_opened(tmp_path, home, write_job):
    Redaction(tmp_path / "missing" / "log", ["abc", ""]).tick()
    write_job("plain", shell("echo all"))
    execute(home, "plain", "manual")
    assert (home.root / only_run(home, "plain").directory / "log").read_text() == "all\n"
