"""SECURITY.md says what the code does: what no other test sees."""

import ast
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import shell

from maejobs import __version__
from maejobs.jobs.model import JOB_NAME
from maejobs.launch import revision
from maejobs.rundb.run import NAME

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "SECURITY.md").read_text()
FILES = [path for room in ("mae", "maejobs") for path in sorted((ROOT / room).rglob("*.py"))]


def calls(name: str) -> Iterator[tuple[Path, dict[str | None, str]]]:
    """Each call of `name` in our code: the file, and the keywords with their values as written."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == name:
                yield path, {word.arg: ast.unparse(word.value) for word in node.keywords}


@pytest.mark.parametrize(
    ("loader", "keyword", "value"),
    [("torch.load", "weights_only", "True"), ("np.load", "allow_pickle", "False")],
)
def test_nothing_from_elsewhere_is_loaded_that_could_run_code(loader, keyword, value):
    found = list(calls(loader))

    assert found
    assert all(words.get(keyword) == value for _, words in found), found


@pytest.mark.parametrize("loader", ["pickle.load", "pickle.loads", "eval", "exec", "os.system"])
def test_nothing_is_unpickled_or_evaluated(loader):
    assert list(calls(loader)) == []


def test_no_command_goes_through_a_shell():
    for name in ("subprocess.run", "subprocess.Popen", "subprocess.check_output"):
        assert not any("shell" in words for _, words in calls(name))


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a.b", "", "*", "a\n", "a\0", "é"])
def test_no_name_of_a_job_or_a_run_is_a_path_or_a_pattern(name):
    assert not JOB_NAME.fullmatch(name)
    assert not NAME.fullmatch(name)


def test_the_links_of_the_page_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)", PAGE):
        assert (ROOT / target).exists(), target


HOSTILE = "hostile \x1b[2J\x1b]0;owned\x07 % ' \" `id` $(id) \\ \u202e\n* * * * * evil\n"


def in_hostile_repository(monkeypatch, root: Path) -> str:
    """Let our code be in a repository of which every name and word is hostile; its commit."""
    hostile = HOSTILE.replace("\n", " ")
    branch = "hostile-%'\"`id`$(id);evil"
    who = {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", hostile), ("EMAIL", f"{hostile}@x"))
    }

    def git(*words: str, text: str = "") -> str:
        command = ["git", "-c", "commit.gpgsign=false", *words]
        clean = {"HOME": str(root), "PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", **who}
        done = subprocess.run(
            command, cwd=root, env=clean, input=text, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    here = root / "maejobs" / "launch" / "revision.py"
    here.parent.mkdir(parents=True)
    here.touch()
    git("init", "--quiet", f"--initial-branch={branch}")
    git("add", ".")
    git("commit", "--quiet", "--cleanup=verbatim", "--file=-", text=HOSTILE + "x" * 100_000)
    git("tag", "--annotate", f"--message={HOSTILE}", "hostile-tag-%'$(id)")
    monkeypatch.setattr(revision, "__file__", str(here))
    revision.code_revision.cache_clear()
    return git("rev-parse", "--short=12", "HEAD")


def test_of_the_commit_that_runs_nothing_is_kept_but_its_hash(
    home, write_job, inside, tmp_path, monkeypatch
):
    commit = in_hostile_repository(monkeypatch, tmp_path / "checkout")
    write_job("quick", shell("echo hello"))
    said = [
        inside(*words)
        for words in (
            *(["schedule", "quick", "0 2 * * *"], ["run", "quick"], ["exec", "quick"]),
            *(["show", "quick"], ["runs", "--json"], ["logs", "quick"], ["status"], ["list"]),
        )
    ]
    revision.code_revision.cache_clear()

    told = {run["revision"] for run in json.loads(said[4].stdout)}
    assert told == {f"{__version__} {commit}"}
    assert all(done.returncode == 0 for done in said)
    kept = b"".join(path.read_bytes() for path in home.root.rglob("*") if path.is_file())
    heard = "".join(done.stdout + done.stderr for done in said)
    assert commit.encode() in kept
    for word in ("hostile", "owned", "evil", "xxxx", "\x1b[", "\u202e"):
        assert word.encode() not in kept
        assert word not in heard
