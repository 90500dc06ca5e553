"""A user's crontab, behind the host's `crontab`: our own, or with root's rights another's."""

import os
import pwd
from pathlib import Path

from maejobs.cron.debian_listing import read_listing
from maejobs.cron.dialect import Dialect, host_dialect
from maejobs.cron.host import (
    call_crontab,
    check_on_host,
    raise_rejection,
    refuse_unfaithful,
    says_no_table,
    words_of,
)
from maejobs.cron.table_lock import user_lock_file
from maejobs.cron.target import Listing, TargetError
from maejobs.errors import UserError
from maejobs.privilege import Owner


class UserTarget:
    """The crontab of the user we run as, or of `user`."""

    system = False
    wants_newline = True

    def __init__(self, user: str | None = None) -> None:
        """Raises UserError for a user who is not there, and for another's table unless root's."""
        us = os.geteuid()
        entry = _entry(user)
        if entry is not None and entry.pw_uid != us and us != 0:
            raise UserError(
                f"only root may read or change the crontab of {user}: run it with sudo, or as "
                f"{user}"
            )
        # `crontab -u` is root's, even with one's own name.
        self._whose = ("-u", entry.pw_name) if entry and entry.pw_uid != us else ()
        called = entry.pw_name if entry else str(us)
        self.name = f"crontab of {called}"
        self.slug = f"user-{called}"
        self.owner = Owner(entry.pw_uid, entry.pw_gid) if entry else Owner(us, os.getegid())
        self._home = Path(entry.pw_dir if entry else "/nonexistent")
        self._is_surely_shown = False

    @property
    def lock_file(self) -> Path:
        return user_lock_file(self._home, self.owner)

    def listing(self) -> Listing:
        return call_crontab(*self._whose, "-l")

    def read(self) -> bytes | None:
        if host_dialect() is Dialect.DEBIAN:
            listing, self._is_surely_shown = read_listing(self._whose)
        else:
            listing, self._is_surely_shown = self.listing(), True
        if listing.status == 0:
            return listing.stdout
        if says_no_table(listing):
            return None
        raise TargetError(f"{self.name} cannot be read: {words_of(listing)}")

    def check(self, table: bytes) -> None:
        refuse_unfaithful(table, self._is_surely_shown)
        check_on_host(table)

    def install(self, table: bytes) -> None:
        refuse_unfaithful(table, self._is_surely_shown)
        # With no line left there is no table, as before the first one was scheduled.
        arguments = (*self._whose, "-" if table else "-r")
        done = call_crontab(*arguments, stdin=table)
        if done.status != 0 and not (not table and says_no_table(done)):
            raise_rejection(done, table)
            raise TargetError(f"{self.name} cannot be written: {words_of(done)}")


def _entry(user: str | None) -> pwd.struct_passwd | None:
    """The password file's entry of `user`, or of whoever we are, who may have none."""
    try:
        return pwd.getpwuid(os.geteuid()) if user is None else pwd.getpwnam(user)
    except KeyError:
        if user is not None:
            raise UserError(f"there is no user {user!a} on this host") from None
        return None
