"""Output that no disk has room for, or that nobody reads: what was to be done is done."""

import os
import sys
from collections.abc import Callable

import forked
import pytest
from tiny import TINY

import mae.train.loop  # noqa: F401 (once, and not in each copy of this process)

OUT, ERR = 1, 2


@pytest.fixture(params=["its reader is gone", "no room", "closed"])
def without(request: pytest.FixtureRequest) -> Callable[..., tuple[int, str, str]]:
    """`without(ERR, "presets")`: exit code and output of mae, of which one stream takes nothing."""

    def spoilt(*numbers: int) -> None:
        reading, unread = os.pipe()
        os.close(reading)
        instead = os.open("/dev/full", os.O_WRONLY) if request.param == "no room" else unread
        for number in numbers:
            os.close(number) if request.param == "closed" else os.dup2(instead, number)

    def call(numbers: tuple[int, ...], *arguments: object) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "mae", *arguments]
        done = forked.run(command, preexec_fn=lambda: spoilt(*numbers))
        return done.returncode, done.stdout, done.stderr

    return call


def test_a_night_ends_with_its_checkpoint(without, tmp_path):
    settings = [part for setting in TINY for part in ("--set", setting)]
    night = ["pretrain", "--config", "fashion-tiny", "--output", tmp_path, *settings]
    assert without((OUT, ERR), *night) == (0, "", "")
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000000012"]


def test_what_was_only_to_be_printed_is_told_to_be_lost(without, request):
    lost = "no room" in request.node.name
    told = "mae: standard output: No space left on device\n" if lost else ""
    assert without((OUT,), "presets") == (int(lost), "", told)
    assert without((ERR,), "preset")[:2] == (2, "")
