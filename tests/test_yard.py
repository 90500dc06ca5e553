"""The yard: lint, format, types, layers, packaging and docs are held by the suite as well."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "format", "--check", "."],
        ["ruff", "check", "."],
        ["mypy"],
        ["lint-imports", "--no-logo"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_the_code_passes(command: list[str]) -> None:
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", directory]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return zipfile.ZipFile(next(directory.glob("*.whl")))


def test_the_wheel_carries_jobs_migrations_and_the_image_sample(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    jobs = {f"maejobs/shipped/jobs.d/{path.name}" for path in (ROOT / "jobs.d").glob("*.toml")}
    migrations = {
        f"maejobs/shipped/migrations/versions/{path.name}"
        for path in (ROOT / "migrations/versions").glob("*.py")
    }
    sample = {f"mae/data/sample/{path.name}" for path in (ROOT / "mae/data/sample").iterdir()}
    assert len(jobs) == 7
    assert jobs | migrations | sample | {"maejobs/shipped/migrations/env.py"} <= names
    presets = {str(path.relative_to(ROOT)) for path in (ROOT / "mae/presets").rglob("*.toml")}
    assert "mae/presets/linear/vit_huge.toml" in presets
    assert presets <= names


def test_what_the_wheel_installs_works_without_the_checkout(
    wheel: zipfile.ZipFile, tmp_path: Path
) -> None:
    wheel.extractall(tmp_path / "installed")
    for module, *arguments in (
        ("maejobs", "init", "--home", str(tmp_path / "home")),
        ("maejobs", "runs", "--home", str(tmp_path / "home")),
        ("mae", "presets"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            env={"PYTHONPATH": str(tmp_path / "installed"), "HOME": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "home/jobs.d").iterdir())) == 7


def test_the_image_sample_is_small_and_says_where_it_is_from() -> None:
    files = list((ROOT / "mae/data/sample").iterdir())
    assert sum(path.stat().st_size for path in files) < 4_000_000
    assert any("MIT" in path.read_text() for path in files if path.suffix != ".gz")


def test_the_top_level_is_as_agreed() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    directories = {name.split("/")[0] for name in tracked if "/" in name}
    assert {"maejobs", "mae", "jobs.d", "migrations", "tests"} <= directories
    assert directories <= {
        *("maejobs", "mae", "jobs.d", "migrations", "tests", "docs", "benchmarks", ".ci")
    }


def test_links_in_the_documents_lead_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_readme_leads_with_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme.index("make demo") < readme.index("make test") < 1200


def test_versions_agree() -> None:
    from maejobs import __version__

    assert PROJECT["project"]["version"] == __version__
