"""What root does in somebody's directories, done as that somebody: none of it is then root's."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Owner(NamedTuple):
    """Who a file belongs to, by number."""

    uid: int
    gid: int


def ourselves() -> Owner:
    """Who we act as."""
    return Owner(os.geteuid(), os.getegid())


def owner_of(path: Path) -> Owner:
    """Who owns `path`, or the nearest directory above it that is there."""
    for place in (path, *path.parents):
        try:
            found = place.stat()
        except OSError:
            continue
        return Owner(found.st_uid, found.st_gid)
    return ourselves()


def caller() -> str:
    """The name of the user who calls us, also by way of sudo."""
    import pwd

    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container has numbers that nobody has named
        user = str(os.getuid())
    return os.environ.get("SUDO_USER", user)


def become(owner: Owner) -> None:
    """From here on root is `owner`, with their groups, HOME and name, and no way back.

    Does nothing for others than root, and for root's own. Raises KeyError where the host knows no
    user of that number.
    """
    if os.geteuid() != 0 or owner.uid == 0:
        return
    import pwd

    account = pwd.getpwuid(owner.uid)
    os.initgroups(account.pw_name, account.pw_gid)
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    os.environ |= {"HOME": account.pw_dir, "USER": account.pw_name, "LOGNAME": account.pw_name}


@contextmanager
def acting_as(owner: Owner) -> Iterator[None]:
    """Within, root has the rights of `owner`, and no link of theirs leads root astray.

    Does nothing for others than root, and for root's own. Not for use beside threads.
    """
    if os.geteuid() != 0 or owner.uid == 0:
        yield
        return
    groups, gid = os.getgroups(), os.getegid()
    try:
        os.setgroups(_groups_of(owner))
        os.setegid(owner.gid)
        os.seteuid(owner.uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)


def _groups_of(owner: Owner) -> list[int]:
    import pwd

    try:
        return os.getgrouplist(pwd.getpwuid(owner.uid).pw_name, owner.gid)
    except KeyError:
        return [owner.gid]
