"""Files that a command writes because the user names them."""

import stat
from pathlib import Path

from maejobs.errors import UserError


def check_output_file(output: Path) -> None:
    """Raises UserError for what must not be replaced, such as /dev/null, or cannot be made."""
    try:
        mode = output.lstat().st_mode
    except FileNotFoundError:
        if output.absolute().parent.is_dir():
            return
        raise UserError(f"{output}: there is no directory {output.parent}") from None
    except OSError as error:
        raise UserError(f"{output}: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise UserError(f"{output}: is there and no plain file; name another")
