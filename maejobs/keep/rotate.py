"""Deleting the checkpoints a policy lets go, after the one to go on from is proven good."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from pathlib import Path
from types import MappingProxyType

from maejobs.errors import MaejobsError
from maejobs.keep.beside import (
    HEADS,
    BesideDecision,
    plan_beside,
    read_beside,
    remove_beside,
)
from maejobs.keep.checkpoint import (
    CHECKPOINTS,
    StoredCheckpoint,
    checkpoints_directory,
    is_pinned,
    read_checkpoints,
    verified,
)
from maejobs.keep.lock import hold
from maejobs.keep.retention import Decision, Policy, plan_retention, remarks
from maejobs.keep.trash import Swept, erase, put_back, set_aside, sweep


@dataclass(frozen=True)
class RotationReport:
    """What went, or, in a dry run, what would go. `swept` are leftovers of killed processes.

    `undeleted` has a line for each thing that is out of the way and could not be deleted; `beside`
    is what lies beside the checkpoints, `removed` names checkpoints only, `freed` counts both.
    """

    decisions: list[Decision]
    removed: list[str]
    freed: int
    swept: list[str]
    remarks: tuple[str, ...] = ()
    dry_run: bool = False
    undeleted: tuple[str, ...] = ()
    beside: tuple[BesideDecision, ...] = ()


def rotate(
    campaign: Path, policy: Policy, dry_run: bool = False, zone: tzinfo | None = None
) -> RotationReport:
    """Apply `policy` to the campaign's checkpoints; a dry run decides the same and writes nothing.

    1. Take the campaign's lock, and sweep up what a killed process left.
    2. Decide. If anything is to go, compare the newest valid checkpoint with its SHA-256 first;
       should it turn out damaged, decide again without it, until one proves good.
    3. Decide what of the diverged ones and of trained heads goes then.
    4. Rename what goes to trash, make that durable, delete the trash. A kill at any point leaves
       whole checkpoints, the newest valid one among them, and at most some trash. What cannot be
       deleted keeps nothing else from going.

    Raises UserError for an unknown campaign or metric; NotNow while another keeper is at work.
    """
    directory = checkpoints_directory(campaign)
    if dry_run:
        decisions = decide(read_checkpoints(campaign), policy, zone)
        beside = _decide_beside(campaign, decisions, policy)
        return _report(decisions, beside, policy, Swept([], []), dry_run=True)
    with hold(campaign):
        swept = _sweep(directory, campaign / HEADS)
        decisions = decide(read_checkpoints(campaign), policy, zone)
        stuck: dict[str, str] = {}
        carried_out = [_carry_out(decision, stuck) for decision in decisions]
        beside = _decide_beside(campaign, carried_out, policy)
        beside = [_carry_out_beside(campaign, decision, stuck) for decision in beside]
        return _report(carried_out, beside, policy, swept, stuck)


def decide(
    checkpoints: list[StoredCheckpoint], policy: Policy, zone: tzinfo | None = None
) -> list[Decision]:
    """`plan_retention`, with the newest valid checkpoint proven good if anything is to go."""
    decisions = plan_retention(checkpoints, policy, zone)
    if all(decision.keep for decision in decisions):
        return decisions
    return plan_retention(_prove_newest(checkpoints), policy, zone)


def remove(checkpoint: StoredCheckpoint) -> bool:
    """Delete a checkpoint unless it has been pinned meanwhile; whether it went."""
    trash = set_aside(checkpoint.path)
    # Only now can no further pin arrive under the checkpoint's own name.
    if is_pinned(trash):
        put_back(trash)
        return False
    erase(trash)
    return True


def _prove_newest(newest_first: list[StoredCheckpoint]) -> list[StoredCheckpoint]:
    proven = False
    judged = []
    for checkpoint in newest_first:
        if checkpoint.valid and not proven:
            checkpoint = verified(checkpoint)
            proven = checkpoint.valid
        judged.append(checkpoint)
    return judged


def _carry_out(decision: Decision, stuck: dict[str, str]) -> Decision:
    """What was decided in the end; in `stuck`, by name, why a checkpoint could not be deleted."""
    try:
        if decision.keep or remove(decision.checkpoint):
            return decision
    except MaejobsError as error:
        stuck[decision.checkpoint.name] = str(error)
        return decision
    pinned = replace(decision.checkpoint, pinned=True)
    return Decision(pinned, True, ("pinned",))


def _sweep(*directories: Path) -> Swept:
    swept = [sweep(directory) for directory in directories if directory.is_dir()]
    return Swept([name for s in swept for name in s.names], [e for s in swept for e in s.undeleted])


def _decide_beside(
    campaign: Path, decisions: list[Decision], policy: Policy
) -> list[BesideDecision]:
    staying = {d.checkpoint.name for d in decisions if d.keep and d.checkpoint.valid}
    counts = {CHECKPOINTS: policy.diverged, HEADS: policy.heads}
    return plan_beside(read_beside(campaign), staying, counts)


def _carry_out_beside(
    campaign: Path, decision: BesideDecision, stuck: dict[str, str]
) -> BesideDecision:
    """As `_carry_out`."""
    try:
        if decision.keep or remove_beside(decision.beside, campaign):
            return decision
    except MaejobsError as error:
        stuck[decision.beside.name] = str(error)
        return decision
    return BesideDecision(decision.beside, True, "pinned")


def _report(
    decisions: list[Decision],
    beside: list[BesideDecision],
    policy: Policy,
    swept: Swept,
    stuck: Mapping[str, str] = MappingProxyType({}),
    dry_run: bool = False,
) -> RotationReport:
    going = [decision.checkpoint for decision in decisions if not decision.keep]
    gone = [checkpoint for checkpoint in going if checkpoint.name not in stuck]
    going_beside = [d.beside for d in beside if not d.keep and d.beside.name not in stuck]
    return RotationReport(
        decisions,
        [checkpoint.name for checkpoint in gone],
        sum(one.bytes for one in gone) + sum(one.bytes for one in going_beside),
        swept.names,
        remarks([decision.checkpoint for decision in decisions], policy),
        dry_run,
        (*swept.undeleted, *stuck.values()),
        tuple(beside),
    )
