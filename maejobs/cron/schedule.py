"""Which lines of our block are one home's: several homes may share a crontab."""

import os
import shlex

from maejobs.cron.block import Entry, read_entries
from maejobs.home import Home

OPTION = "--home"
# Lines of ours that are no job's; no job file can be called so: names are lower case.
PROBE = "PROBE"  # asks whether cron is alive
RECONCILE = "RECONCILE"  # sets the record straight


def command_words(entry: Entry) -> list[str]:
    """The words of the entry's command as sh sees them; [] where it cannot be taken apart."""
    try:
        return shlex.split(entry.command.replace("\\%", "%"))
    except ValueError:
        return []


def belongs_to(entry: Entry, home: Home) -> bool:
    """Whether the entry's line starts a job of `home`; one that names none means the default."""
    return entry.job not in (PROBE, RECONCILE) and _calls(entry, home)


def is_probe(entry: Entry, home: Home) -> bool:
    """Whether the entry is a probe of this home's, perhaps one left behind."""
    return entry.job == PROBE and _calls(entry, home)


def is_reconcile(entry: Entry, home: Home) -> bool:
    """Whether the entry sets this home's record straight."""
    return entry.job == RECONCILE and _calls(entry, home)


def _calls(entry: Entry, home: Home) -> bool:
    words = command_words(entry)
    if not words:
        return False
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == OPTION:
            return _same_place(following, home)
        if word.startswith(f"{OPTION}="):
            return _same_place(word.removeprefix(f"{OPTION}="), home)
    return home.is_default


def entries_of(table: bytes | None, home: Home) -> list[Entry]:
    """The entries of `home` in `table`. Raises BrokenBlock."""
    return [entry for entry in read_entries(table or b"") if belongs_to(entry, home)]


def _same_place(named: str, home: Home) -> bool:
    """Whether both are one directory, by whichever spelling or link: or a job would start twice."""
    root = str(home.root)
    return named == root or os.path.realpath(named) == os.path.realpath(root)
