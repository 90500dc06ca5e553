"""The command line: quick help with examples, and one clear line for what is wrong."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner
from tiny import TINY

from mae.cli import main
from mae.config_file import presets
from mae.errors import told
from mae.recipes import recipes
from maejobs.jobs.failures import CUDA_OUT_OF_MEMORY, EXIT_CODE
from maejobs.supervise.child import Ending
from maejobs.supervise.failure import Evidence, classify


def mae(*arguments: str):
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_has_help_with_an_example(name):
    command = main.commands[name]
    text = command.get_help(click.Context(command, info_name=name))
    assert f"mae {name}" in text
    assert all(p.help for p in command.params if isinstance(p, click.Option)), name


def test_every_command_and_preset_is_in_the_documentation():
    documented = (Path(__file__).parents[2] / "docs/mae.md").read_text()
    assert [name for name in main.commands if f"mae {name}" not in documented] == []
    assert [name for name in presets() | recipes() if f"`{name}`" not in documented] == []


def test_help_and_presets_import_neither_torch_nor_timm():
    code = (
        "import sys; from mae.cli import main\n"
        "for a in (['--help'], ['presets'], ['pretrain', '--help'], ['export', '--help'],\n"
        "          ['evaluate', '--help'], ['features', '--help']):\n"
        "    main(a, standalone_mode=False)\n"
        "assert not {'torch', 'timm', 'numpy', 'matplotlib'} & set(sys.modules), 'slow imports'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_presets_are_listed():
    assert "fashion-tiny" in mae("presets").output
    assert {"vit_huge", "linear/vit_huge"} <= set(json.loads(mae("presets", "--json").output))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["pretrain", "--config", "fashion-tiny", "--set", "recipe.epocs=1"],
            "mae: --set recipe.epocs: ",
        ),
        (["pretrain", "--config", "fashion-tiny", "--seed", str(2**63)], "mae: --seed: "),
        (["pretrain", "--config", "fashion-tiny", "--data", "/nowhere"], "/nowhere"),
        (["pretrain", "--config", "nothing"], "fashion-tiny"),
        (["evaluate", "--recipe", "linear/fashion-tiny"], "not a campaign"),
        (["evaluate"], "not a campaign"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(tmp_path, arguments, complaint):
    target = str(tmp_path / "campaign")
    arguments = [*arguments, *(["--output", target] if arguments[0] == "pretrain" else [target])]
    done = mae(*arguments)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert complaint in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/full"), 1),
        (OSError(errno.EIO, "Input/output error", "/broken"), 1),
        (PermissionError(errno.EACCES, "Permission denied", "/theirs"), 2),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/file/below"), 2),
        (OSError(errno.EROFS, "Read-only file system", "/cdrom"), 2),
        (OSError(errno.ELOOP, "Too many levels of symbolic links", "/loop/below"), 2),
        (OSError(errno.ENAMETOOLONG, "File name too long", "/xxx"), 2),
        (MemoryError(), 1),
        (MemoryError("Unable to allocate 7.00 TiB for an array with shape …"), 1),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you …"), 1),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. It is …"), 1),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate …"), 1),
    ],
)
def test_what_the_system_refuses_is_told_by_whose_fault_it_is(error, code):
    line, told_code = told(error)
    assert told_code == code
    assert "\n" not in line
    assert told(KeyError("a bug")) is None


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["pretrain", "--output", "c"], "Missing option '--config'; see `mae pretrain --help`"),
        (["pretrain", "--config", "x", "--output", "c", "--steps", "0"], "'--steps': 0 is not in"),
        (["pretrain", "--confg", "x"], "--confg"),
        (["evaluate"], "Missing argument 'CAMPAIGN'; see `mae evaluate --help`"),
        (["evaluate", "c", "--dry-run"], "--set and --dry-run go with --recipe"),
        (["features", "c"], "Missing option '--output'; see `mae features --help`"),
        (["pretrian"], "No such command 'pretrian'"),
        (["--debgu", "presets"], "see `mae --help`"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(arguments, complaint):
    done = mae(*arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("mae: ")
    assert done.stderr.count("\n") == 1
    assert complaint in done.stderr
    assert "; see `mae" in done.stderr
    assert done.stdout == ""


def test_help_says_which_of_steps_and_epochs_counts():
    assert "whatever recipe.epochs says" in " ".join(mae("pretrain", "--help").output.split())


def test_without_a_command_the_commands_are_told():
    assert "pretrain" in mae().output


def test_what_it_writes_is_private(tmp_path):
    root = tmp_path / "nights" / "campaign"
    tiny = [part for setting in TINY for part in ("--set", setting)]
    before = os.umask(0o022)
    try:
        trained = mae("pretrain", "--config", "fashion-tiny", "--output", str(root), *tiny)
        evaluated = mae("evaluate", str(root))
        assert os.umask(0o022) == 0o022, "a caller in this process keeps its umask"
    finally:
        os.umask(before)
    assert (trained.exit_code, evaluated.exit_code) == (0, 0), trained.output + evaluated.output

    written = [root.parent, *root.parent.rglob("*")]
    assert {p.name for p in written} >= {".lock", "config.toml", "state.pt", "loss.png"}
    assert [p for p in written if p.stat().st_mode & 0o077] == []


def test_an_output_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    target = str(tmp_path / "file" / "campaign")
    done = mae("pretrain", "--config", "fashion-tiny", "--output", target)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert target in done.stderr


CUDA_FULL = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB of "
    "which 1.20 GiB is free. Of the allocated memory 70.31 GiB is allocated by PyTorch."
)
CPU_FULL = (
    "[enforce fail at alloc_cpu.cpp:114] data. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 9 bytes. Error code 12 (Cannot allocate memory)"
)


@pytest.mark.parametrize(
    ("error", "words", "failure_class"),
    [
        (torch.OutOfMemoryError(CUDA_FULL), "Tried to allocate 2.00 GiB;", CUDA_OUT_OF_MEMORY),
        (RuntimeError(CPU_FULL), "you tried to allocate 9 bytes;", EXIT_CODE),
    ],
    ids=["gpu", "host"],
)
def test_full_memory_is_told_in_pytorchs_words_by_which_the_supervisor_knows_it(
    tmp_path, monkeypatch, error, words, failure_class
):
    def fail(*_arguments):
        raise error

    monkeypatch.setattr("mae.train.loop.pretrain", fail)
    done = mae("pretrain", "--config", "fashion-tiny", "--output", str(tmp_path / "campaign"))

    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert f"{words} set run.micro_batch, run.recompute or a smaller model" in done.stderr
    ending = Ending(done.exit_code, None, 1.0, 1, None)
    assert classify(Evidence(ending, done.stderr.encode())) == failure_class


def test_debug_shows_where_it_came_from():
    from mae.errors import BadInput

    assert isinstance(
        mae("--debug", "pretrain", "--config", "x", "--output", "y").exception, BadInput
    )


@pytest.mark.parametrize(
    ("data", "complaint"),
    [("caf\udce9", "--data: rename that folder"), (".", "data.source: rename that folder")],
)
def test_images_that_a_config_cannot_name_are_refused_before_there_is_a_campaign(
    tmp_path, folder, monkeypatch, data, complaint
):
    folder = folder.rename(tmp_path / "caf\udce9")
    monkeypatch.chdir(folder if data == "." else tmp_path)
    target = tmp_path / "campaign"
    tiny = [part for setting in TINY for part in ("--set", setting)]
    command = ["pretrain", "--config", "fashion-tiny", "--output", str(target), *tiny]
    done = mae(*command, "--data", data)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.output
    assert complaint in done.stderr
    assert not target.exists()


def test_a_campaign_is_not_begun_where_safetensors_reads_nothing(tmp_path):
    target = tmp_path / "caf\udce9"
    tiny = [part for setting in TINY for part in ("--set", setting)]
    done = mae("pretrain", "--config", "fashion-tiny", "--output", str(target), *tiny)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.output
    assert "is not UTF-8; name a directory that is" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_campaign_refused_for_its_data_leaves_no_directory(tmp_path):
    target = tmp_path / "campaign"
    mae("pretrain", "--config", "fashion-tiny", "--data", "/nowhere", "--output", str(target))
    assert not target.exists()
