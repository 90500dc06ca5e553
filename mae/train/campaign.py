"""A campaign's directory: one config, and what its nights leave behind.

config.toml       frozen on the first night
checkpoints/      see mae.train.checkpoint
metrics.jsonl     loss history, one line every few steps
skipped.json      steps left out because the training went wrong there; see mae.train.divergence
evaluations/      one JSON file a checkpoint evaluated
pictures/         reconstructions, loss curve
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mae.config import Config, differences, dump, read_config
from mae.data.sources import AUTO, locate
from mae.errors import BadInput
from mae.files import write_atomically


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
    def lock(self) -> Path:
        return self.root / ".lock"


def open_campaign(root: Path) -> tuple[Campaign, Config]:
    """A campaign that has begun, and its frozen config."""
    campaign = Campaign(root)
    if not campaign.config.is_file():
        raise BadInput(f"{root} is not a campaign: no config.toml in it; run `mae pretrain` first")
    return campaign, read_config(str(campaign.config))


def settle_source(campaign: Campaign, asked: Config) -> Config:
    """The asked config with the images it means: "auto" is decided once, on the first night."""
    source = asked.data.source
    if source == AUTO and campaign.config.exists():
        source = read_config(str(campaign.config)).data.source
    data = asked.data.model_copy(update={"source": locate(source)})
    return asked.model_copy(update={"data": data})


def frozen_config(campaign: Campaign, asked: Config, note: Callable[[str], None]) -> Config:
    """The config to train with: the asked one, frozen on the first night and binding ever after.

    Another model or other data are refused. The recipe stays the frozen one, with a note if it
    was asked to differ; the run section may change every night.
    """
    if not campaign.config.exists():
        write_atomically(campaign.config, dump(asked).encode())
        return asked
    frozen = read_config(str(campaign.config))
    for section in ("model", "data"):
        if changed := differences(getattr(frozen, section), getattr(asked, section)):
            raise BadInput(
                f"{campaign.config}: the campaign's {section} is frozen: {'; '.join(changed)}; "
                "start another campaign with another --output"
            )
    if changed := differences(frozen.recipe, asked.recipe):
        note(f"the campaign keeps its frozen recipe: {'; '.join(changed)} ({campaign.config})")
    return frozen.model_copy(update={"run": asked.run})


def read_history(campaign: Campaign, until: int | None = None) -> list[dict[str, Any]]:
    """The loss history up to step `until`, oldest first; broken lines are left out."""
    try:
        lines = campaign.history.read_text().splitlines()
    except FileNotFoundError:
        return []
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
            if until is None or row["step"] <= until:
                rows.append(row)
        except (ValueError, KeyError, TypeError):
            continue
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
