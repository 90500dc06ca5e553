"""Whether a cron runs on this host, whatever else does."""

import subprocess
from pathlib import Path

from maejobs.daemon.alone import running_cron


def test_a_process_whose_name_is_cut_amid_a_letter_is_no_cron(tmp_path: Path) -> None:
    program = tmp_path / "обучение-модели"  # of which the kernel keeps 15 bytes
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"]) as process:
        try:
            assert running_cron() != process.pid
        finally:
            process.kill()
