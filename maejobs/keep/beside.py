"""What a campaign holds beside its checkpoints, and what of that goes.

checkpoints/step-000001200.diverged/     given up, since the training had gone wrong by then
heads/RECIPE-1a2b3c4d/step-000001200/    trained on that checkpoint; its result is in evaluations/
"""

import json
import os
import re
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from maejobs.errors import MaejobsError
from maejobs.keep.checkpoint import CHECKPOINTS, EVALUATIONS, STEP_NAME, is_pinned, step_of
from maejobs.keep.trash import TRASH, erase, put_back, set_aside

HEADS = "heads"
DIVERGED = re.compile(r"step-[0-9]{9,18}\.diverged")


@dataclass(frozen=True)
class Beside:
    """One such directory. `held` says why it stays in any case; None: a count decides.

    `kind` is what is counted together: the diverged ones, or the heads of one recipe.
    """

    path: Path
    kind: str
    order: float  # the newest has the highest
    bytes: int
    checkpoint: str | None = None  # that it was trained on
    held: str | None = None

    @property
    def name(self) -> str:
        """As it is called below its campaign."""
        return f"{self.kind}/{self.path.name}"


@dataclass(frozen=True)
class BesideDecision:
    beside: Beside
    keep: bool
    reason: str


def plan_beside(
    found: Sequence[Beside], staying: Collection[str], counts: dict[str, int]
) -> list[BesideDecision]:
    """Decide what stays, newest first in each kind. Pure.

    1. What is held stays, and so does a head whose checkpoint is among `staying`.
    2. So do the newest of each kind, but for held ones: as many as `counts` says for "checkpoints"
       (diverged ones) and for "heads".
    3. Where no checkpoint stays at all, all of it does.
    """
    decisions = []
    seen: dict[str, int] = {}
    for one in sorted(found, key=lambda one: (one.kind, -one.order, one.path.name)):
        of_kind = seen[one.kind] = seen.get(one.kind, 0) + (one.held is None)
        count = counts[one.kind.partition("/")[0]]
        what = "diverged" if one.kind == CHECKPOINTS else "trained heads of its recipe"
        if one.held:
            decision = BesideDecision(one, True, one.held)
        elif one.checkpoint in staying:
            decision = BesideDecision(one, True, "its checkpoint stays")
        elif not staying:
            decision = BesideDecision(one, True, "no valid checkpoint stays")
        elif of_kind <= count:
            decision = BesideDecision(one, True, f"of the newest {count} {what}")
        else:
            decision = BesideDecision(one, False, f"not of the newest {count} {what}")
        decisions.append(decision)
    return decisions


def read_beside(campaign: Path) -> list[Beside]:
    """All that lies beside the campaign's checkpoints; links are passed over."""
    return [*_diverged(campaign / CHECKPOINTS), *_heads(campaign)]


def remove_beside(one: Beside, campaign: Path) -> bool:
    """Delete it; False where somebody has pinned it meanwhile. Raises MaejobsError: it cannot be.

    A head is set aside where `mae` looks for none that it could go on with.
    """
    if one.checkpoint is None:
        trash = set_aside(one.path)
        if is_pinned(trash):
            put_back(trash)
            return False
    else:
        trash = campaign / HEADS / f"{TRASH}{one.path.parent.name}-{one.path.name}"
        try:
            one.path.rename(trash)
        except OSError as error:
            raise MaejobsError(f"{one.path}: cannot be deleted: {error.strerror}") from error
    erase(trash)
    return True


def _diverged(directory: Path) -> Iterator[Beside]:
    for path in _directories(directory):
        if DIVERGED.fullmatch(path.name):
            held = "pinned" if is_pinned(path) else None
            with suppress(FileNotFoundError):
                yield Beside(
                    path, CHECKPOINTS, path.lstat().st_mtime, _bytes_below(path), held=held
                )


def _heads(campaign: Path) -> Iterator[Beside]:
    for family in _directories(campaign / HEADS):
        for path in _directories(family):
            if STEP_NAME.fullmatch(path.name):
                result = campaign / EVALUATIONS / f"{family.name}-{path.name}.json"
                held = None if _is_result(result) else "not finished"
                kind = f"{HEADS}/{family.name}"
                size, step = _bytes_below(path), step_of(path.name)
                yield Beside(path, kind, step, size, path.name, held)


def _is_result(path: Path) -> bool:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and isinstance(found.get("metrics"), dict)


def _directories(parent: Path) -> list[Path]:
    if parent.is_symlink() or not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.is_symlink())


def _bytes_below(directory: Path) -> int:
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):
                status = Path(parent, name).lstat()
                total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total
