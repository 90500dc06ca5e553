"""The home: one directory that holds everything maejobs owns, and its `maejobs.toml`."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maejobs import clock
from maejobs.errors import UserError, quoted
from maejobs.files import make_private_directory
from maejobs.privilege import acting_as, owner_of
from maejobs.trust import read_trusted_text, refuse_untrusted

CONFIG_NAME = "maejobs.toml"
LONGEST_PATH = 4096  # bytes, with the NUL behind it (PATH_MAX)
LARGEST_SHIFT_SECONDS = 100 * 365 * 86400
KEYS: dict[str, tuple[type, ...]] = {
    "database_url": (str,),
    "crontab": (str,),
    "clock_shift": (int, float),
    "dialect": (str,),
    "notify": (dict,),
}
WRITTEN = {str: "a text in quotes", int: "a number of seconds", dict: "a table, [notify]"}


@dataclass(frozen=True)
class Home:
    """Where things lie. `crontab` names a table: "user", "user:NAME", "system" or a file's path.

    `configured_dialect` is unchecked; maejobs.cron.dialect tells which dialect counts. Unchecked is
    `configured_notify` too: maejobs.notify.settings reads it, for it must not keep a run from
    starting. `unreadable` is what is wrong with its maejobs.toml: no setting counts then, and
    nobody knows which database is the home's.
    """

    root: Path
    crontab: str = "user"
    configured_database_url: str | None = None
    configured_dialect: str | None = None
    configured_notify: dict[str, Any] = field(default_factory=dict, hash=False)
    unreadable: str | None = None

    @property
    def config_file(self) -> Path:
        return self.root / CONFIG_NAME

    @property
    def jobs_dir(self) -> Path:
        return self.root / "jobs.d"

    @property
    def runs_dir(self) -> Path:
        return self.root / "runs"

    @property
    def locks_dir(self) -> Path:
        return self.root / "locks"

    @property
    def spool_dir(self) -> Path:
        return self.root / "spool"

    @property
    def paused_dir(self) -> Path:
        return self.root / "paused"

    @property
    def notify_dir(self) -> Path:
        return self.root / "notify"

    @property
    def crontab_backups_dir(self) -> Path:
        return self.root / "crontab-backups"

    @property
    def database_backups_dir(self) -> Path:
        return self.root / "database-backups"

    @property
    def database_file(self) -> Path:
        return self.root / "db" / "runs.db"

    @property
    def is_default(self) -> bool:
        """Whether a command that cron starts, without `--home`, would use this home.

        Cron sets no XDG variables, and HOME to that of whom the line runs as: neither a variable of
        the caller's counts nor, where root asks for another's table, root's own home. By whichever
        link it is named, it is the one that cron's command finds.
        """
        default = _where_cron_starts(self) / ".local" / "share" / "maejobs"
        return self.root == default or os.path.realpath(self.root) == os.path.realpath(default)

    def pause_file(self, job: str) -> Path:
        """The file whose presence means that the job is paused."""
        return self.paused_dir / f"{job}.json"

    @property
    def exists(self) -> bool:
        return self.jobs_dir.is_dir()

    def create_directories(self) -> None:
        """Make every directory of the home, 0700. Harmless where they exist."""
        for path in (
            self.root,
            self.jobs_dir,
            self.runs_dir,
            self.locks_dir,
            self.spool_dir,
            self.paused_dir,
            self.notify_dir,
            self.crontab_backups_dir,
            self.database_file.parent,
        ):
            make_private_directory(path)


class BadSettings(UserError):
    """maejobs.toml cannot be read; `home` is the home as it would be without that file."""

    def __init__(self, message: str, home: Home) -> None:
        super().__init__(message)
        self.home = home


def _where_cron_starts(home: Home) -> Path:
    """HOME as cron sets it for lines of the home's table."""
    import pwd

    try:
        if home.crontab == "system":
            account = pwd.getpwuid(owner_of(home.root).uid)
        elif home.crontab.startswith("user:"):
            account = pwd.getpwnam(home.crontab.removeprefix("user:"))
        else:
            account = pwd.getpwuid(os.geteuid())
    except KeyError:  # told where the table is opened
        return Path.home()
    return Path(account.pw_dir)


def default_root() -> Path:
    """The user's data directory for maejobs (platformdirs)."""
    from platformdirs import user_data_path

    return user_data_path("maejobs")


def open_home(option: str | None) -> Home:
    """The home named by `--home`, else `MAEJOBS_HOME`, else the user's default; config applied.

    Raises BadSettings for a config file that cannot be read, with the key and the nearest known
    one; UserError, with the mend, for a home that others than its owner may write to.
    """
    root = home_root(option)
    _refuse_open_to_others(root)
    try:
        config = _read_config(root / CONFIG_NAME)
    except UserError as error:
        raise BadSettings(str(error), Home(root, unreadable=str(error))) from error
    if shift := config.get("clock_shift"):
        os.environ[clock.SHIFT_VARIABLE] = str(shift)
    crontab = crontab_spec(config.get("crontab", "user"), root)
    return Home(
        root,
        crontab,
        config.get("database_url") or None,
        config.get("dialect"),
        config.get("notify", {}),
    )


def home_root(option: str | None) -> Path:
    """Where the home is that `open_home` opens. Raises UserError: no path can be made of it."""
    named = option or os.environ.get("MAEJOBS_HOME")
    if named and len(os.fsencode(named)) >= LONGEST_PATH:
        raise UserError(f"home {quoted(named)}: a path has at most {LONGEST_PATH - 1} bytes")
    try:
        root = Path(named).expanduser().absolute() if named else default_root()
    except RuntimeError as error:
        raise UserError(f"{named}: {error}") from error  # ~somebody who is not there
    try:
        str(root).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"home {str(root)!a}: the path must be UTF-8, for records hold it"
        ) from None
    return root


def _refuse_open_to_others(root: Path) -> None:
    """Raises UserError where others could put job files into the home, or replace ours."""
    for place in (root, root / "jobs.d"):
        try:
            with acting_as(owner_of(root)):  # root looks at another's home with that one's eyes
                refuse_untrusted(place)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise UserError(f"home {quoted(str(root))}: {error.strerror}") from error


def crontab_spec(text: str, beside: Path) -> str:
    """`text` as it names a table from anywhere: a file's path is taken relative to `beside`."""
    if text in ("user", "system") or text.startswith("user:"):
        return text
    return str((beside / text).absolute())


def _read_config(path: Path) -> dict[str, Any]:
    try:
        with acting_as(owner_of(path.parent)):
            text = read_trusted_text(path)
    except FileNotFoundError:
        return {}
    import tomllib

    try:
        config = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: {error}") from error
    for key, value in config.items():
        if key not in KEYS:
            from difflib import get_close_matches

            near = get_close_matches(key, KEYS, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(KEYS)}"
            raise UserError(f"{path}: unknown key {quoted(key)[1:-1]}{hint}")
        # There may be a password in the address.
        told = key if key == "database_url" else f"{key} = {quoted(value)}"
        if not isinstance(value, KEYS[key]) or isinstance(value, bool):
            raise UserError(f"{path}: {told} has the wrong type; write {WRITTEN[KEYS[key][0]]}")
        if isinstance(value, str) and "\0" in value:
            raise UserError(f"{path}: {told} holds a NUL, which no path or address can")
    if not abs(config.get("clock_shift", 0)) <= LARGEST_SHIFT_SECONDS:
        raise UserError(f"{path}: clock_shift = {config['clock_shift']} is not within a century")
    return config
