"""docs/jobs.md says what the model takes: every key and placeholder, and none besides."""

import re
import tomllib
from pathlib import Path

import pytest

from maejobs.jobs.load import parse_job
from maejobs.jobs.model import DiskRoom, GpuNeed, HostNeed, Job, Notify
from maejobs.jobs.placeholders import PLACEHOLDERS

TEXT = (Path(__file__).parents[2] / "docs" / "jobs.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


def table(heading: str) -> dict[str, list[str]]:
    """The rows of the first table under a heading, by their first column."""
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in rows}


def test_every_key_is_documented_and_no_other():
    assert set(table("Keys")) == set(Job.model_fields) - {"name"}


@pytest.mark.parametrize(
    ("key", "model"),
    [("disk", DiskRoom), ("gpu", GpuNeed), ("host", HostNeed), ("notify", Notify)],
)
def test_the_keys_of_a_table_are_documented(key, model):
    meaning, _ = table("Keys")[key]
    assert all(key in meaning for key in model.model_fields)


@pytest.mark.parametrize("key", sorted(set(Job.model_fields) - {"name"}))
def test_the_default_that_is_documented_is_the_default(key):
    _, default = table("Keys")[key]
    standard = parse_job(Path("x.toml"), "x", 'command = ["true"]')
    if default == "needed":
        assert Job.model_fields[key].is_required()
    elif default == "none":
        assert getattr(standard, key) is None
    else:
        text = f"{key} = {default.strip('`')}\n" + 'command = ["true"]'
        written = parse_job(Path("x.toml"), "x", text)
        assert getattr(written, key) == getattr(standard, key)


def test_every_placeholder_is_documented_and_no_other():
    assert {word.strip("{}") for word in table("Placeholders")} == set(PLACEHOLDERS)


def test_the_documented_meaning_of_a_placeholder_is_its_own():
    for word, (meaning,) in table("Placeholders").items():
        assert meaning.startswith(PLACEHOLDERS[word.strip("{}")])


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_are_good_job_files(example):
    assert parse_job(Path("example.toml"), "example", example).command
    assert tomllib.loads(example)


def test_there_are_examples():
    assert len(EXAMPLES) >= 3
