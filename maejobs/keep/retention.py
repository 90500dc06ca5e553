"""Which checkpoints stay: a policy in, decisions with reasons out. Touches no file."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from maejobs.errors import UserError
from maejobs.keep.checkpoint import StoredCheckpoint

Bucket = Callable[[datetime], object]

# Natural boundaries, so that "daily" means calendar days and not 24-hour steps from now.
BUCKETS: dict[str, Bucket] = {
    "daily": lambda at: at.date(),
    "weekly": lambda at: at.isocalendar()[:2],
    "monthly": lambda at: (at.year, at.month),
}


@dataclass(frozen=True)
class Policy:
    """How many checkpoints each rule keeps; rules add up. `best` goes by `metric`.

    `diverged` and `heads` (of each recipe) are counts of what lies beside them (`keep.beside`).

    Raises UserError for a negative count, or `best` without a metric: a policy that is not
    understood must not delete anything.
    """

    keep_last: int = 3
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    best: int = 0
    metric: str | None = None
    higher_is_better: bool = False
    diverged: int = 2
    heads: int = 3

    def __post_init__(self) -> None:
        for rule in ("keep_last", "daily", "weekly", "monthly", "best", "diverged", "heads"):
            if getattr(self, rule) < 0:
                raise UserError(f"{rule} = {getattr(self, rule)}: a count cannot be negative")
        if self.best and not self.metric:
            raise UserError("best needs a metric to go by, for example reconstruction_mse")


@dataclass(frozen=True)
class Decision:
    """Whether a checkpoint stays, and why, or why not."""

    checkpoint: StoredCheckpoint
    keep: bool
    reasons: tuple[str, ...]


def plan_retention(
    checkpoints: Iterable[StoredCheckpoint], policy: Policy, zone: tzinfo | None = None
) -> list[Decision]:
    """Decide what stays, newest (by step, then date) first.

    1. The newest valid checkpoint, pinned ones, and ones nobody here can judge always stay.
    2. A rule `daily = 7` keeps the newest checkpoint of each of the seven newest days that have
       one; days without a checkpoint use up nothing (restic's `forget` counts the same way).
       Days are `zone`'s; None: the host's.
    3. Damaged checkpoints count for no rule, so they cannot displace good ones, and go. But
       where no valid one is left, nothing goes: a damaged one may be all that can be rescued.

    Raises UserError where `policy.metric` is in no checkpoint although some were evaluated.
    """
    newest_first = sorted(checkpoints, key=lambda c: (c.step, c.created), reverse=True)
    valid = [c for c in newest_first if c.valid]
    reasons: dict[str, list[str]] = {c.name: [] for c in newest_first}

    for checkpoint in valid[:1]:
        reasons[checkpoint.name].append("newest valid")
    for checkpoint in newest_first:
        if checkpoint.pinned:
            reasons[checkpoint.name].append("pinned")
        if not checkpoint.judged:
            reasons[checkpoint.name].append(f"not ours to judge: {checkpoint.problem}")
        elif not valid:
            reasons[checkpoint.name].append(
                f"no valid checkpoint to replace it: {_why(checkpoint)}"
            )
    for checkpoint in valid[: policy.keep_last]:
        reasons[checkpoint.name].append("last")
    for rule, bucket in BUCKETS.items():
        for checkpoint in _first_of_each(valid, bucket, zone)[: getattr(policy, rule)]:
            reasons[checkpoint.name].append(rule)
    for checkpoint in _best(valid, policy):
        reasons[checkpoint.name].append(f"best {policy.metric}")

    return [
        Decision(c, True, tuple(reasons[c.name]))
        if reasons[c.name]
        else Decision(c, False, ("no rule keeps it" if c.valid else _why(c),))
        for c in newest_first
    ]


def remarks(checkpoints: Iterable[StoredCheckpoint], policy: Policy) -> tuple[str, ...]:
    """What a user should know of a plan besides its decisions: a rule that could not be applied."""
    if policy.best and not any(policy.metric in c.metrics for c in checkpoints if c.valid):
        return (f"no checkpoint has a {policy.metric} yet, so none is kept as the best",)
    return ()


def _why(checkpoint: StoredCheckpoint) -> str:
    return f"invalid: {checkpoint.problem}"


def _first_of_each(
    checkpoints: Sequence[StoredCheckpoint], bucket: Bucket, zone: tzinfo | None
) -> list[StoredCheckpoint]:
    firsts: dict[object, StoredCheckpoint] = {}
    for checkpoint in checkpoints:
        firsts.setdefault(bucket(checkpoint.created.astimezone(zone)), checkpoint)
    return list(firsts.values())


def _best(newest_first: Sequence[StoredCheckpoint], policy: Policy) -> list[StoredCheckpoint]:
    if not policy.best or policy.metric is None:
        return []
    scored = [(c.metrics[policy.metric], c) for c in newest_first if policy.metric in c.metrics]
    if not scored and any(c.evaluated for c in newest_first):
        known = sorted({name for c in newest_first for name in c.metrics})
        raise UserError(f"no checkpoint has the metric {policy.metric}; known: {', '.join(known)}")
    # The sort is stable, in both directions: of equals the newest wins.
    ranked = sorted(scored, key=lambda pair: pair[0], reverse=policy.higher_is_better)
    return [checkpoint for _, checkpoint in ranked[: policy.best]]
