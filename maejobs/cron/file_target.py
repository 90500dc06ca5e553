"""A file that stands for a crontab where there is no cron, or none to be touched."""

import os
from pathlib import Path

from maejobs.cron.host import check_on_host
from maejobs.cron.install import TableChanged
from maejobs.cron.target import NO_TABLE, Listing, TargetError
from maejobs.files import write_atomically
from maejobs.privilege import Owner, acting_as, owner_of


class FileTarget:
    """The table in the file at `path`, or where a link there leads."""

    system = False
    wants_newline = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f"file {path}"
        self._looked = False
        self._seen: bytes | None = None

    @property
    def slug(self) -> str:
        import hashlib

        mark = hashlib.sha256(os.fsencode(self.path.resolve())).hexdigest()[:12]
        return f"file-{mark}"

    @property
    def owner(self) -> Owner:
        return owner_of(self.path.resolve().parent)

    @property
    def lock_file(self) -> Path:
        path = self.path.resolve()
        return path.with_name(f".{path.name}.lock")

    def listing(self) -> Listing:
        table = self.read()
        if table is None:
            return Listing(b"", NO_TABLE + f" {_user()}\n".encode(), 1)
        return Listing(table, b"", 0)

    def read(self) -> bytes | None:
        try:
            self._seen = self.path.read_bytes()
        except FileNotFoundError:
            self._seen = None
        except OSError as error:
            raise TargetError(f"{self.name} cannot be read: {error.strerror}") from error
        self._looked = True
        return self._seen

    def check(self, table: bytes) -> None:
        # A file may lack its final newline, and taking our block out must give that file back.
        whole = table if table.endswith(b"\n") or not table else table + b"\n"
        try:
            check_on_host(whole)
        except TargetError:
            return  # a host whose checker cannot run is no reason to refuse a file

    def install(self, table: bytes) -> None:
        path = self.path.resolve()  # a link keeps pointing where it points
        try:
            with acting_as(self.owner):
                if not path.exists():
                    if table:
                        write_atomically(path, table, at_last=self._refuse_changed)
                    return
                found = path.stat()
                # Who may write to the directory may replace the file, and would make it theirs.
                if not os.access(path, os.W_OK, effective_ids=True):
                    why = f"its mode {found.st_mode & 0o777:04o} keeps {_user()} from that"
                    raise TargetError(f"{self.name} cannot be written: {why}")
                theirs = Owner(found.st_uid, found.st_gid)
                given = theirs if os.geteuid() == 0 and theirs != self.owner else None
                write_atomically(path, table, found.st_mode & 0o777, given, self._refuse_changed)
        except OSError as error:
            raise TargetError(f"{self.name} cannot be written: {error.strerror}") from error

    def _refuse_changed(self) -> None:
        """Raise TableChanged where the file is not what was read last: a flush takes a while."""
        seen = self._seen
        if self._looked and self.read() != seen:
            raise TableChanged(f"{self.name} was changed by somebody else meanwhile; try again")


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
