"""Where a user has something written: no device, no link, and nothing that is the home's own."""

import os

import pytest

WRITERS = [("db", "export", "--output"), ("digest", "--html")]


@pytest.mark.parametrize("writer", WRITERS, ids=" ".join)
def test_what_must_not_be_replaced_is_not(home, write_job, inside, tmp_path, snapshot, writer):
    write_job("quick", 'command = ["true"]\n')
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    (tmp_path / "database").symlink_to(home.database_file)
    before = snapshot()
    places = [tmp_path / name for name in ("pipe", "link", "database", "none/file")]
    places += [home.database_file, home.config_file, home.jobs_dir / "quick.toml"]
    places += [home.jobs_dir / "new.toml", home.root / "x" / ".." / "db" / "runs.db", home.root]
    for place in places:
        for words in ((), ("--dry-run",)):
            done = inside(*writer, str(place), *words)
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), place
    assert snapshot() == before
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("writer", WRITERS, ids=" ".join)
def test_a_file_elsewhere_in_the_home_may_be(home, inside, writer):
    for _ in range(2):
        assert inside(*writer, str(home.root / "mine")).returncode == 0
