"""Which cron the host has, found without a question that could change anything."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from maejobs.cron.dialect import Dialect, dialect_of, host_dialect
from maejobs.errors import UserError
from maejobs.home import Home

# Ours only asks for the version: `-n` sets the cluster's host name on cronie, `-` reads a table.
RECORDING = """#!/bin/sh
echo "$*" >> {calls}
{answer}
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch) -> Iterator[Callable[..., Path]]:
    """`host(answer)` puts a `crontab` that answers so into an otherwise empty PATH; its calls."""
    directory, calls = tmp_path / "bin", tmp_path / "calls"
    directory.mkdir()
    calls.touch()
    monkeypatch.setenv("PATH", str(directory))
    host_dialect.cache_clear()

    def make(answer: str, name: str = "crontab") -> Path:
        script = directory / name
        script.write_text(RECORDING.format(calls=calls, answer=answer))
        script.chmod(0o755)
        if name != "crontab":
            (directory / "crontab").symlink_to(script)
        return calls

    yield make
    host_dialect.cache_clear()


@pytest.mark.parametrize(
    ("answer", "dialect"),
    [
        ("echo cronie 1.7.2", Dialect.CRONIE),
        ("echo cronie 1.7.2 >&2", Dialect.CRONIE),
        ("echo \"crontab: invalid option -- 'V'\" >&2; exit 1", Dialect.DEBIAN),
        ("echo usage of something cronie-like; exit 1", Dialect.DEBIAN),
        ("echo vixie 4", Dialect.DEBIAN),
    ],
)
def test_the_version_tells_cronie_and_nothing_else_is_asked(host, answer, dialect):
    calls = host(answer)
    assert host_dialect() is dialect
    assert host_dialect() is dialect
    assert calls.read_text() == "-V\n"


def test_busybox_is_known_by_its_link_and_never_called(host):
    calls = host("echo cronie 1.7.2", name="busybox-1.36")
    assert host_dialect() is Dialect.BUSYBOX
    assert calls.read_text() == ""


def test_debians_is_the_default_where_there_is_no_crontab_or_it_cannot_run(host, tmp_path):
    assert shutil.which("crontab") is None
    assert host_dialect() is Dialect.DEBIAN
    host_dialect.cache_clear()
    host("")
    (tmp_path / "bin" / "crontab").write_bytes(b"\x7fELF nothing")
    assert host_dialect() is Dialect.DEBIAN


def test_a_home_may_name_the_dialect_else_who_reads_its_table_counts(host, tmp_path):
    calls = host("echo cronie 1.7.2")
    assert dialect_of(Home(tmp_path, configured_dialect="busybox")) is Dialect.BUSYBOX
    assert dialect_of(Home(tmp_path, crontab="/a/file")) is Dialect.DEBIAN
    assert calls.read_text() == ""
    assert dialect_of(Home(tmp_path, crontab="user:joe")) is Dialect.CRONIE


def test_a_dialect_that_is_none_is_bad_input(tmp_path):
    with pytest.raises(UserError, match=r"maejobs\.toml: dialect = 'vixie' is none of debian, "):
        dialect_of(Home(tmp_path, configured_dialect="vixie"))
