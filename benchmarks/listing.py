"""`maejobs list` on 1,000 lines, against `import click` and `crontab -l` together.

As root it has the real crontab in a mount namespace of its own, so that nobody's table is touched;
else a crontab that is a file, read by `cat`.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.bars import bar, verdict
from benchmarks.spool import INSIDE, again_with_own_spool
from benchmarks.timing import alternate

LINES = 1000
ROUNDS = 25


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        if not again_with_own_spool("benchmarks.listing", Path(directory)):
            measure(Path(directory))


def measure(home: Path) -> None:
    """Print the medians and the ratio."""
    lines = (f"{i % 60} {i % 24} * * * /usr/local/bin/job-{i} --quiet\n" for i in range(LINES))
    table = home / "crontab"
    table.write_text("".join(lines))
    if INSIDE in os.environ:
        subprocess.run(["crontab", str(table)], check=True)
        lister = ["crontab", "-l"]
    else:
        (home / "maejobs.toml").write_text('crontab = "crontab"\n')
        lister = ["cat", str(table)]
    ours, click, theirs = alternate(
        [
            [str(Path(sys.executable).parent / "maejobs"), "list", "--home", str(home)],
            [sys.executable, "-c", "import click"],
            lister,
        ],
        ROUNDS,
    )
    ratios = [a / (b + c) for a, b, c in zip(ours, click, theirs, strict=True)]
    print(f"maejobs list, {LINES} lines: {median(ours) * 1000:.0f} ms")
    both = f"{median(click) * 1000:.0f} + {median(theirs) * 1000:.0f} ms"
    print(f"import click + {' '.join(lister[:2])}: {both}")
    ratio = median(ratios)
    print(f"ratio: {ratio:.2f} {bar('list', ratio, most=2)}")


if __name__ == "__main__":
    main() if INSIDE not in os.environ else measure(Path(sys.argv[1]))
    sys.exit(verdict())
