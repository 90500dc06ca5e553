"""`maejobs db`: the run database's version and place."""

import click

from maejobs.cli.options import HomeCommand, HomeGroup, dry_run_option, existing_home, json_option
from maejobs.cli.text import visible
from maejobs.files import make_private_directory
from maejobs.rundb.schema import REVISION


@click.group("db", cls=HomeGroup)
def db_command() -> None:
    """Look after the run database.

    \b
    Example:
      maejobs db upgrade
    """


@db_command.command("upgrade", cls=HomeCommand)
@dry_run_option
def upgrade_command(dry_run: bool) -> None:
    """Make the database or bring it to this version.

    Records that could not reach it are taken up then.

    \b
    Example:
      maejobs db upgrade
    """
    from maejobs.rundb.database import open_database, place_of
    from maejobs.rundb.migrate import upgrade, version_to_upgrade
    from maejobs.rundb.spool import take_up

    home = existing_home()
    if dry_run:
        found, place = version_to_upgrade(home), place_of(home)
        if found == REVISION:
            click.echo(f"{place} is of version {REVISION} already")
        else:
            click.echo(f"would bring {place} from {found or 'nothing'} to version {REVISION}")
        return
    make_private_directory(home.database_file.parent)
    upgrade(home)
    click.echo(f"version {REVISION}")
    with open_database(home) as engine:
        for run in take_up(engine, home.spool_dir):
            click.echo(f"taken up: {visible(run)}")


@db_command.command("info", cls=HomeCommand)
@json_option
def info_command(as_json: bool) -> None:
    """Say where the database is, and of which version.

    \b
    Example:
      maejobs db info
    """
    from maejobs.cli.output import print_fields, print_json
    from maejobs.rundb.database import found_revision, place_of
    from maejobs.rundb.spool import spooled_runs

    home = existing_home()
    info = {
        "database": place_of(home),
        "version": found_revision(home),
        "needed": REVISION,
        "spooled": len(spooled_runs(home.spool_dir)),
    }
    if as_json:
        print_json(info)
    else:
        print_fields({name: str(value) for name, value in info.items()})
