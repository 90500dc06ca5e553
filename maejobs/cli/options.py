"""Options and arguments that many commands share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from maejobs.home import Home, open_home

F = TypeVar("F", bound=Callable[..., Any])


class HomeCommand(click.Command):
    """A command that takes `--home` and `--debug` after its name as well as before it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            click.Option(
                ["--home"],
                metavar="DIR",
                expose_value=False,
                callback=_remember_home,
                help="The home directory.",
            ),
            click.Option(["--debug"], is_flag=True, expose_value=False, help="Show tracebacks."),
        ]


def _remember_home(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value:
        ctx.find_root().ensure_object(dict)["home"] = value


def current_home(ctx: click.Context | None = None) -> Home:
    """The home that the command line, the environment or the default names."""
    root = (ctx or click.get_current_context()).find_root()
    return open_home(root.ensure_object(dict).get("home"))


def _complete_job(ctx: click.Context, _param: click.Parameter, word: str) -> list[CompletionItem]:
    from maejobs.jobs.load import job_names

    names = job_names(current_home(ctx).jobs_dir)
    return [CompletionItem(name) for name in names if name.startswith(word)]


def _complete_run(ctx: click.Context, param: click.Parameter, word: str) -> list[CompletionItem]:
    from maejobs.rundb.database import open_database
    from maejobs.rundb.queries import run_names

    with open_database(current_home(ctx)) as engine:
        names = run_names(engine, word)
    return [*_complete_job(ctx, param, word), *map(CompletionItem, names)]


job_argument = click.argument("job", shell_complete=_complete_job)
run_argument = click.argument("run", metavar="RUN|JOB", shell_complete=_complete_run)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Show what would be done.")
