"""`mae export` and `mae import`: parsing and printing; imports the work when it is needed."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mae.loading import loading
from mae.text import on_one_line

if TYPE_CHECKING:
    from mae.exchange.export import Exchanged

# As in mae.exchange.keys, which imports torch.
FORM = click.Choice(["published", "timm", "transformers"])


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that both directions have."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--dry-run", is_flag=True, help="Check everything and write nothing."),
    ):
        command = option(command)
    return command


@click.command("export")
@click.argument("source", metavar="CHECKPOINT_OR_CAMPAIGN", type=click.Path(path_type=Path))
@click.option("--to", "form", required=True, type=FORM, help="Whose form the weights take.")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The file (published) or directory to write; must not exist.",
)
@common
def export_command(source: Path, form: Any, output: Path, dry_run: bool, as_json: bool) -> None:
    """Write weights as timm, transformers or the published code load them.

    Of a campaign, the newest valid checkpoint is taken.

    \b
    mae export campaigns/tiny --to transformers --output tiny-hf
    mae export campaigns/tiny/checkpoints/step-000001500 --to published --output mae.pth
    """
    with loading():
        from mae.exchange.export import export

    tell(export(source, form, output, dry_run), as_json)


@click.command("import")
@click.argument("source", metavar="PATH", type=click.Path(path_type=Path))
@click.option("--from", "form", required=True, type=FORM, help="Whose form the weights have.")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The campaign to make; must not exist.",
)
@click.option(
    "--config",
    "name",
    metavar="PRESET|FILE",
    help="Model, data and recipe; the weights tell what it leaves out of the model.",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any other setting.")
@common
def import_command(
    source: Path,
    form: Any,
    output: Path,
    name: str | None,
    settings: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make a campaign that starts from weights trained elsewhere.

    Train it with `mae pretrain --config OUTPUT/config.toml --output OUTPUT`.

    \b
    mae import mae_visualize_vit_base.pth --from published --output campaigns/base \\
        --config vit_base
    """
    with loading():
        from mae.exchange.importing import import_weights

    tell(import_weights(source, form, output, name, settings, dry_run), as_json)


def tell(done: "Exchanged", as_json: bool) -> None:
    """Print what has been done; notes go to stderr."""
    if as_json:
        click.echo(json.dumps(asdict(done), indent=2))
        return
    for note in done.notes:
        click.echo(f"mae: {on_one_line(note)}", err=True)
    verb = "wrote" if done.written else "would write"
    size = f"{done.parameters / 1e6:.2f} M parameters in {done.tensors} tensors"
    click.echo(f"{verb} {done.output}: {size}, {', '.join(done.files)}")
