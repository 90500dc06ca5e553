"""What a command's end means for its run. Pure."""

import signal

from maejobs.rundb import run as states
from maejobs.supervise.child import CANCEL, DEADLINE, STALL, Ending


def judge(
    ending: Ending, said_well: bool = False, who: str | None = None
) -> tuple[str, str | None]:
    """The state and the reason that follow from how the command ended.

    A command that was told to stop and ends with 0 has stopped in good order: at the deadline that
    is success, on a signal it is what was asked for. So is at the deadline one that `said_well`,
    by its last outcome event, that it has paused or completed: our TERM met it on its way out.
    One that had stalled failed however it ends: its night is lost, and somebody should know.
    `who` had it stopped, if somebody left word.
    """
    if ending.stopped_for == CANCEL:
        return states.CANCELLED, why_cancelled(ending.told_by, who)
    stalled = ending.stopped_for == STALL
    if not stalled and (ending.exit_code == 0 or (ending.stopped_for == DEADLINE and said_well)):
        return states.SUCCEEDED, None
    if ending.signal is not None:
        how = f"ended by {_signal_name(ending.signal)}"
    else:
        how = f"exit code {ending.exit_code}"
    if ending.stopped_for == DEADLINE:
        return states.TIMED_OUT, f"told to stop at the deadline; {how}"
    if stalled:
        return states.FAILED, f"stalled, and was told to stop; {how}"
    return states.FAILED, how


def why_cancelled(told_by: int | None, who: str | None) -> str:
    """The reason of a run that this signal stopped: who is behind it, or the signal's name."""
    how = "a signal" if told_by is None else _signal_name(told_by)
    return f"stopped by {who or f'{how} to its supervisor'}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have none
        return f"signal {number}"
