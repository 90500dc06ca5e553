"""`maejobs db`: the run database's version, place, health and copies."""

from pathlib import Path

import click
import humanize

from maejobs import clock
from maejobs.cli.export import export_command
from maejobs.cli.options import HomeCommand, HomeGroup, dry_run_option, existing_home, json_option
from maejobs.cli.text import visible
from maejobs.errors import EXIT_FAILED
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


@db_command.command("check", cls=HomeCommand)
@click.option("--quick", is_flag=True, help="Do not hold indexes against their tables.")
@json_option
def check_command(quick: bool, as_json: bool) -> int:
    """Check whether the database is sound.

    Its pages, tables, indexes and views, and whether every row belongs to one that is there. A line
    for each problem; exit code 1 where there is one.

    \b
    Example:
      maejobs db check --quick
    """
    from maejobs.cli.output import print_json
    from maejobs.rundb.check import find_problems
    from maejobs.rundb.database import place_of

    home = existing_home()
    problems = find_problems(home, quick)
    if as_json:
        print_json({"database": place_of(home), "quick": quick, "problems": problems})
    else:
        for problem in problems:
            click.echo(visible(problem))
        if not problems:
            click.echo(f"{visible(place_of(home))} is sound")
    return EXIT_FAILED if problems else 0


@db_command.command("backup", cls=HomeCommand)
@click.argument("destination", required=False, type=click.Path(path_type=Path))
@click.option("--keep", default=7, show_default=True, type=click.IntRange(1), help="The newest N.")
@click.option("--afresh", is_flag=True, help="Begin anew where copies were and are gone.")
@dry_run_option
@json_option
def backup_command(
    destination: Path | None, keep: int, afresh: bool, dry_run: bool, as_json: bool
) -> int:
    """Copy the database to DESTINATION while it is in use.

    Nobody who writes is kept waiting. The copy is checked before it gets its name, and only then do
    older ones make way. DESTINATION is a directory, `database-backups` in the home by default.
    Where it held copies before and holds none, its disk is not mounted: nothing is copied.

    \b
    Example:
      maejobs db backup /mnt/nas/maejobs --keep 14
    """
    from dataclasses import asdict

    from maejobs.cli.output import print_json, tell_undeleted
    from maejobs.keep.database_backup import back_up_database

    home = existing_home()
    place = (destination or home.database_backups_dir).absolute()
    done = back_up_database(home, place, keep, clock.now(), dry_run, afresh)
    status = EXIT_FAILED if done.undeleted else 0
    tell_undeleted(done.undeleted)
    if as_json:
        print_json(asdict(done))
        return status
    if dry_run:
        click.echo(f"would copy to {visible(str(done.path))}")
    else:
        click.echo(f"{visible(str(done.path))}: {humanize.naturalsize(done.bytes)}, checked")
    for name in done.removed:
        click.echo(f"{'would drop' if dry_run else 'dropped'} {name}")
    return status


@db_command.command("copy", cls=HomeCommand)
@click.argument("url")
@dry_run_option
@json_option
def copy_command(url: str, dry_run: bool, as_json: bool) -> None:
    """Copy all history into the empty database at URL.

    It gets its tables first. Then write its URL into maejobs.toml, as `database_url`: until then
    this home stays with the database that it has.

    \b
    Example:
      maejobs db copy postgresql://me@db.example/maejobs
    """
    from maejobs.cli.output import print_json
    from maejobs.rundb.copy import copy_history

    home = existing_home()
    copied = copy_history(home, url, dry_run)
    if as_json:
        print_json(copied)
        return
    told = ", ".join(f"{count:,} {name}" for name, count in copied.items())
    click.echo(f"{'would copy' if dry_run else 'copied'} {told}")
    if not dry_run:
        click.echo(
            f"write its URL into {visible(str(home.config_file))}, as database_url; "
            "`maejobs reconcile` then takes up what ran meanwhile"
        )


db_command.add_command(export_command)
