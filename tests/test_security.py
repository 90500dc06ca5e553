"""SECURITY.md says what the code does: what no other test sees."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from maejobs.jobs.model import JOB_NAME
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
