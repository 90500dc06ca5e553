"""Which lines of our block are one home's: several homes may share a crontab."""

import shlex

from maejobs.cron.block import Entry, read_entries
from maejobs.cron.target import Target
from maejobs.home import Home


def belongs_to(entry: Entry, home: Home) -> bool:
    """Whether the entry's line starts its job in `home`; one that names none means the default."""
    try:
        words = shlex.split(entry.command.replace("\\%", "%"))
    except ValueError:
        return False
    if "--home" not in words[:-1]:
        return home.is_default
    return words[words.index("--home") + 1] == str(home.root)


def entries_of(target: Target, home: Home) -> list[Entry]:
    """The entries of `home` in the target's table. Raises TargetError, BrokenBlock."""
    return [entry for entry in read_entries(target.read() or b"") if belongs_to(entry, home)]
