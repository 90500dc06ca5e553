"""What commands that change our lines share: what a line calls, whose it is, and its record."""

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from maejobs import clock
from maejobs.cli.options import PATIENCE_SECONDS
from maejobs.cli.text import visible
from maejobs.cron.block import Entry, exec_command, read_entries, replace_entries
from maejobs.cron.dialect import Dialect, dialect_of
from maejobs.cron.install import Change, change_table
from maejobs.cron.repair import lay_out
from maejobs.cron.schedule import belongs_to
from maejobs.cron.target import OTHER_USER, SYSTEM, open_target
from maejobs.errors import MaejobsError, UserError
from maejobs.home import Home
from maejobs.privilege import acting_as, ourselves, owner_of

Build = Callable[[Sequence[Entry]], list[Entry]]


def command_of(home: Home, job: str) -> str:
    """What a line of `home` calls to run the job. Raises UserError: nothing is installed.

    In the system's table the user stands before it. Raises UserError for a path that the home's
    dialect cannot hold.
    """
    command = exec_command(_executable(), job, None if home.is_default else home.root)
    strange = next((character for character in "%#" if character in command), None)
    if strange and dialect_of(home) in (Dialect.BUSYBOX, Dialect.PORTABLE):
        raise UserError(
            f"{command}: busybox's cron reads a `{strange}` otherwise than the others, quoted or "
            "not: move what has it in its path"
        )
    return f"{user_of(home)} {command}" if home.crontab == SYSTEM else command


def user_of(home: Home) -> str:
    """Whose home it is: whom its lines in the system's table run as. Raises UserError."""
    import pwd

    uid = owner_of(home.root).uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        raise UserError(
            f"{home.root} belongs to user number {uid}, who has no name on this host; "
            "`chown` it to one who has"
        ) from None


def refuse_anothers_home(home: Home) -> None:
    """Refuse lines that would run as another than whose home it is, or a home made by root there.

    Raises UserError, naming --home.
    """
    if not home.crontab.startswith(OTHER_USER) and home.crontab != SYSTEM:
        return
    owner = user_of(home)
    if not home.exists and owner_of(home.root) != ourselves():
        raise UserError(f"no home at {home.root}; {owner} makes it with `maejobs init`")
    user = home.crontab.removeprefix(OTHER_USER)
    if home.crontab != SYSTEM and user != owner:
        raise UserError(
            f"the home {home.root} belongs to {owner}, and {user}'s cron would run it as {user}; "
            f"name one of {user}'s with --home"
        )


def entries_in(table: bytes | None, home: Home, job: str) -> list[Entry]:
    """The job's entries in `table` that are this home's. Raises BrokenBlock."""
    return [e for e in read_entries(table or b"") if e.job == job and belongs_to(e, home)]


def change_entries(home: Home, build: Build, dry_run: bool) -> Change:
    """Put `build(entries)` in the place of our block's entries, those of other homes included.

    Raises what `change_table` raises.
    """
    return change_table(
        open_target(home.crontab),
        lambda table: replace_entries(table, build(read_entries(table))),
        backups_of(home),
        dry_run,
    )


def print_dry_run(change: Change) -> None:
    """What would have been written."""
    click.echo(visible(change.diff()), nl=False)
    click.echo("(dry run: nothing was written)")


def backups_of(home: Home) -> Path:
    """Where the table from before a change is kept: in the home, which is not made anew for that.

    Where it was deleted, in the user's directory for what is to outlast a program's run.
    """
    if home.root.is_dir():
        return home.crontab_backups_dir
    from platformdirs import user_state_path

    return user_state_path("maejobs") / home.crontab_backups_dir.name


def tell_backup_elsewhere(home: Home) -> None:
    """Name the place of the backup where it is none of the home's, for want of one."""
    if not home.root.is_dir():
        told = f"{home.root} is not there; the crontab from before is below {backups_of(home)}"
        click.echo(f"maejobs: {visible(told)}", err=True)


def tell_strays(table: bytes, home: Home, job: str) -> None:
    """Warn of what starts the job besides the block, which `schedule` and `unschedule` leave."""
    for line in lay_out(table, lambda entry: True).ours:
        if not line.inside and line.entry.job == job and belongs_to(line.entry, home):
            told = (
                f"line {line.number} of the crontab starts {job} from outside our block; `maejobs "
                f"apply {job}` fetches it in, `maejobs edit` takes it out"
            )
            click.echo(f"maejobs: {told}", err=True)


def _executable() -> Path:
    """The installed command by the path that cron, with its bare PATH, can start."""
    beside = Path(sys.executable).parent / "maejobs"
    if beside.exists():
        return beside
    found = shutil.which("maejobs")
    if found is None:
        raise UserError("the installed `maejobs` command was not found; install the package first")
    return Path(found).absolute()


def remember_schedule(home: Home, job: str) -> None:
    """Tell the database since when the job is scheduled; the crontab stands without it."""
    from maejobs.rundb.database import open_database
    from maejobs.rundb.record import set_job

    entries = entries_in(open_target(home.crontab).read(), home, job)
    schedule = "\n".join(entry.expression for entry in entries) or None
    now = clock.now()
    try:
        with acting_as(owner_of(home.root)), open_database(home, PATIENCE_SECONDS) as engine:
            set_job(engine, job, schedule=schedule, scheduled_since=now, checked_until=now)
    except MaejobsError as error:
        click.echo(f"maejobs: done, but not noted in the database: {visible(str(error))}", err=True)
