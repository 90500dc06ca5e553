"""Help, documentation and completion are tested against the code, so that none falls behind."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from conftest import MAEJOBS
from databases import configure

from maejobs.cli.app import COMMANDS, cli

DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.md"
README = Path(__file__).parents[2] / "README.md"
ROW = re.compile(r"\| `([a-z -]+)` \| (.+) \| `(.+)` \|")


def commands(
    group: click.Group = cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        yield " ".join((*path, name)), command


ALL = dict(commands())
LEAVES = {name: command for name, command in ALL.items() if not isinstance(command, click.Group)}


def examples(command: click.Command) -> list[str]:
    text = (command.help or "").split("Example:\n")[1]
    return [line.strip() for line in text.splitlines() if line.strip()]


def parse(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let click read `line` as it would, without running the command."""
    words = shlex.split(line.split(" >> ")[0].split(" > ")[0])
    while "=" in words[0]:
        words.pop(0)
    assert words.pop(0) == "maejobs"
    context = cli.make_context("maejobs", words)
    group = cli
    rest = [*context._protected_args, *context.args]
    while isinstance(group, click.Group):
        _, group, rest = group.resolve_command(context, rest)
        for parameter in group.params:  # an example's directories need not be here
            if isinstance(parameter.type, click.Path):
                monkeypatch.setattr(parameter.type, "exists", False)
        context = group.make_context(group.name, rest, parent=context)
        rest = [*context._protected_args, *context.args]


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_help_with_examples_that_parse(name, monkeypatch):
    for line in examples(ALL[name]):
        parse(line, monkeypatch)


@pytest.mark.parametrize("name", ALL)
def test_every_option_says_what_it_does(name):
    silent = [
        parameter.opts
        for parameter in ALL[name].params
        if isinstance(parameter, click.Option) and not parameter.help
    ]
    assert silent == []


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_the_command_says(name):
    assert ALL[name].help.startswith(COMMANDS[name][1])


def test_help_fits_eighty_columns(maejobs):
    text = maejobs("--help").stdout
    assert max(map(len, text.splitlines())) <= 80
    assert "..." not in text.split("Schedule:")[1]


def test_every_command_is_documented_and_nothing_else():
    rows = {
        match[1]: match for match in map(ROW.fullmatch, DOCUMENT.read_text().splitlines()) if match
    }
    assert list(rows) == list(LEAVES)
    for name, row in rows.items():
        assert LEAVES[name].help.startswith(row[2].removesuffix(".")), name
        assert row[3] in examples(LEAVES[name]), name


def commands_in_documents() -> Iterator[tuple[str, str]]:
    """What stands in code, inline or in a block, and begins with `maejobs`; and where."""
    for page in (*sorted(DOCUMENT.parent.glob("*.md")), README, README.with_name("SECURITY.md")):
        text = page.read_text()
        for block in re.findall(r"```(?:sh|console)?\n(.*?)```", text, re.DOTALL):
            for line in re.findall(r"^(?:\$ )?(maejobs .*)$", block, re.MULTILINE):
                yield page.name, line.partition("  #")[0]
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        for span in re.findall(r"`(maejobs [^`]+)`", prose):
            yield page.name, " ".join(span.split())


def test_every_command_in_the_documents_is_one(monkeypatch):
    found = list(commands_in_documents())
    assert len(found) > 100
    for page, line in found:
        named = re.sub(r"\bN\b", "1", line.replace(" COMMAND ", " status "))
        try:
            parse(named, monkeypatch)
        except (click.MissingParameter, click.exceptions.NoArgsIsHelpError):
            continue  # it is only named
        except click.exceptions.Exit:
            continue  # --help, --version
        except click.UsageError as error:
            pytest.fail(f"{page}: {line}: {error.format_message()}")


def test_the_documented_mistake_is_what_is_printed(home, write_job, inside):
    write_job("pretrain", 'command = ["true"]\n')
    block = re.search(r"```\n\$ (maejobs schedule .*)\n([^`]+)```", DOCUMENT.read_text())
    done = inside(*shlex.split(block[1])[1:])
    assert done.stderr == block[2]


def test_the_readme_shows_what_scheduling_prints(home, write_job, inside, monkeypatch):
    write_job("pretrain", 'command = ["true"]\n')
    monkeypatch.setenv("TZ", "Etc/UTC")
    monkeypatch.setattr("maejobs.clock.now", lambda: datetime(2026, 11, 23, 18, 30, tzinfo=UTC))
    block = re.search(r"```console\n\$ (maejobs schedule .*)\n([^`]+)```", README.read_text())
    done = inside(*shlex.split(block[1])[1:])
    assert done.stdout == block[2]


def test_the_commands_without_json_are_named():
    """Those that write, and have nothing to say but that it is done."""
    silent = re.search(r"only confirm \(([^)]+)\)", " ".join(DOCUMENT.read_text().split()))[1]
    named = {name.strip("`") for name in silent.split(", ")}
    assert named == WRITES - PRINTS - {"exec", "demo"}


WRITES = {
    "schedule", "unschedule", "apply", "adopt", "edit", "restore", "pause", "resume",
    "exec", "run", "retry", "cancel", "init", "db upgrade", "keep backup", "keep cleanup",
    "keep pin", "keep unpin", "keep restore", "keep rotate", "reconcile", "demo",
    "watch install", "watch remove", "db backup", "db copy", "db export", "notify test",
    "notify send", "digest",
}  # fmt: skip
PRINTS = {
    "schedule", "unschedule", "list", "diff", "adopt", "backups", "check", "next", "plan",
    "run", "retry", "status", "jobs", "runs", "show", "logs", "samples", "doctor", "reconcile",
    "db info", "db check", "db backup", "db copy", "db export", "keep list", "keep rotate",
    "keep backup", "keep restore", "keep cleanup", "notify test", "notify list", "notify send",
    "digest",
}  # fmt: skip


@pytest.mark.parametrize(("option", "expected"), [("--dry-run", WRITES), ("--json", PRINTS)])
def test_which_commands_take(option, expected):
    taking = {
        name
        for name, command in LEAVES.items()
        if any(option in parameter.opts for parameter in command.params)
    }
    assert taking == expected


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_takes_a_home_and_debug(name):
    options = {option for parameter in LEAVES[name].params for option in parameter.opts}
    assert {"--home", "--debug"} <= options


def complete(home, words: str, position: int) -> list[str]:
    done = subprocess.run(
        [str(MAEJOBS)],
        env={
            "PATH": "/usr/bin:/bin",
            "MAEJOBS_HOME": str(home),
            "_MAEJOBS_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(position),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.split()]


def test_commands_jobs_and_runs_complete(home, write_job):
    write_job("pretrain", 'command = ["true"]\n')
    write_job("evaluate", "this is not TOML")
    for name in ("pretrain-20261124T0200Z-1", "pretrain-20261125T0200Z-1"):
        (home.runs_dir / "pretrain" / name).mkdir(parents=True)
    assert complete(home.root, "maejobs sch", 1) == ["schedule"]
    assert complete(home.root, "maejobs schedule ", 2) == ["evaluate", "pretrain"]
    assert complete(home.root, "maejobs logs pre", 2) == [
        "pretrain",
        "pretrain-20261125T0200Z-1",
        "pretrain-20261124T0200Z-1",
    ]
    assert complete(home.root, "maejobs schedule --dr", 2) == ["--dry-run"]
    assert complete(home.root, "maejobs keep ro", 2) == ["rotate"]
    assert complete(home.root, "maejobs list --crontab s", 3) == ["s", "system"]  # "s": a file, too


def test_completing_in_a_broken_home_says_nothing(home, tmp_path):
    assert complete(tmp_path / "none", "maejobs logs ", 2) == []
    configure(home, "nonsense")
    assert complete(home.root, "maejobs run ", 2) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_one_that_the_shell_reads(maejobs, tmp_path, shell):
    script = maejobs("completion", shell)
    assert script.returncode == 0
    assert "_MAEJOBS_COMPLETE" in script.stdout
    if shutil.which(shell):
        file = tmp_path / "script"
        file.write_text(script.stdout)
        subprocess.run([shell, "-n", str(file)], check=True)


def test_a_version_is_told(maejobs):
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", maejobs("--version").stdout)


def test_valid_and_bad_expressions_for_programs(inside):
    good = json.loads(inside("check", "0 2 * * *", "--json").stdout)
    assert good["valid"] is True
    assert len(good["next"]) == 5
    bad = inside("check", "0 2 * 13 *", "--json")
    assert bad.returncode == 2
    assert {"field": "month", "column": 6}.items() <= json.loads(bad.stdout).items()
