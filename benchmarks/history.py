"""A history of a million runs beside an empty one: lists must not scan, dashboards must not wait.

`python -m benchmarks.history [RUNS]`: `maejobs status` and `maejobs runs` on two homes in turn that
differ in their history alone, then the two questions of a dashboard to the documented views: the
second is put as docs/database.md puts it.
"""

import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.bars import bar, verdict
from benchmarks.timing import alternate

RUNS, ROUNDS, QUERIES = 1_000_000, 15, 9
JOBS, A_DAY = 16, 500  # runs of all jobs together
SLOWER, LAST_RUN, P95 = 1.5, 0.005, 0.3  # times, seconds, seconds
MAEJOBS = Path(sys.executable).parent / "maejobs"

FILL = """
INSERT INTO runs (id, job, slot, attempt, trigger, state, host, queued, started, finished,
                  directory, events_offset, broken_events, samples_step)
WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :runs)
SELECT printf('run-%08d', n), printf('job%02d', n % :jobs), at, 1, 'cron',
       CASE WHEN n % 20 THEN 'succeeded' ELSE 'failed' END, 'host', at, at + 1,
       at + 1 + (n * 7919) % 7200, printf('/nowhere/%08d', n), 0, 0, 3600
FROM (SELECT n, :now - 60 - (:runs - 1 - n) * 86400.0 / :a_day AS at FROM numbers)
"""
LATEST = "SELECT job_name, last_run, last_state, last_duration FROM v_jobs"
DOCS = Path(__file__).parents[1] / "docs" / "database.md"


def main(runs: int = RUNS) -> None:
    """Print each figure beside its bar."""
    with tempfile.TemporaryDirectory() as directory:
        empty, full = Path(directory, "empty"), Path(directory, "full")
        _make_home(empty)
        shutil.copytree(empty, full, symlinks=True)
        database = full / "db" / "runs.db"
        _fill(database, runs)
        print(f"{runs:,} runs of {JOBS} jobs, {database.stat().st_size / 1e6:,.0f} MB")
        for command in (["status"], ["runs"]):
            ours, theirs = alternate(
                [[str(MAEJOBS), *command, "--home", str(home)] for home in (full, empty)], ROUNDS
            )
            ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
            name = f"maejobs {command[0]}"
            print(
                f"{name:<16}{median(ours) * 1000:7.0f} ms, empty {median(theirs) * 1000:.0f} ms: "
                f"{ratio:.2f} x {bar(name, ratio, most=SLOWER)}"
            )
        for name, query, most in (("last run", LATEST, LAST_RUN), ("p95", slowest(), P95)):
            seconds = _asked(database, query)
            told = bar(name, seconds * 1000, most=most * 1000)
            print(f"{name:<16}{seconds * 1000:9.1f} ms {told}")


def slowest() -> str:
    """The documented query for what 95 of 100 runs stayed below, by job and day."""
    queries = re.findall(r"```sql\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (found,) = (query for query in queries if "AS p95" in query)
    return found


def _make_home(home: Path) -> None:
    home.mkdir(mode=0o700)
    (home / "maejobs.toml").write_text('crontab = "crontab"\n')
    subprocess.run([MAEJOBS, "init", "--home", home], check=True, stdout=subprocess.DEVNULL)


def _fill(database: Path, runs: int) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.executemany(
            "INSERT INTO jobs (name, summary) VALUES (?, '')",
            [(f"job{number:02d}",) for number in range(JOBS)],
        )
        values = {"runs": runs, "jobs": JOBS, "a_day": A_DAY, "now": time.time()}
        connection.execute(FILL, values)
        connection.execute(
            "UPDATE jobs SET (last_run, last_state, last_started, last_finished) = (SELECT id,"
            " state, started, finished FROM runs WHERE job = name ORDER BY queued DESC LIMIT 1)"
        )
    connection.close()


def _asked(database: Path, query: str) -> float:
    """Seconds that a dashboard waits for the answer: the median of some askings."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    seconds = []
    for _ in range(QUERIES):
        start = time.perf_counter()
        rows = connection.execute(query).fetchall()
        seconds.append(time.perf_counter() - start)
        assert rows
    connection.close()
    return median(seconds)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
    sys.exit(verdict())
