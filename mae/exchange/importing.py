"""Weights that others trained, as a campaign of ours at step 0."""

from pathlib import Path
from typing import Any

from mae.build import build_model
from mae.config import Config
from mae.config_file import dump, read_tables, settle
from mae.errors import BadInput
from mae.exchange.export import Exchanged
from mae.exchange.keys import Form
from mae.exchange.load import load_state, read_state
from mae.exchange.shapes import told_by_config, told_by_weights
from mae.files import appearing, refuse_existing, refuse_unwritable
from mae.train import checkpoint as checkpoints
from mae.train.campaign import Campaign, settle_source


def import_weights(
    source: Path,
    form: Form,
    output: Path,
    name: str | None = None,
    settings: tuple[str, ...] = (),
    dry_run: bool = False,
) -> Exchanged:
    """Make a campaign at `output` whose checkpoint step-000000000 has the weights in `source`.

    Its config is what the weights and their config.json tell, then the preset or file `name`, then
    "section.key=value" settings, each over the one before. Its nights start with a fresh optimiser.
    An encoder alone gets the random decoder that the config's seed gives, and a note that says so.
    """
    state = read_state(source, form)
    notes: list[str] = []
    config = _config(source, form, state, name, settings, notes)
    config = settle_source(Campaign(output), config)
    model = build_model(config.model, config.recipe.seed)
    loaded = load_state(model, state, str(source))
    if loaded.warning:
        notes.append(loaded.warning)

    refuse_existing(output)
    refuse_unwritable(output)
    files = ("config.toml", "checkpoints/step-000000000")
    if not dry_run:
        with appearing(output) as root:
            campaign = Campaign(root)
            facts = {
                "step": 0,
                "epoch": 0.0,
                "samples": 0,
                "config_hash": config.hash,
                "code_revision": None,
                "metrics": {},
                "imported": {"from": str(source.resolve()), "form": form},
            }
            begun = {"step": 0, "night": 0}
            checkpoints.save(campaign.checkpoints, model.state_dict(), begun, facts)
            campaign.config.write_text(dump(config), encoding="utf-8")
    parameters = sum(tensor.numel() for tensor in state.values())
    return Exchanged(
        *(str(source), form, str(output), files, len(state), parameters),
        *(tuple(notes), not dry_run),
    )


def _config(
    source: Path,
    form: Form,
    state: dict[str, Any],
    name: str | None,
    settings: tuple[str, ...],
    notes: list[str],
) -> Config:
    file, written = read_tables(name) if name else (source, {})
    more, found = told_by_config(source, form)
    notes += found
    told: dict[str, Any] = {}
    for tables in (told_by_weights(state, str(source)), more, written):
        for section, table in tables.items():
            # A section that is no table is wrong, and is told so when all is checked.
            told[section] = told.get(section, {}) | table if isinstance(table, dict) else table

    model = told["model"] if isinstance(told["model"], dict) else {}
    known = {f"model.{key}" for key in model} | {s.partition("=")[0].strip() for s in settings}
    needed = ["model.image_size", "model.heads"]
    if "decoder_width" in model:
        needed.append("model.decoder_heads")
        if "model.norm_pix_loss" not in known:
            notes.append(
                "nothing there says whether it predicts normalised pixels: model.norm_pix_loss = "
                "true is assumed; --set model.norm_pix_loss=false otherwise"
            )
    for key in needed:
        if key not in known:
            raise BadInput(f"{source}: nothing there tells {key}; add --set {key}=…, or --config")
    return settle(told, str(file), settings)
