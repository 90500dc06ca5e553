"""Photographs that lie on their side: turned as their EXIF says, where a campaign asks for it."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image, ImageOps
from tiny import TINY, batches_of

from mae.build import view_of
from mae.cli import main
from mae.config import Config
from mae.config_file import read_config
from mae.data.crop import ORIENTATION
from mae.data.sources import open_source
from mae.errors import BadInput
from mae.train import loop
from mae.train.events import Events
from mae.train.stopping import Stop

UPRIGHT = read_config("fashion-tiny", (*TINY, "data.upright=true"))


@pytest.fixture
def both(folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The folder with every third image lying, and told so by its EXIF; and with all upright."""
    upright = tmp_path / "upright"
    for number, path in enumerate(sorted(folder.rglob("*.*"))):
        exif = Image.Exif()
        exif[ORIENTATION] = 1 + number % 3 * 2  # 1, 3, 5
        with Image.open(path) as image:
            lying = image.resize((64, 50))
        name = path.with_suffix(".png")
        path.unlink()
        lying.save(name, exif=exif)
        target = upright / name.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(name) as image:
            ImageOps.exif_transpose(image).save(target)
    return folder, upright


def pixels(source: Path, config: Config) -> torch.Tensor:
    images = open_source(str(source)).train
    batches = batches_of(images, view_of(config), 0, 32, range(3))
    return torch.cat([batch.imgs for batch in batches])


def test_a_campaign_that_asks_for_it_learns_from_upright_photographs(both, tiny):
    lying, upright = both
    expected = pixels(upright, tiny)
    torch.testing.assert_close(pixels(lying, UPRIGHT), expected, rtol=0, atol=0.05)
    assert (pixels(lying, tiny) - expected).abs().mean() > 0.1


def pack(source: Path, store: Path, *options: str) -> Path:
    arguments = ["pack", source, "--output", store, "--channels", "1", "--workers", "2", *options]
    done = CliRunner().invoke(main, [str(each) for each in arguments])
    assert done.exit_code == 0, done.output
    return store


def test_a_store_has_them_turned_and_goes_with_such_campaigns_only(both, tmp_path, tiny):
    lying, upright = both
    plain, turned = pack(lying, tmp_path / "plain"), pack(lying, tmp_path / "turned", "--upright")
    expected = pack(upright, tmp_path / "expected")
    for store, *options in ((plain, "--upright"), (turned,)):
        again = ["pack", str(lying), "--output", str(store), "--channels", "1", *options]
        assert CliRunner().invoke(main, again).exit_code == 2  # it is another store than that
    assert (turned / "pixels.bin").read_bytes() == (expected / "pixels.bin").read_bytes()
    assert (plain / "pixels.bin").read_bytes() != (expected / "pixels.bin").read_bytes()
    for store, config in ((plain, UPRIGHT), (turned, tiny)):
        data = config.data.model_copy(update={"source": str(store)})
        config = config.model_copy(update={"data": data})
        with pytest.raises(
            BadInput, match=r"packed with.* --upright, and data.upright is .*; pack"
        ):
            loop.pretrain(tmp_path / "c", config, Stop(), Events(None))
        assert not (tmp_path / "c").exists()
    assert torch.equal(pixels(turned, UPRIGHT), pixels(expected, tiny))


def test_campaigns_from_before_it_are_the_same_as_those_without(tiny):
    told = tiny.model_dump(mode="json")
    del told["data"]["upright"]
    assert Config.model_validate(told).hash == tiny.hash == "362cc3080e727a11"
    assert UPRIGHT.hash != tiny.hash
