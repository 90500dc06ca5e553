"""What a user sees when something is wrong: one clear line and a stable exit code."""

import reprlib

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOT_NOW = 75  # sysexits.h EX_TEMPFAIL


_short = reprlib.Repr()
_short.maxstring = 100


def quoted(value: object) -> str:
    """`value` as a message may quote it: escaped, and its middle left out where it is long."""
    return _short.repr(value)


class MaejobsError(Exception):
    """A message fit for a user: names the thing, the place and the mend."""

    exit_code = EXIT_FAILED


class UserError(MaejobsError):
    """Bad usage or bad input; nothing was written."""

    exit_code = EXIT_USAGE


class NotNow(MaejobsError):
    """A gate said no: the run is recorded as skipped for `reason`, and a later slot may succeed."""

    exit_code = EXIT_NOT_NOW

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
