"""A campaign's directory: one config, and what its nights leave behind.

config.toml       of the first night, and what later ones were allowed to change
config-until-step-000001500.toml   what it was before such a change
checkpoints/      see mae.train.checkpoint
metrics.jsonl     loss history, one line every few steps
skipped.json      steps left out because the training went wrong there; see mae.train.divergence
evaluations/      one JSON file a checkpoint evaluated; see mae.evaluate.places
pictures/         reconstructions, loss curve
heads/            what was trained to evaluate checkpoints; see mae.evaluate.head_plan
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mae.config import Config, kept_path
from mae.config_file import dump, read_config
from mae.data.sources import AUTO, locate
from mae.errors import BadInput
from mae.files import write_atomically
from mae.train.changes import classify


class Campaign(NamedTuple):
    """Where everything of one campaign lies."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.toml"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def history(self) -> Path:
        return self.root / "metrics.jsonl"

    @property
    def skipped(self) -> Path:
        return self.root / "skipped.json"

    @property
    def evaluations(self) -> Path:
        return self.root / "evaluations"

    @property
    def pictures(self) -> Path:
        return self.root / "pictures"

    @property
    def heads(self) -> Path:
        return self.root / "heads"

    @property
    def lock(self) -> Path:
        return self.root / ".lock"


def open_campaign(root: Path) -> tuple[Campaign, Config]:
    """A campaign that has begun, and its config."""
    campaign = Campaign(root)
    if not campaign.config.is_file():
        raise BadInput(f"{root} is not a campaign: no config.toml in it; run `mae pretrain` first")
    return campaign, read_config(str(campaign.config))


def settle_source(campaign: Campaign, asked: Config) -> Config:
    """The asked config with the images it means: "auto" is decided once, on the first night.

    Raises BadInput where the config cannot name the place they lie at.
    """
    source = asked.data.source
    if source == AUTO and campaign.config.exists():
        source = read_config(str(campaign.config)).data.source
    located = locate(source)
    try:
        data = asked.data.model_copy(update={"source": kept_path(located)})
    except ValueError as error:
        raise BadInput(f"data.source: {error}, not {located!r}") from None
    return asked.model_copy(update={"data": data})


def agreed_config(campaign: Campaign, asked: Config) -> tuple[Config, list[str]]:
    """The config to train with, and what it changes of the campaign's; writes nothing.

    Raises BadInput for a change that makes it another campaign: see mae.train.changes.
    """
    if not campaign.config.exists():
        return asked, []
    before = read_config(str(campaign.config))
    noted, refused = classify(before, asked)
    if refused:
        raise BadInput(
            f"{campaign.config}: the campaign has {'; '.join(refused)}; leave that as it is, or "
            "start another campaign with another --output"
        )
    return asked if noted else before.model_copy(update={"run": asked.run}), noted


def keep_config(campaign: Campaign, config: Config, step: int, changed: list[str]) -> None:
    """Make a config the campaign's from `step` on; the one before stays beside it."""
    if campaign.config.exists():
        if not changed:
            return
        before = campaign.root / f"config-until-step-{step:09d}.toml"
        if not before.exists():  # a second change without a step between them
            write_atomically(before, campaign.config.read_bytes())
    write_atomically(campaign.config, dump(config).encode())


def read_history(campaign: Campaign, until: int | None = None) -> list[dict[str, Any]]:
    """The loss history up to step `until`, oldest first; lines that lack a number are left out."""
    try:
        lines = campaign.history.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
            whole = all(isinstance(row[key], int | float) for key in ("step", "loss", "night"))
        except (ValueError, RecursionError, KeyError, TypeError):
            continue
        if whole and (until is None or row["step"] <= until):
            rows.append(row)
    return rows


def rewind_history(campaign: Campaign, step: int) -> None:
    """Forget what was noted beyond `step`: those steps will be done again."""
    rows = read_history(campaign, until=step)
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if not campaign.history.exists() or campaign.history.read_bytes() != text:
        write_atomically(campaign.history, text)


def append_history(
    campaign: Campaign, row: dict[str, Any], complain: Callable[[str], None]
) -> None:
    """Add a line to the loss history; a disk that refuses it is complained of, and costs no run."""
    try:
        with campaign.history.open("a") as file:
            file.write(json.dumps(row) + "\n")
    except OSError as error:
        complain(
            f"{campaign.history}: {error.strerror}; the loss of step {row['step']} is not noted"
        )
