"""Which files may say what is run as us: those that nobody else can write, as cron has it."""

import os
import shlex
import stat
from pathlib import Path

from maejobs.errors import UserError, quoted

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
OTHERS_AT_ALL = stat.S_IRWXG | stat.S_IRWXO


def why_untrusted(path: Path, mode: int, owner: int, us: int) -> str | None:
    """Why a file or directory of `mode` and `owner` may not tell `us` what to run, and the mend.

    None: it may. Its owner must be us or root, and only the owner may write to it.
    """
    place = shlex.quote(str(path))
    if owner not in (0, us):
        theirs = f"{path} belongs to {_name_of(owner)}, neither you nor root"
        return f"{theirs}: take one of your own, or, if it is to be yours, `chown {us} {place}`"
    if mode & OTHERS_WRITE:
        return f"{path} is writable by others than its owner: `chmod go-w {place}`"
    return None


def why_not_private(path: Path, mode: int, owner: int, us: int) -> str | None:
    """Why a file of `mode` and `owner` is no place for our secrets, and the mend; None: it is."""
    place = shlex.quote(str(path))
    if owner != us:
        return f"{path} belongs to {_name_of(owner)}, not to you: `chown {us} {place}`"
    if mode & OTHERS_AT_ALL:
        return f"{path} is open to others than its owner: `chmod 600 {place}`"
    return None


def refuse_untrusted(path: Path) -> None:
    """Raises UserError with the mend where others may write to `path`; OSError: it is not there."""
    found = path.stat()
    if why := why_untrusted(path, found.st_mode, found.st_uid, os.geteuid()):
        raise UserError(why)


def read_trusted(path: Path, private: bool = False) -> bytes:
    """The bytes of the file at `path`, judged as it is open, so that nothing changes in between.

    `private`: others may not even read it. Raises UserError with the mend; OSError.
    """
    judge = why_not_private if private else why_untrusted
    # A pipe without a writer must not keep a night waiting.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{path}: cannot be read: it is not a regular file")
        if why := judge(path, found.st_mode, found.st_uid, os.geteuid()):
            raise UserError(why)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def _name_of(owner: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return f"user number {owner}"


def read_trusted_text(path: Path) -> str:
    """As `read_trusted`, the file's UTF-8 as text, without the mark that editors may put before it.

    Raises UserError with the place; FileNotFoundError where there is neither file nor link.
    """
    try:
        return read_trusted(path).decode("utf-8-sig")
    except FileNotFoundError:
        if path.is_symlink():
            target = quoted(str(path.readlink()))
            raise UserError(f"{path}: is a link to {target}, where nothing is") from None
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        byte = f"byte 0x{error.object[error.start]:02x}"
        raise UserError(f"{path}:{line}: cannot be read: {byte} is no UTF-8") from error
