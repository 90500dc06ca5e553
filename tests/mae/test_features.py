"""`mae features`: rows that are what the encoder makes of images, in a file that says of which."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from tiny import TINY

from mae.cli import main
from mae.config_file import read_config
from mae.data.sources import open_source
from mae.errors import BadInput
from mae.evaluate import extract as extract_module
from mae.evaluate.extract import Wanted, extract
from mae.evaluate.run import Bench, choose_checkpoint
from mae.train import loop
from mae.train.campaign import open_campaign
from mae.train.events import Events
from mae.train.stopping import Paused, Stop


@pytest.fixture(scope="module")
def campaign(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("features") / "campaign"
    config = read_config("fashion-tiny", (*TINY, "recipe.steps=2"))
    loop.pretrain(root, config, Stop(), Events(None))
    return root


def run(campaign: Path, output: Path, **told) -> dict[str, np.ndarray]:
    extract(Wanted(campaign, output, **told), Stop(), Events(None))
    with np.load(output) as file:  # which refuses pickles
        return dict(file)


@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_rows_are_what_the_encoder_makes_of_the_images(campaign, tmp_path, pool):
    found = run(campaign, tmp_path / "f.npz", pool=pool, split="held-out")
    opened, config = open_campaign(campaign)
    bench = Bench(config, open_source("sample"), Stop(), print)
    model = bench.model(choose_checkpoint(opened, None, print))
    images = bench.splits.held_out
    imgs = bench.view.normalise(torch.from_numpy(images.pixels[:20].astype(np.float32)))
    with torch.inference_mode():
        tokens = model.forward_features(imgs)
    expected = tokens[:, 1:].mean(dim=1) if pool == "mean" else tokens[:, 0]
    np.testing.assert_allclose(found["features"][:20], expected.numpy(), rtol=1e-4, atol=1e-5)
    assert found["features"].dtype == np.float32
    np.testing.assert_array_equal(found["labels"], images.labels)
    np.testing.assert_array_equal(found["samples"], np.arange(1000))
    assert set(found["split"]) == {1}
    meta = json.loads(str(found["meta"]))
    assert (meta["pool"], meta["images"], meta["width"]) == (pool, 1000, 16)
    assert (meta["checkpoint"], meta["data"], meta["step"]) == ("step-000000002", "sample", 2)


def test_both_splits_and_the_files_names(campaign, tmp_path, folder):
    next(folder.rglob("*.jpg")).write_bytes(b"no image")
    found = run(campaign, tmp_path / "f.npz", data=str(folder))
    splits = open_source(str(folder))
    assert len(found["features"]) == 119  # the unreadable one is left out
    for row, (split, sample, name) in enumerate(
        zip(found["split"], found["samples"], found["names"], strict=True)
    ):
        images = (splits.train, splits.held_out)[split]
        assert name == str(images.paths[sample])
        assert images.labels[sample] == found["labels"][row]


def test_what_is_there_is_not_overwritten_nor_half_written(campaign, tmp_path):
    output = tmp_path / "f.npz"
    output.write_text("mine")
    with pytest.raises(BadInput, match="exists already"):
        run(campaign, output)
    assert output.read_text() == "mine"
    with pytest.raises(BadInput, match=r"f\.csv: features go into a \.npz file"):
        run(campaign, tmp_path / "f.csv")
    with pytest.raises(Paused, match="deadline"):
        extract(Wanted(campaign, tmp_path / "g.npz"), Stop(deadline=1.0), Events(None))
    assert [p.name for p in tmp_path.iterdir()] == ["f.npz"]


@pytest.mark.parametrize("output", ["file/f.npz", "file/below/f.npz", "link/f.npz", "x" * 245])
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_place_that_cannot_be_written_is_told_before_anything_is_computed(
    campaign, tmp_path, monkeypatch, output, dry_run
):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    monkeypatch.setattr(extract_module, "features", pytest.fail)
    wanted = Wanted(campaign, (tmp_path / output).with_suffix(".npz"))
    with pytest.raises(BadInput, match=r"cannot be written: .*; name another place") as told:
        extract(wanted, Stop(), Events(None), dry_run)
    assert "\n" not in str(told.value)
    assert {p.name for p in tmp_path.iterdir()} == {"file", "link"}


def test_a_dry_run_makes_no_directory(campaign, tmp_path):
    wanted = Wanted(campaign, tmp_path / "new/deep/f.npz")
    extract(wanted, Stop(), Events(None), dry_run=True)
    assert not list(tmp_path.iterdir())


def test_the_command_tells_what_it_does_and_would_do(campaign, tmp_path):
    output = tmp_path / "f.npz"
    command = ["features", str(campaign), "--output", str(output), "--split", "held-out"]
    dry = CliRunner().invoke(main, [*command, "--dry-run"])
    assert dry.stdout == f"would write {output}: 1000 × 16 features of sample by step-000000002\n"
    assert not output.exists()
    told = json.loads(CliRunner().invoke(main, [*command, "--json"]).stdout)
    assert (told["written"], told["images"], told["output"]) == (True, 1000, str(output))
    assert output.stat().st_mode & 0o077 == 0
    again = CliRunner().invoke(main, command)
    assert (again.exit_code, again.stderr.count("\n")) == (2, 1)
