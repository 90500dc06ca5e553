"""From cron's fork to the child's first instruction, against `import sqlalchemy.orm`.

`python -m benchmarks.startup [ROUNDS]`: a job is started as crond does, `/bin/sh -c LINE` with its
few variables, each time for the next minute's slot; its command writes down when it began. The two
take turns. As root the real crontab is read, in a mount namespace of its own; else a file.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.bars import bar, verdict
from benchmarks.spool import INSIDE, again_with_own_spool

ROUNDS = 25
MOST = 1.4  # times `import sqlalchemy.orm`
MAEJOBS = Path(sys.executable).parent / "maejobs"
JOB = """
command = ["/bin/sh", "-c", "date +%s%N > {home}/began"]
until = "06:00"
locks = ["campaign-main"]
disk = { path = "{home}", free = "1MB" }
"""


def main(rounds: int = ROUNDS) -> None:
    with tempfile.TemporaryDirectory() as directory:
        if not again_with_own_spool("benchmarks.startup", Path(directory), str(rounds)):
            measure(Path(directory), rounds)


def measure(directory: Path, rounds: int) -> None:
    """Print the medians and the ratio."""
    home = _home(directory / "home")
    ours, theirs = [], []
    for number in range(rounds + 1):
        started, imported = _started(home, number), _imported()
        if number:
            ours.append(started)
            theirs.append(imported)
    print(f"from cron's fork to the child's first instruction: {median(ours) * 1000:.0f} ms")
    print(f"python -c 'import sqlalchemy.orm': {median(theirs) * 1000:.0f} ms")
    ratio = median(ours) / median(theirs)
    print(f"ratio: {ratio:.2f} {bar('startup', ratio, most=MOST)}")


def _home(home: Path) -> Path:
    """A home whose job is in the crontab."""
    home.mkdir(mode=0o700)
    if INSIDE not in os.environ:
        (home / "maejobs.toml").write_text('crontab = "crontab"\n')
    _maejobs("init", "--home", str(home))
    (home / "jobs.d" / "quick.toml").write_text(JOB)
    _maejobs("schedule", "quick", "* * * * *", "--home", str(home))
    return home


def _maejobs(*arguments: str) -> None:
    subprocess.run([MAEJOBS, *arguments], check=True, stdout=subprocess.DEVNULL)


def _started(home: Path, number: int) -> float:
    """Seconds from the fork to the command, by the clock that `date` reads too."""
    environment = {
        "HOME": str(home),
        "LOGNAME": "root",
        "PATH": "/usr/bin:/bin",
        "SHELL": "/bin/sh",
        "MAEJOBS_CLOCK_SHIFT": str(60 * number),
    }
    line = f"{MAEJOBS} exec quick --home {home} # maejobs:quick"
    began = time.time_ns()
    subprocess.run(["/bin/sh", "-c", line], env=environment, check=True)
    return (int((home / "began").read_text()) - began) / 1e9


def _imported() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import sqlalchemy.orm"], check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    if INSIDE in os.environ:
        measure(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        main(*map(int, sys.argv[1:]))
    sys.exit(verdict())
