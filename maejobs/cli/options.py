"""Options and arguments that many commands share."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from maejobs.cron.target import OTHER_USER, SYSTEM, USER
from maejobs.errors import MaejobsError, UserError
from maejobs.home import Home, crontab_spec, open_home
from maejobs.privilege import become, owner_of

# How long a question waits for a database that another holds; a run waits longer.
PATIENCE_SECONDS = 5.0
QUOTE_IT = (
    'quote the expression, as in "0 2 * * *": unquoted, the shell puts file names in the place of '
    "each `*`"
)

F = TypeVar("F", bound=Callable[..., Any])


class HomeCommand(click.Command):
    """A command that takes `--home` and `--debug` after its name as well as before it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _common_options()


class HomeGroup(click.Group):
    """A group of commands, with the same options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _common_options()

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            if near := get_close_matches(args[0], self.list_commands(ctx), 1):
                message = f"no such command {args[0]!r}; did you mean {near[0]}?"
                raise click.UsageError(message, ctx) from None
            raise click.UsageError(f"no such command {args[0]!r}", ctx) from error


def _common_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["--home"],
            metavar="DIR",
            expose_value=False,
            callback=_remember_home,
            help="The home directory (default: MAEJOBS_HOME, or yours).",
            shell_complete=_complete_directory,
        ),
        click.Option(["--debug"], is_flag=True, expose_value=False, help="Show tracebacks."),
    ]


def _remember_home(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        if not value.strip():
            raise click.BadParameter("a home needs a name; leave --home out for the default", ctx)
        ctx.find_root().ensure_object(dict)["home"] = value


def current_home(ctx: click.Context | None = None) -> Home:
    """The home that the command line, the environment or the default names.

    Its crontab is the one that `--crontab` or `--user` names, if either is given. Root becomes
    whose home it is, except for a command on a table that only root may change.
    """
    ctx = ctx or click.get_current_context()
    given = ctx.find_root().ensure_object(dict)
    home = open_home(given.get("home"))
    home = replace(home, crontab=given["crontab"]) if "crontab" in given else home
    is_roots = home.crontab == SYSTEM or home.crontab.startswith(OTHER_USER)
    if not (is_roots and any(option.name == "crontab" for option in ctx.command.params)):
        given["home"] = str(home.root)  # the default may be another for another user
        become_owner_of(home.root)
    return home


def become_owner_of(root: Path) -> None:
    """Root goes on as whose `root` is. Raises UserError where that user cannot run maejobs."""
    owner = owner_of(root)
    try:
        become(owner)
    except KeyError:
        raise UserError(
            f"{root} belongs to user number {owner.uid}, who has no name on this host; "
            "`chown` it to one who has"
        ) from None
    for file in (os.__file__, click.__file__, __file__):  # what is imported later must be there
        if not os.access(file, os.R_OK):
            raise UserError(
                f"{root} belongs to user number {owner.uid}, who cannot read {file}; "
                "install Python and maejobs where everybody can"
            )


def table_options(command: F) -> F:
    """Adds `--crontab` and `--user`, which name another table than the home's own."""
    for option in (
        click.option(
            "-u",
            "--user",
            metavar="NAME",
            expose_value=False,
            callback=_remember_crontab,
            help="The crontab of NAME (root only).",
        ),
        click.option(
            "--crontab",
            metavar="TABLE",
            expose_value=False,
            callback=_remember_crontab,
            help="The table: user, user:NAME, system (/etc/cron.d/maejobs) or a file.",
            shell_complete=_complete_table,
        ),
    ):
        command = option(command)
    return command


def _remember_crontab(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is None:
        return
    if not value.strip():
        raise click.BadParameter("needs a name", ctx, param)
    given = ctx.find_root().ensure_object(dict)
    spec = f"user:{value}" if param.name == "user" else crontab_spec(value, Path.cwd())
    if given.setdefault("crontab", spec) != spec:
        raise click.UsageError("--user and --crontab name two tables; give one of them", ctx)


def existing_home() -> Home:
    """The current home. Raises UserError where there is none yet."""
    home = current_home()
    if not home.exists:
        raise UserError(f"no home at {home.root}; `maejobs init` makes it")
    return home


def home_to_show() -> Home:
    """The current home; before `init` yours need not be there, and shows as empty.

    Raises UserError where one is named, by --home or MAEJOBS_HOME, that is not there: who watches a
    misspelt home must not see that all is well.
    """
    given = click.get_current_context().find_root().ensure_object(dict)
    is_named = "home" in given or os.environ.get("MAEJOBS_HOME")
    return existing_home() if is_named else current_home()


@contextmanager
def looking_up(home: Home, name: str) -> Iterator[None]:
    """Within, a job that never ran is told as such, and not as one that is not there."""
    try:
        yield
    except UserError:
        from maejobs.jobs.load import job_names

        if name not in job_names(home.jobs_dir):
            raise
        raise UserError(f"{name} has not run yet; `maejobs run {name}` starts it now") from None


def _complete_directory(
    _ctx: click.Context, _param: click.Parameter, word: str
) -> list[CompletionItem]:
    return [CompletionItem(word, type="dir")]


def _complete_table(
    _ctx: click.Context, _param: click.Parameter, word: str
) -> list[CompletionItem]:
    """Files, and the words for other tables: these last, for bash forgets those before files."""
    words = [name for name in (USER, OTHER_USER, SYSTEM) if name.startswith(word)]
    return [CompletionItem(word, type="file"), *map(CompletionItem, words)]


def _complete_job(ctx: click.Context, _param: click.Parameter, word: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in _job_names(ctx) if name.startswith(word)]


def _complete_run(ctx: click.Context, param: click.Parameter, word: str) -> list[CompletionItem]:
    """Jobs and run ids; these from the directories, as the database takes half a second to open."""
    jobs = _complete_job(ctx, param, word)
    try:
        names = [path.name for path in current_home(ctx).runs_dir.glob("*/*")]
    except (MaejobsError, OSError):
        return jobs
    runs = sorted((name for name in names if name.startswith(word)), reverse=True)
    return [*jobs, *map(CompletionItem, runs)]


def _job_names(ctx: click.Context) -> list[str]:
    try:
        files = list(current_home(ctx).jobs_dir.glob("*.toml"))
    except (MaejobsError, OSError):
        return []  # completing a word is no occasion to complain
    return sorted(file.stem for file in files if not file.name.startswith("."))


job_argument = click.argument("job", shell_complete=_complete_job)
job_arguments = click.argument("jobs", metavar="[JOB]...", nargs=-1, shell_complete=_complete_job)
optional_job_argument = click.argument("job", required=False, shell_complete=_complete_job)
run_argument = click.argument("run", metavar="RUN|JOB", shell_complete=_complete_run)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Show what would be done; write nothing."
)
