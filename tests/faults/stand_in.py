"""Stands in for a trainer, faster: a night of a campaign, its checkpoints in the house's format.

    python stand_in.py CAMPAIGN LEDGER MAEJOBS STEPS

It goes on from the newest valid checkpoint, tells events, leaves a process behind that has a
session of its own, and becomes `maejobs keep rotate` in the end. What became of it is written into
the ledger, which no fault hurts: `begin`, `end`, and `twice` if another was at work. A full disk
costs it what cannot be written, and not the night. As long as `hold` lies beside the ledger, it
does not end.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from maejobs.keep.checkpoint import CHECKPOINTS, newest_valid
from maejobs.keep.manifest import FORMAT, MANIFEST

EVERY, STEP_SECONDS = 6, 0.01
CAMPAIGN, LEDGER, MAEJOBS = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
STEPS = int(sys.argv[4])
RUN = os.environ["MAEJOBS_RUN_ID"]


def note(word: str) -> None:
    with LEDGER.open("a") as ledger:
        ledger.write(f"{word} {RUN}\n")


def tell(**event: object) -> None:
    try:
        with Path(os.environ["MAEJOBS_EVENTS"]).open("a") as stream:
            stream.write(json.dumps(event) + "\n")
    except OSError as error:
        say(error)


def say(words: object) -> None:
    with suppress(OSError):
        os.write(1, f"{words}\n".encode())


def save(step: int) -> None:
    name = f"step-{step:09}"
    temporary = CAMPAIGN / CHECKPOINTS / f".{name}.tmp"
    try:
        temporary.mkdir(parents=True)
        files = {}
        for file in ("weights.safetensors", "state.pt"):
            content = f"{file} of {step}\n".encode() * 100
            write(temporary / file, content)
            files[file] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        manifest = {"format": FORMAT, "step": step, "created": datetime.now(UTC).isoformat()}
        write(temporary / MANIFEST, json.dumps(manifest | {"files": files}).encode())
        temporary.rename(CAMPAIGN / CHECKPOINTS / name)
    except OSError as error:
        say(f"no checkpoint of step {step}: {error}")
        shutil.rmtree(temporary, ignore_errors=True)
        return
    tell(event="checkpoint", path=str(CAMPAIGN / CHECKPOINTS / name), step=step)


def write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def main() -> None:
    alone = LEDGER.with_suffix(".lock").open("w")
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note("twice")
    note("begin")
    subprocess.Popen(["sleep", "0.2"], start_new_session=True)
    for left in (CAMPAIGN / CHECKPOINTS).glob(".*.tmp"):
        shutil.rmtree(left)
    found = newest_valid(CAMPAIGN, deep=True)
    begun = found.step if found else 0
    for step in range(begun + 1, begun + STEPS + 1):
        time.sleep(STEP_SECONDS)
        tell(event="progress", step=step, total=10**9)
        tell(event="metric", name="loss", step=step, value=1 / step)
        if step % EVERY == 0:
            save(step)
    while LEDGER.with_name("hold").exists():
        time.sleep(STEP_SECONDS)
    say("done")
    tell(event="outcome", status="paused")
    note("end")
    os.execv(MAEJOBS, [MAEJOBS, "keep", "rotate", str(CAMPAIGN), "--keep-last", "3"])


main()
