"""Checkpoints while training goes on: a step waits for a copy in memory, a thread for the disk."""

import shutil
import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from mae.errors import OF_ROOM, TrainingFailed
from mae.train import checkpoint as checkpoints
from mae.train.campaign import Campaign
from mae.train.checkpoint import Checkpoint
from mae.train.events import Events
from mae.train.trainer import Trainer

# A guess at how fast a disk takes a checkpoint, until one has been timed.
DISK_BYTES_PER_SECOND = 100e6


@dataclass
class Keeper:
    """Puts checkpoints on the disk, and knows how long that takes and when one is due."""

    campaign: Campaign
    trainer: Trainer
    events: Events
    saved_step: int
    metrics: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.saved_at = time.monotonic()
        # Weights and AdamW's two moments, in float32.
        self.size = 12 * sum(weight.numel() for weight in self.trainer.model.parameters())
        self.seconds = self.size / DISK_BYTES_PER_SECOND
        self.revision = code_revision()
        self.trouble: str | None = None
        self.mend: str | None = None
        self._writer = ThreadPoolExecutor(max_workers=1)
        self._writing: Future[Checkpoint] | None = None
        self._begun = 0.0

    def due(self, step: int) -> bool:
        """Whether one should be begun at a step: none is while another is being written."""
        if self._writing is not None or not self.trainer.ranks.first:
            return False
        run = self.trainer.config.run
        if run.checkpoint_every_steps and step % run.checkpoint_every_steps == 0:
            return True
        return time.monotonic() - self.saved_at >= run.checkpoint_every_seconds

    def begin(self) -> None:
        """Begin to write a checkpoint of this step, unless it has one or there is no room.

        All processes take part, since each may have some of the weights; the first one writes.
        """
        self.settle()
        trainer = self.trainer
        self._begun = self.saved_at = time.monotonic()
        if trainer.ranks.decided(lambda: trainer.step == self.saved_step or self._lacks_room()):
            return
        facts = {
            "step": trainer.step,
            "epoch": round(trainer.epoch, 4),
            "samples": trainer.course.seen(trainer.step),
            "config_hash": trainer.config.hash,
            "code_revision": self.revision,
            "metrics": self.metrics,
        }
        weights, state = checkpoints.to_host(
            (trainer.model.state_dict(), trainer.state()), keep=trainer.ranks.first
        )
        if not trainer.ranks.first:
            return
        blocked = time.monotonic() - self._begun
        self.events.metric("checkpoint_blocked_seconds", trainer.step, blocked)
        self._writing = self._writer.submit(
            checkpoints.save, self.campaign.checkpoints, weights, state, facts
        )

    def look(self) -> None:
        """Report what has been written since the last look; waits for nothing."""
        if self._writing is not None and self._writing.done():
            self.settle()

    def settle(self) -> None:
        """Wait until what is being written is on the disk. A disk that refuses costs no run."""
        if self._writing is None:
            return
        writing, self._writing = self._writing, None
        try:
            saved = writing.result()
        except OSError as error:
            why = f"it cannot be written: {error.strerror or error}"
            self._complain(why, of_room=error.errno in OF_ROOM)
            return
        self.trouble = None
        self.saved_step, self.size = saved.step, saved.size
        self.seconds = max(self.seconds, time.monotonic() - self._begun)
        self.events.checkpoint(saved.path, saved.step, saved.size, saved.sha256)

    def finish(self) -> None:
        """See the last step's checkpoint onto the disk. Raises TrainingFailed if it is refused."""
        self.begin()
        self.settle()
        if self.saved_step != self.trainer.step and self.trainer.ranks.first:
            raise TrainingFailed(
                f"the night's last checkpoint is not on the disk: {self.trouble}; the newest is of "
                f"step {self.saved_step}: {self.mend}"
            )

    def close(self) -> None:
        """End the thread; what is being written is finished first."""
        self.settle()
        self._writer.shutdown()

    def _lacks_room(self) -> bool:
        try:
            free = shutil.disk_usage(self.campaign.root).free
        except OSError:
            return False  # whoever writes it tells what is wrong with the disk
        if free >= self.size:
            return False
        why = f"{free / 1e6:.1f} MB are free, and it takes {self.size / 1e6:.1f} MB"
        self._complain(why, of_room=True)
        return True

    def _complain(self, why: str, of_room: bool) -> None:
        self.trouble = why
        campaign = self.campaign
        self.mend = (
            f"make room in {campaign.root}"
            if of_room
            else f"let {campaign.checkpoints} be a directory that can be written"
        )
        self.events.note(f"no checkpoint of step {self.trainer.step}: {why}; training goes on")


def code_revision() -> str | None:
    """The git commit that last touched this package, if it runs from a checkout."""
    command = ["git", "log", "-1", "--format=%H", "--", "."]
    here = Path(__file__).parents[1]
    try:
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None
