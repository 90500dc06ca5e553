"""What supervising costs: the supervisor's share of a core, and its memory, over a real run.

The command is a tree of eight processes that tells of its progress once a second, as a trainer
with data loaders does.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.bars import bar, verdict

SECONDS = 60
SETTLING = 10  # seconds until what happens once has happened
MOST_OF_A_CORE = 1.0  # per cent
MOST_MEMORY = 60.0  # MB
MAEJOBS = Path(sys.executable).parent / "maejobs"
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")

TREE = """
import json, os, time
for _ in range(7):
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)
step = 0
while True:
    step += 1
    with open(os.environ["MAEJOBS_EVENTS"], "a") as events:
        for event in ({"event": "progress", "step": step, "total": 600},
                      {"event": "metric", "name": "loss", "step": step, "value": 1 / step}):
            events.write(json.dumps(event) + chr(10))
    print("step", step)
    time.sleep(1)
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory) / "home"
        jobs = home / "jobs.d"
        jobs.mkdir(mode=0o700, parents=True)
        home.chmod(0o700)
        (home / "maejobs.toml").write_text('crontab = "crontab"\n')
        (home / "tree.py").write_text(TREE)
        (jobs / "night.toml").write_text('command = ["{python}", "{home}/tree.py"]\n')
        subprocess.run([MAEJOBS, "--home", home, "db", "upgrade"], check=True, capture_output=True)
        measure(home)


def measure(home: Path) -> None:
    """Print the supervisor's figures beside their bars."""
    supervisor = subprocess.Popen([MAEJOBS, "--home", home, "exec", "night"])
    try:
        while not list(home.glob("runs/night/*/samples.jsonl")):
            if supervisor.poll() is not None:
                raise SystemExit("the supervisor ended before its command did")
            time.sleep(0.1)
        time.sleep(SETTLING)
        before, began = cpu_seconds(supervisor.pid), time.monotonic()
        time.sleep(SECONDS)
        spent, passed = cpu_seconds(supervisor.pid) - before, time.monotonic() - began
        peak = peak_memory(supervisor.pid) / 1e6
    finally:
        supervisor.terminate()
        supervisor.wait()
    share = 100 * spent / passed
    told = bar("supervisor's share of a core", share, most=MOST_OF_A_CORE)
    print(f"supervisor, 8 processes: {share:.2f} % of a core over {passed:.0f} s {told}")
    told = bar("supervisor's memory", peak, most=MOST_MEMORY)
    print(f"supervisor, peak memory: {peak:.1f} MB {told}")


def cpu_seconds(pid: int) -> float:
    """Processor time of the process itself, without its children."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS_A_SECOND


def peak_memory(pid: int) -> int:
    """The most memory that the process has had at once, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
    sys.exit(verdict())
