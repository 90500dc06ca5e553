"""Files that a command writes because the user names them."""

import stat
from pathlib import Path

from maejobs.errors import UserError
from maejobs.home import Home


def check_output_file(output: Path, home: Home) -> None:
    """Raises UserError for what must not be replaced, such as /dev/null or the home's database,
    or cannot be made.
    """
    ours = (
        *(home.config_file, home.jobs_dir, home.database_file.parent, home.spool_dir),
        *(home.notify_dir, home.locks_dir, home.paused_dir, home.crontab_backups_dir),
    )
    try:
        if not stat.S_ISREG(output.lstat().st_mode):
            raise UserError(f"{output}: is there and no plain file; name another")
    except FileNotFoundError:
        if not output.absolute().parent.is_dir():
            raise UserError(f"{output}: there is no directory {output.parent}") from None
    except OSError as error:
        raise UserError(f"{output}: {error.strerror}") from None
    if any(output.resolve().is_relative_to(place.resolve()) for place in ours):
        raise UserError(f"{output}: is where maejobs keeps its own; name another place")
