"""Telling a supervisor what happens: JSON lines appended to the file that MAEJOBS_EVENTS names."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from mae.text import on_one_line

PROGRESS_SECONDS = 1.0
METRIC_SECONDS = 5.0


class Events:
    """The event stream. Without a file nothing is written; a file that fails stops nothing.

    Each event tries it anew: there may be room again for how the night ended.
    """

    def __init__(self, path: Path | None, aloud: bool = True) -> None:
        self._path = path
        self._aloud = aloud
        self._last: dict[str, float] = {}
        self._losing = self._torn = False  # events; amid a line

    @classmethod
    def from_environment(cls) -> "Events":
        """The stream that our supervisor asked for, if there is a supervisor."""
        path = os.environ.get("MAEJOBS_EVENTS")
        return cls(Path(path) if path else None)

    def progress(self, step: int, total: int, epoch: float, last: bool = False) -> None:
        """How far the campaign is; at most once a second, except for a night's last step."""
        if last or self._due("progress", PROGRESS_SECONDS):
            self._write("progress", step=step, total=total, epoch=round(epoch, 4))

    def training_metrics(self, step: int, values: dict[str, float]) -> None:
        """Several metrics of a training step, every few seconds; the history file has them all."""
        if self._due("metric", METRIC_SECONDS):
            for name, value in values.items():
                self.metric(name, step, value)

    def metric(self, name: str, step: int, value: float) -> None:
        """One number, measured at a step."""
        self._write("metric", name=name, step=step, value=value)

    def checkpoint(self, path: Path, step: int, size: int, sha256: str) -> None:
        """A checkpoint is on the disk: its bytes in all, and the SHA-256 of its weights."""
        self._write("checkpoint", path=str(path.absolute()), step=step, bytes=size, sha256=sha256)

    def artifact(self, name: str, path: Path) -> None:
        """A file worth looking at."""
        self._write("artifact", name=name, path=str(path.absolute()))

    def note(self, text: str) -> None:
        """Something a person should know; it goes to stderr as well."""
        if self._aloud:
            print(f"mae: {on_one_line(text)}", file=sys.stderr, flush=True)
        self._write("note", text=text)

    def outcome(self, status: str, reason: str) -> None:
        """How it ended: "completed" or "paused", and why."""
        self._write("outcome", status=status, reason=reason)

    def _due(self, kind: str, seconds: float) -> bool:
        now = time.monotonic()
        if now - self._last.get(kind, -seconds) < seconds:
            return False
        self._last[kind] = now
        return True

    def _write(self, event: str, **fields: Any) -> None:
        if self._path is None:
            return
        line = json.dumps({"event": event, "time": time.time(), **fields}) + "\n"
        content = ("\n" * self._torn + line).encode()
        try:
            # A pipe that nobody reads must keep no step waiting.
            how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
            descriptor = os.open(self._path, how, 0o600)
            try:
                # One write a line, so that lines of several writers never mix.
                written = os.write(descriptor, content)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._lose(str(error))
            return
        self._torn = written < len(content)
        if self._torn:
            self._lose(f"{self._path} takes no whole line")
        else:
            self._losing = False

    def _lose(self, why: str) -> None:
        if not self._losing:
            print(f"mae: events are lost from here: {why}", file=sys.stderr, flush=True)
        self._losing = True
