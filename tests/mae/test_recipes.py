"""The shipped recipes against the published table, of which this file holds its own copy."""

from pathlib import Path

import pytest

from mae.config_file import PRESETS, read_config
from mae.errors import BadInput
from mae.recipes import Augmentation, Head, Learning, Recipe, read_recipe, recipes

SIZES = ["base", "large", "huge"]
# By size: epochs, base rate, layer decay, drop path, top-1.
FINETUNE = {
    "base": (100, 5e-4, 0.65, 0.1, 83.66),
    "large": (50, 1e-3, 0.75, 0.2, 85.95),
    "huge": (50, 1e-3, 0.75, 0.3, 86.93),
}
# By size: epochs, top-1.
LINEAR = {"base": (90, 67.8), "large": (50, 76.0), "huge": (50, 77.2)}


@pytest.mark.parametrize("size", SIZES)
def test_pretraining_is_as_published(size):
    config = read_config(f"vit_{size}")
    recipe, data = config.recipe, config.data
    assert (recipe.betas, recipe.weight_decay, recipe.base_lr) == ((0.9, 0.95), 0.05, 1.5e-4)
    assert (recipe.epochs, recipe.warmup_epochs, recipe.batch_size) == (800, 40, 4096)
    assert (data.crop_scale, data.crop_ratio, data.flip) == ((0.2, 1.0), (3 / 4, 4 / 3), True)
    assert (recipe.mask_ratio, config.model.norm_pix_loss, recipe.min_lr) == (0.75, True, 0.0)
    assert recipe.clip_grad is None


@pytest.mark.parametrize("size", ["small", "tiny"])
def test_the_small_ones_are_pretrained_like_base(size):
    ours, base = read_config(f"vit_{size}"), read_config("vit_base")
    assert (ours.recipe, ours.data) == (base.recipe, base.data)
    shape = {"small": (384, 12, 6), "tiny": (192, 12, 3)}[size]
    assert (ours.model.width, ours.model.depth, ours.model.heads) == shape
    as_base = {"width": 768, "heads": 12}
    assert ours.model.model_copy(update=as_base) == base.model


@pytest.mark.parametrize("size", SIZES)
def test_fine_tuning_is_as_published(size):
    epochs, base_lr, layer_decay, drop_path, top1 = FINETUNE[size]
    assert read_recipe(f"finetune/vit_{size}") == Recipe(
        learning=Learning(
            optimiser="adamw",
            base_lr=base_lr,
            min_lr=1e-6,
            weight_decay=0.05,
            betas=(0.9, 0.999),
            layer_decay=layer_decay,
            epochs=epochs,
            warmup_epochs=5,
            batch_size=1024,
        ),
        augmentation=Augmentation(
            crop_scale=(0.08, 1.0),
            rand_augment=(9, 0.5),
            mixup=0.8,
            cutmix=1.0,
            erase=0.25,
            label_smoothing=0.1,
            central_crop=0.875,
        ),
        head=Head(pool="mean", norm="layer", frozen=False, drop_path=drop_path),
    )
    assert f"{top1:.2f} % top-1" in recipes()[f"finetune/vit_{size}"]


@pytest.mark.parametrize("size", SIZES)
def test_linear_probing_is_as_published(size):
    epochs, top1 = LINEAR[size]
    assert read_recipe(f"linear/vit_{size}") == Recipe(
        learning=Learning(
            optimiser="lars",
            base_lr=0.1,
            momentum=0.9,
            weight_decay=0.0,
            epochs=epochs,
            warmup_epochs=10,
            batch_size=16384,
        ),
        augmentation=Augmentation(
            crop_scale=(0.08, 1.0),
            flip=True,
            rand_augment=None,
            mixup=0.0,
            cutmix=0.0,
            erase=0.0,
            label_smoothing=0.0,
            central_crop=0.875,
        ),
        head=Head(pool="cls", norm="batch", frozen=True, drop_path=0.0),
    )
    assert f"{top1:.1f} % top-1" in recipes()[f"linear/vit_{size}"]


def test_every_key_is_documented():
    documented = (Path(__file__).parents[2] / "docs/mae.md").read_text()
    keys = [key for section in (Learning, Augmentation, Head) for key in section.model_fields]
    assert [key for key in keys if f"`{key}`" not in documented] == []


def test_all_that_ships_is_in_the_table():
    shipped = [f"{kind}/vit_{size}" for kind in ("finetune", "linear") for size in SIZES]
    assert sorted(recipes()) == sorted([*shipped, "finetune/fashion-tiny", "linear/fashion-tiny"])


@pytest.mark.parametrize("size", [*(f"vit_{size}" for size in SIZES), "fashion-tiny"])
def test_a_setting_replaces_a_number_and_is_named_if_it_is_wrong(size):
    recipe = read_recipe(f"finetune/{size}", ("learning.epochs=7", "augmentation.mixup=0.0"))
    assert (recipe.learning.epochs, recipe.augmentation.mixup) == (7, 0.0)
    assert recipe.hash != read_recipe(f"finetune/{size}").hash
    with pytest.raises(BadInput, match=r"^--set learning\.epochs: .*valid integer"):
        read_recipe(f"finetune/{size}", ("learning.epochs=few",))
    with pytest.raises(BadInput, match=r"^--set learning\.epocs: unknown key .*'epochs'"):
        read_recipe(f"finetune/{size}", ("learning.epocs=7",))
    with pytest.raises(BadInput, match=r"--set epochs=7: .*e\.g\. learning\.epochs=5"):
        read_recipe(f"finetune/{size}", ("epochs=7",))


def test_crops_are_checked_as_those_of_pretraining():
    whole = read_recipe("linear/vit_base", ("augmentation.crop_scale=[1.0, 1.0]",))
    assert whole.augmentation.crop_scale == (1.0, 1.0)
    for wrong, complaint in [
        ("[0.9, 0.2]", "smaller number first"),
        ("[0.5, 1.5]", "at most 1"),
        ("0.5", "a list as TOML has it"),
    ]:
        with pytest.raises(BadInput, match=rf"^--set augmentation\.crop_scale: .*{complaint}"):
            read_recipe("linear/vit_base", (f"augmentation.crop_scale={wrong}",))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("layer_decay", "layer_decya", r"learning\.layer_decya: unknown key .*'layer_decay'"),
        ("[head]", "[haed]", r"haed: unknown key .*'head'|head: Field required"),
        ("betas = [0.9, 0.999]", "momentum = 0.9", "learning: optimiser adamw takes betas"),
        ("epochs = 100", "epochs = 4", r"learning: warmup_epochs 5\.0 exceeds epochs 4"),
        ("layer_decay = 0.65", "layer_decay = 1.5", r"learning\.layer_decay: .*less than or equal"),
        ('pool = "mean"', 'pool = "max"', r"head\.pool: .*'mean' or 'cls'"),
        ("mixup = 0.8", "mixup = = 0.8", "not TOML: .*line"),
    ],
)
def test_a_wrong_recipe_is_named_with_its_place(tmp_path, old, new, complaint):
    text = (PRESETS / "finetune/vit_base.toml").read_text()
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(BadInput, match=rf"^{path}: ({complaint})") as caught:
        read_recipe(str(path))
    assert "\n" not in str(caught.value)


def test_a_recipe_that_is_not_there_names_the_nearest():
    with pytest.raises(BadInput, match="did you mean 'linear/vit_base'"):
        read_recipe("linear/vit_bse")
