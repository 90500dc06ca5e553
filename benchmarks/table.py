"""Loading, editing and writing a table of 5,000 lines, against python-crontab, in one run.

Both read a file, add a job, write the file, and take the job out again. Ours also has the host's
`crontab` check the table, keeps a backup, syncs it, and reads back what was written; python-crontab
does none of that. What each did to the lines that were there is counted, too.
"""

import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median

from maejobs.cron.block import Entry, read_entries, replace_entries
from maejobs.cron.file_target import FileTarget
from maejobs.cron.install import change_table
from maejobs.cron.lines import parse_lines

LINES = 5000
ROUNDS = 7
ENTRY = Entry("night", "0 2 * * *", "/opt/maejobs/bin/maejobs exec night")
# What other people's tables hold, a line of each kind in turn.
KINDS = (
    "{m} {h} * * * /usr/local/bin/job-{n} --quiet\n",
    "# rotated by {n}, level=3\n",
    "{m}  {h}\t* * 1-5\tbackup --to /mnt/{n} --when=$(date +\\%F)\n",
    "{m} {h} 1-31 * 1 report-{n}\n",
    "\n",
)


def main() -> None:
    """Print medians, ratios and the number of foreign lines that each changed."""
    logging.disable(logging.WARNING)  # python-crontab logs each line that it cannot parse
    table = "".join(
        KINDS[n % len(KINDS)].format(m=n % 60, h=n % 24, n=n) for n in range(LINES)
    ).encode()
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        contestants: list[tuple[str, Callable[[Path], None], Callable[[Path], None]]] = [
            ("maejobs", _add_ours, _remove_ours),
            ("python-crontab", _add_theirs, _remove_theirs),
        ]
        seconds: dict[str, list[float]] = {name: [] for name, _, _ in contestants}
        changed: dict[str, int] = {}
        for _ in range(ROUNDS):
            for name, add, remove in contestants:
                file = place / name / "crontab"
                file.parent.mkdir(exist_ok=True)
                file.write_bytes(table)
                start = time.perf_counter()
                add(file)
                remove(file)
                seconds[name].append(time.perf_counter() - start)
                changed[name] = _changed_lines(table, file.read_bytes())
        start = time.perf_counter()
        assert len(parse_lines(table)) == LINES
        parsing = time.perf_counter() - start
    ratios = [b / a for a, b in zip(seconds["maejobs"], seconds["python-crontab"], strict=True)]
    print(f"load, add, write, take out, write; {LINES} lines:")
    for name, times in seconds.items():
        told = f"{median(times) * 1000:.0f} ms, {changed[name]} foreign lines changed"
        print(f"  {name}: {told}")
    print(f"  ratio: {median(ratios):.1f} times python-crontab's speed")
    print(f"  maejobs, the parsed view of all lines: {parsing * 1000:.0f} ms")


def _changed_lines(before: bytes, after: bytes) -> int:
    """How many lines of `before` are not in `after` any more."""
    return (Counter(before.split(b"\n")) - Counter(after.split(b"\n"))).total()


def _add_ours(file: Path) -> None:
    change_table(
        FileTarget(file),
        lambda table: replace_entries(table, [*read_entries(table), ENTRY]),
        file.parent / "backups",
    )


def _remove_ours(file: Path) -> None:
    change_table(
        FileTarget(file), lambda table: replace_entries(table, []), file.parent / "backups"
    )


def _add_theirs(file: Path) -> None:
    from crontab import CronTab

    tab = CronTab(tabfile=str(file))
    job = tab.new(command=ENTRY.command, comment=ENTRY.job)
    job.setall(ENTRY.expression)
    tab.write()


def _remove_theirs(file: Path) -> None:
    from crontab import CronTab

    tab = CronTab(tabfile=str(file))
    tab.remove_all(comment=ENTRY.job)
    tab.write()


if __name__ == "__main__":
    main()
