"""A crontab of the benchmark's own, so that nobody's table is touched."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.bars import missed

INSIDE = "MAEJOBS_BENCHMARK_SPOOL"
SPOOL = "/var/spool/cron"


def again_with_own_spool(module: str, directory: Path, *arguments: str) -> bool:
    """Run `python -m MODULE DIRECTORY ARGUMENTS` in a mount namespace without a crontab yet.

    Returns False, having run nothing, where we are not root or there is no cron.
    """
    if os.geteuid() != 0 or not (shutil.which("crontab") and shutil.which("unshare")):
        return False
    spool = directory / "spool"
    tables = spool / "crontabs"
    tables.mkdir(parents=True)
    shutil.chown(tables, group="crontab")
    tables.chmod(0o1730)
    spool.parent.chmod(0o755)
    mount = f'mount --bind "$0" {SPOOL} && exec "$@"'
    again = [sys.executable, "-m", module, str(directory), *arguments]
    command = ["unshare", "-m", "sh", "-c", mount, str(spool), *again]
    if subprocess.run(command, env={**os.environ, INSIDE: str(spool)}).returncode:
        missed(module)
    return True
