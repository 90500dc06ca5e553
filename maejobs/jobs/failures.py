"""The classes of failures: which a job may ask to have tried again, and whose fault they are."""

from difflib import get_close_matches

EXIT_CODE, SIGNAL, BAD_INPUT = "exit_code", "signal", "bad_input"
BAD_JOB_FILE, BAD_COMMAND, COULD_NOT_START = "bad_job_file", "bad_command", "could_not_start"
OOM_KILLED, CUDA_OUT_OF_MEMORY, XID = "oom_killed", "cuda_out_of_memory", "xid"
NO_SPACE, DIVERGED = "no_space", "diverged"
STALLED, TIMED_OUT, LOST = "stalled", "timed_out", "lost"

# The host's fault, not the command's: these have an allowance of tries of their own.
INFRASTRUCTURE = (OOM_KILLED, CUDA_OUT_OF_MEMORY, XID, NO_SPACE, COULD_NOT_START, STALLED)
TRIED_AGAIN = (EXIT_CODE, SIGNAL, *INFRASTRUCTURE)  # unless the job says otherwise
WOULD_HAPPEN_AGAIN = (BAD_INPUT, BAD_COMMAND, DIVERGED)  # tried again only if the job says so
NEVER_TRIED_AGAIN = {
    TIMED_OUT: "its deadline has passed",
    BAD_JOB_FILE: "there is no job to try",
    LOST: "nobody is left to do it; the next slot goes on",
}
CLASSES = (*TRIED_AGAIN, *WOULD_HAPPEN_AGAIN, *NEVER_TRIED_AGAIN)


def check_retried(name: str) -> str:
    """`name` itself, if runs that fail so can be tried again.

    Raises ValueError that says why not, or names the nearest class.
    """
    if why := NEVER_TRIED_AGAIN.get(name):
        raise ValueError(f"what ends as {name} is never tried again: {why}")
    known = (*TRIED_AGAIN, *WOULD_HAPPEN_AGAIN)
    if name not in known:
        near = get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        raise ValueError(f"{name!r} is no class of failures; {hint}")
    return name
