"""What can go wrong in ways a user can mend."""

import difflib
import errno
from collections.abc import Iterable

# Where a place was named that cannot be what it should be, not where a machine failed.
OF_THE_PLACE = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
    errno.ELOOP, errno.ENAMETOOLONG,
}  # fmt: skip
# Where a disk, or what a user may have of it, is full.
OF_ROOM = {errno.ENOSPC, errno.EDQUOT}


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
        line = f"{error.filename or 'system'}: {error.strerror or error}"
        return line, 2 if error.errno in OF_THE_PLACE else 1
    named_so = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if named_so or "can't allocate memory" in str(error):
        mend = "set run.micro_batch, run.recompute or a smaller model"
        why = _first_words(error) or "it cannot be had"  # Python's own says nothing
        return f"the memory is not enough: {why}; {mend}", 1
    if "</torch_" in str(error):  # a file in /dev/shm: who reads ahead could not hand over
        why = str(error).strip().splitlines()[-1].removeprefix("RuntimeError: ")
        return f"the room in /dev/shm is not enough: {why}; give it more, or pack the images", 1
    if str(error).startswith("DataLoader worker"):  # PyTorch's words, that a supervisor knows
        mend = "for want of memory or of room in /dev/shm? then lower run.workers"
        return f"{_first_words(error)}: {mend}", 1
    return None


def _first_words(error: BaseException) -> str:
    """Of what PyTorch says, as long as it often is, that which a supervisor knows it by."""
    line = str(error).strip().partition("\n")[0]
    return ". ".join(line.split(". ")[:2]).rstrip(".")


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint at what `word` may have meant: " (did you mean 'x'?)", or nothing."""
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {match[0]!r}?)" if match else ""
