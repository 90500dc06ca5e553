"""What can go wrong in ways a user can mend."""

import difflib
from collections.abc import Iterable


class BadInput(Exception):
    """Something given to us is wrong: one line that names the thing, the place and the mend."""

    exit_code = 2


class Busy(Exception):
    """Somebody else holds what we need: not now, perhaps later."""

    exit_code = 75


class TrainingFailed(Exception):
    """The run itself went wrong (a loss that is not a number, say)."""

    exit_code = 1


def told(error: BaseException) -> tuple[str, int] | None:
    """What a user is told of an error that can be mended, and the exit code; None: it is a bug."""
    if isinstance(error, BadInput | Busy | TrainingFailed):
        return str(error), error.exit_code
    if isinstance(error, OSError):  # a full disk, a directory that may not be written
        return f"{error.filename or 'system'}: {error.strerror or error}", 1
    return None


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint at what `word` may have meant: " (did you mean 'x'?)", or nothing."""
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {match[0]!r}?)" if match else ""
