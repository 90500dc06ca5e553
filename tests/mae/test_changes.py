"""Configs that change between nights: what goes on, what is told, what needs another campaign."""

import json

import pytest
import torch
from test_resume import changed, files_of, night

from mae.config import Config
from mae.config_file import read_config
from mae.errors import BadInput
from mae.train.campaign import Campaign, read_history
from mae.train.changes import HARMLESS, NOTED, classify
from mae.train.schedule import learning_rate

ANOTHER = {
    "model": {
        "image_size": 32, "patch_size": 7, "channels": 3, "width": 32, "depth": 2, "heads": 4,
        "decoder_width": 32, "decoder_depth": 2, "decoder_heads": 4, "mlp_ratio": 2.0,
        "norm_pix_loss": False,
    },
    "data": {
        "source": "elsewhere", "crop_scale": (0.1, 1.0), "crop_ratio": (0.5, 2.0), "flip": False,
        "upright": True, "mean": (0.5,), "std": (0.5,),
    },
    "recipe": {
        "seed": 1, "epochs": 64.0, "steps": 24, "batch_size": 32, "mask_ratio": 0.6,
        "base_lr": 1e-3, "min_lr": 1e-6, "warmup_epochs": 2.0, "weight_decay": 0.1,
        "betas": (0.9, 0.99), "clip_grad": 1.0,
    },
    "run": {
        "workers": 0, "threads": 2, "precision": "bf16", "micro_batch": 4, "compile": True,
        "shard": True, "recompute": True, "log_every_steps": 1, "most_divergences": 0,
        "checkpoint_every_seconds": 1.0, "checkpoint_every_steps": 7,
    },
}  # fmt: skip
NIGHTLY = {("recipe", key) for key in ANOTHER["recipe"]} - {
    ("recipe", "seed"),
    ("recipe", "mask_ratio"),
} | {("data", "source")}


@pytest.mark.parametrize(
    ("section", "key"), [(s, k) for s, part in Config.model_fields.items() for k in
                         part.annotation.model_fields]
)  # fmt: skip
def test_every_key_is_harmless_noted_or_refused(tiny, section, key):
    noted, refused = classify(tiny, changed(tiny, section, **{key: ANOTHER[section][key]}))
    if section == "run":
        assert (noted, refused) == ([], [])
    elif (section, key) in NIGHTLY:
        assert [told.partition(" ")[0] for told in noted] == [f"{section}.{key}"]
        assert refused == []
    else:
        assert noted == []
        assert [told.partition(" ")[0] for told in refused] == [f"{section}.{key}"]


def test_the_classes_name_keys_that_there_are():
    assert set(Config.model_fields) >= HARMLESS
    for section, keys in NOTED.items():
        assert keys <= set(Config.model_fields[section].annotation.model_fields)


@pytest.mark.parametrize(
    ("section", "change", "complaint"),
    [
        ("model", {"depth": 2}, "the campaign has model.depth = 1, not 2"),
        ("data", {"flip": False}, "the campaign has data.flip = true, not false"),
        ("recipe", {"seed": 1}, "the campaign has recipe.seed = 0, not 1"),
    ],
)
def test_another_network_or_other_lessons_are_another_campaign(
    tmp_path, tiny, section, change, complaint
):
    night(tmp_path, tiny, until=2)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(BadInput, match=f"{complaint}.*--output"):
        night(tmp_path, changed(tiny, section, **change))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_change_is_noted_and_the_config_before_it_stays(tmp_path, tiny, capsys):
    night(tmp_path, tiny, until=2)
    first = (tmp_path / "config.toml").read_text()
    night(tmp_path, changed(tiny, "recipe", base_lr=1e-3, clip_grad=1.0), until=4)
    told = "from step 2 on the campaign has recipe.base_lr = 0.001, not 0.004; "
    assert told + "recipe.clip_grad = 1.0, not null" in capsys.readouterr().err
    assert (tmp_path / "config-until-step-000000002.toml").read_text() == first
    assert read_config(str(tmp_path / "config.toml")).recipe.base_lr == 1e-3
    night(tmp_path, changed(tiny, "recipe", base_lr=1e-3, clip_grad=1.0), until=6)
    assert "the campaign has" not in capsys.readouterr().err


def test_the_schedule_follows_the_samples_to_another_batch_size(tmp_path, tiny):
    tiny = changed(tiny, "run", log_every_steps=1)
    night(tmp_path, tiny, until=4)
    larger = changed(tiny, "recipe", batch_size=32)
    assert night(tmp_path, larger, until=5)[0] == "paused"
    assert night(tmp_path, larger) == ("completed", "all 8 steps are done")
    rows = read_history(Campaign(tmp_path))
    # Twelve steps of 16 images: four of them, then four of 32.
    assert [round(row["epoch"] * 4000) for row in rows] == [16, 32, 48, 64, 96, 128, 160, 192]
    (recipe, done) = tiny.recipe, [0, 16, 32, 48, 64, 96, 128, 160]
    for row, images in zip(rows, done, strict=True):
        peak = recipe.base_lr * (16 if images < 64 else 32) / 256
        expected = learning_rate(images, 192, 192 / 32, peak)
        assert row["lr"] == pytest.approx(expected, rel=1e-6, abs=1e-12)
    manifest = json.loads((tmp_path / "checkpoints/step-000000008/manifest.json").read_text())
    assert manifest["samples"] == 192


def test_another_batch_size_is_exact_however_many_nights_it_takes(tmp_path, tiny):
    larger = changed(tiny, "recipe", batch_size=24)
    for root, stops in ((tmp_path / "few", (5,)), (tmp_path / "many", (3, 5))):
        for stop in stops:
            night(root, tiny, until=stop)
        for stop in (7, None) if root.name == "many" else (None,):
            night(root, larger, until=stop)
    few, many = files_of(tmp_path / "few", 10), files_of(tmp_path / "many", 10)
    assert few["weights.safetensors"] == many["weights.safetensors"]


def test_more_epochs_move_the_end_and_the_weight_decay_that_is_asked_for_is_used(tmp_path, tiny):
    night(tmp_path / "c", tiny, until=6)
    longer = changed(tiny, "recipe", steps=16, weight_decay=0.0, betas=(0.8, 0.9))
    assert night(tmp_path / "c", longer) == ("completed", "all 16 steps are done")
    state = json.loads((tmp_path / "c/checkpoints/step-000000016/manifest.json").read_text())
    assert state["step"] == 16

    loaded = torch.load(tmp_path / "c/checkpoints/step-000000016/state.pt", weights_only=True)
    groups = loaded["optimiser"]["param_groups"]
    assert [group["weight_decay"] for group in groups] == [0.0, 0.0]
    assert {tuple(group["betas"]) for group in groups} == {(0.8, 0.9)}


def test_epochs_that_are_over_end_a_campaign_where_it_is(tmp_path, tiny, capsys):
    tiny = changed(tiny, "recipe", steps=None, epochs=2.0, warmup_epochs=0.0)
    night(tmp_path, tiny, until=4)
    assert night(tmp_path, changed(tiny, "recipe", epochs=0.008)) == (
        "completed",
        "all 4 steps are done",
    )
    assert "resuming from step-000000004 of 4 steps" in capsys.readouterr().err


def test_images_may_move_but_not_become_others(tmp_path, tiny, folder):
    here = changed(tiny, "data", source=str(folder))
    night(tmp_path / "c", here, until=2)
    folder.rename(tmp_path / "moved")
    there = changed(tiny, "data", source=str(tmp_path / "moved"))
    assert night(tmp_path / "c", there, until=4)[0] == "paused"
    config = (tmp_path / "c/config.toml").read_text()
    with pytest.raises(BadInput, match="now there are 4000"):
        night(tmp_path / "c", changed(tiny, "data", source="sample"))
    assert (tmp_path / "c/config.toml").read_text() == config


def test_a_number_of_steps_is_of_all_of_them_after_another_batch_size_as_well(tmp_path, tiny):
    night(tmp_path, tiny, until=8)
    larger = changed(tiny, "recipe", batch_size=32, steps=20)
    assert night(tmp_path, larger, until=10)[0] == "paused"
    assert night(tmp_path, larger) == ("completed", "all 20 steps are done")
    fewer = changed(tiny, "recipe", batch_size=32, steps=6)
    assert night(tmp_path, fewer) == ("completed", "all 20 steps are done")


def test_images_that_the_network_cannot_take_are_refused_before_anything_is_written(
    tmp_path, tiny, folder
):
    half = (0.5,) * 4
    model = changed(tiny, "model", channels=4)
    four = changed(changed(model, "data", mean=half, std=half), "data", source=str(folder))
    with pytest.raises(BadInput, match="image files have 1 or 3"):
        night(tmp_path / "c", four)
    assert not (tmp_path / "c").exists()
