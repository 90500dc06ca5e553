"""`maejobs db`: the run database's version and place."""

import click

from maejobs.cli.options import HomeCommand, current_home, dry_run_option, json_option
from maejobs.files import make_private_directory
from maejobs.rundb.schema import REVISION


@click.group("db")
def db_command() -> None:
    """Look after the run database.

    \b
    Example:
      maejobs db upgrade
    """


@db_command.command("upgrade", cls=HomeCommand)
@dry_run_option
def upgrade_command(dry_run: bool) -> None:
    """Make the database or bring it to this version, and take up spooled records.

    \b
    Example:
      maejobs db upgrade
    """
    from maejobs.rundb.database import open_database
    from maejobs.rundb.migrate import upgrade
    from maejobs.rundb.spool import take_up

    home = current_home()
    if dry_run:
        click.echo(f"would bring {home.database_url} to version {REVISION}")
        return
    make_private_directory(home.database_file.parent)
    upgrade(home)
    click.echo(f"version {REVISION}")
    with open_database(home) as engine:
        for run in take_up(engine, home.spool_dir):
            click.echo(f"taken up: {run}")


@db_command.command("info", cls=HomeCommand)
@json_option
def info_command(as_json: bool) -> None:
    """Say where the database is, which version it has, and how many records are spooled.

    \b
    Example:
      maejobs db info
    """
    from sqlalchemy.engine import make_url

    from maejobs.cli.output import print_fields, print_json
    from maejobs.rundb.database import found_revision

    home = current_home()
    info = {
        "database": make_url(home.database_url).render_as_string(hide_password=True),
        "version": found_revision(home),
        "needed": REVISION,
        "spooled": len(list(home.spool_dir.glob("*.json"))),
    }
    if as_json:
        print_json(info)
    else:
        print_fields({name: str(value) for name, value in info.items()})
