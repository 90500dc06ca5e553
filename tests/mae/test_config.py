"""Configs: what is wrong is named, and what is right survives being written."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mae.build import build_model
from mae.config import Config
from mae.config_file import dump, presets, read_config, read_toml
from mae.errors import BadInput

RECIPES = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 2**63 - 1),
        "epochs": st.floats(50, 1e6),
        "steps": st.integers(1, 10**9),
        "batch_size": st.integers(1, 10**5),
        "mask_ratio": st.floats(0.01, 0.99),
        "base_lr": st.floats(1e-9, 10),
        "betas": st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)),
        "clip_grad": st.floats(1e-3, 100),
    },
)


SIZES = ["tiny", "small", "base", "large", "huge"]


SOURCES = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)


@given(RECIPES, SOURCES, st.booleans())
def test_a_written_config_reads_back_the_same(tmp_path_factory, recipe, source, flip):
    config = Config.model_validate({"recipe": recipe, "data": {"source": source, "flip": flip}})
    path = tmp_path_factory.getbasetemp() / "config.toml"
    path.write_text(dump(config))
    assert read_config(str(path)) == config


@pytest.mark.parametrize("name", ["fashion-tiny", *(f"vit_{size}" for size in SIZES)])
def test_presets_are_listed_and_valid(name):
    assert presets()[name]
    read_config(name)


@pytest.mark.parametrize(
    ("image_size", "patch_size", "size", "patch", "patches"),
    [
        (28, 4, (28, 28), (4, 4), 49),
        ([28, 56], 7, (28, 56), (7, 7), 32),
        (28, [4, 14], (28, 28), (4, 14), 14),
        ([12, 20], [3, 10], (12, 20), (3, 10), 8),
    ],
)
def test_images_and_patches_need_not_be_square(
    tmp_path, image_size, patch_size, size, patch, patches
):
    shape = {"image_size": image_size, "patch_size": patch_size, "channels": 2, "width": 16}
    data = {"mean": [0.5, 0.5], "std": [0.2, 0.2]}
    shape |= {"heads": 2, "depth": 1}
    shape |= {"decoder_width": 16, "decoder_heads": 2, "decoder_depth": 1}
    config = Config.model_validate({"model": shape, "data": data})
    assert (config.model.size, config.model.patch, config.model.patches) == (size, patch, patches)
    (tmp_path / "config.toml").write_text(dump(config))
    assert read_config(str(tmp_path / "config.toml")) == config
    assert build_model(config.model, 0).patch_embed.num_patches == patches


def test_a_campaign_frozen_before_patches_were_pairs_is_still_the_same():
    assert "\npatch_size = 4\n" in dump(read_config("fashion-tiny"))
    assert read_config("fashion-tiny").hash == "596eeea2ed1f27f7"


def test_the_demo_has_the_promised_size():
    model = build_model(read_config("fashion-tiny").model, 0)
    assert sum(p.numel() for p in model.parameters()) == 564_688


@pytest.mark.parametrize("name", ["vit_base", "vit_large", "vit_huge"])
def test_published_presets_have_the_published_recipe(name):
    recipe = read_config(name).recipe
    assert (recipe.epochs, recipe.warmup_epochs, recipe.batch_size) == (800, 40, 4096)
    assert (recipe.base_lr, recipe.weight_decay, recipe.betas) == (1.5e-4, 0.05, (0.9, 0.95))
    assert recipe.mask_ratio == 0.75


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("recipe.epocs=3", r"^--set recipe\.epocs: unknown key \(did you mean 'epochs'\?\)"),
        ("modle.width=3", r"^--set modle\.width: unknown key \(did you mean 'model'\?\)"),
        ("recipe.a.b=3", r"^--set recipe\.a\.b: unknown key"),
        ("recipe.epochs=-1", r"^--set recipe\.epochs: .*greater than 0, not -1"),
        ("data.mean=['grey']", r"^--set data\.mean: .*not 'grey'"),
        ("recipe.mask_ratio=1", r"recipe\.mask_ratio: .*less than 1, not 1"),
        ("recipe.mask_ratio=0.99", "leaves none of 49 patches visible"),
        ("recipe.mask_ratio=1e-17", "leaves none of 49 patches masked"),
        ("recipe.batch_size=many", r"recipe\.batch_size: .*not 'many'"),
        (
            "recipe.warmup_epochs=900",
            r"fashion-tiny\.toml with --set recipe\.warmup_epochs: .*exceeds",
        ),
        ("model.image_size=30", "not a multiple of patch_size 4"),
        ("model.patch_size=[4, 5]", r"not a multiple of patch_size \(4, 5\)"),
        ("model.patch_size=[4, 0]", r"^--set model\.patch_size: .*\[height, width\], not \[4, 0\]"),
        ("model.image_size=[28, 28, 3]", r"^--set model\.image_size: .*or \[height, width\]"),
        ("model.heads=7", "not a multiple of 4 and of heads 7"),
        (
            "data.mean=[0.1,0.2]",
            r"with --set data\.mean: data\.mean has 2 numbers for model\.channels = 1",
        ),
        ("data.crop_scale=[0.9,0.1]", "smaller number first"),
        ("data.crop_scale=[0.9,1.1]", "at most 1"),
        ("data.crop_scale=[0.9]", r"^--set data\.crop_scale: should be two numbers, e\.g\. \["),
        ("recipe.betas=[0.9,0.9,0.9]", r"^--set recipe\.betas: should be two numbers, e\.g\. \["),
        ("data.mean=[.4]", r"^--set data\.mean: .*a list as TOML has it.*, not '\[\.4\]'"),
        ("data.mean=[72.9]", r"^--set data\.mean: .*0\.\.1: .* by 255, not \[72\.9\]"),
        ("data.std=[90]", r"^--set data\.std: .*0\.\.1: .* by 255"),
        ("epochs=3", r"section\.key=value"),
        ("recipe.epochs", r"section\.key=value"),
    ],
)
def test_a_bad_setting_is_named_with_its_place(setting, complaint):
    with pytest.raises(BadInput, match=complaint) as caught:
        read_config("fashion-tiny", (setting,))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"--seed": 2**63}, r"^--seed: .*less than"),
        ({"--steps": 0}, r"^--steps: .*greater than 0, not 0"),
        ({"--data": 3}, "^--data: .*valid string"),
    ],
)
def test_an_option_is_blamed_by_the_name_that_it_was_given_by(options, complaint):
    with pytest.raises(BadInput, match=complaint):
        read_config("fashion-tiny", (), options)


def test_a_file_may_begin_with_the_mark_that_windows_editors_put_there(tmp_path):
    path = tmp_path / "c.toml"
    path.write_bytes("[recipe]\nseed = 4\n".encode("utf-8-sig"))
    assert read_config(str(path)).recipe.seed == 4


def test_a_file_is_blamed_for_its_own_mistakes_only(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("[recipe]\nstepz = 4\n")
    with pytest.raises(BadInput, match=rf"^{path}: recipe\.stepz: unknown key"):
        read_config(str(path), ("recipe.epochs=50",), {"--seed": 1})


def test_the_last_word_counts_and_options_come_last():
    settings = ("recipe.steps=4", "recipe.steps=5", "recipe.seed=1")
    recipe = read_config("fashion-tiny", settings, {"--steps": None, "--seed": 2}).recipe
    assert (recipe.steps, recipe.seed) == (5, 2)


def test_any_text_names_data(tmp_path):
    assert read_config("fashion-tiny", (), {"--data": 'a "b"\x7f'}).data.source == 'a "b"\x7f'


def test_a_config_that_is_not_there_names_the_nearest_preset():
    with pytest.raises(BadInput, match="did you mean 'fashion-tiny'"):
        read_config("fashion-tny")


def test_a_config_that_may_not_be_read_names_its_owner():
    us = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        config = Path(name) / "config.toml"
        config.touch(mode=0)
        if us == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(BadInput) as refused:
                read_toml(config, str(config), {})  # the checkout itself may be root's alone
        finally:
            os.seteuid(us)
        whose = f"it belongs to {config.owner()}, who can give it to you (`chown`)"
        assert str(refused.value) == f"config {str(config)!r}: Permission denied; {whose}"


def test_a_config_that_is_not_toml_names_the_line(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("[model]\nwidth = = 3\n")
    with pytest.raises(BadInput, match="line 2"):
        read_config(str(path))


def test_the_hash_is_of_what_is_learnt_and_not_of_how_the_machine_does_it():
    config = read_config("fashion-tiny")
    assert read_config("fashion-tiny", ("run.workers=7",)).hash == config.hash
    assert read_config("fashion-tiny", ("recipe.epochs=7",)).hash != config.hash


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("recipe.epochs=inf", "finite number"),
        ("data.mean=[nan]", "finite number"),
        ("run.threads=99999999999", "less than or equal to 4096"),
        ("run.micro_batch=100000000000000000000000", "less than 2147483648"),
        ('data.source="a\\u0000b"', "NUL"),
        ("run.shard=true", "leave one of them out"),
        ("model.patch_size=1", "one value has no deviation"),
    ],
)
def test_values_that_no_run_could_use_are_refused(setting, complaint):
    with pytest.raises(BadInput, match=complaint):
        read_config("fashion-tiny", ("run.compile=true", setting))


def test_a_config_that_is_not_utf_8_is_told_so(tmp_path):
    (tmp_path / "c.toml").write_bytes(b"[recipe]\n# caf\xe9\n")
    with pytest.raises(BadInput, match=r"c\.toml: not UTF-8 at byte 14"):
        read_config(str(tmp_path / "c.toml"))
