"""Linear probing and fine-tuning: they learn, and stopped anywhere they end with the same bits."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tiny import TINY

from mae.config_file import read_config
from mae.data.sources import Arrays, Splits
from mae.errors import BadInput, Busy, TrainingFailed
from mae.evaluate import head_request
from mae.evaluate.head import describe, train_head
from mae.evaluate.head_request import MOST_AT_ONCE, Request, micro_batch, plan_of
from mae.evaluate.run import evaluate, read_evaluations
from mae.files import held
from mae.recipes import read_recipe
from mae.train import loop
from mae.train.campaign import Campaign
from mae.train.events import Events
from mae.train.stopping import Paused, Stop

LINEAR = ("learning.epochs=3", "learning.warmup_epochs=1", "learning.batch_size=32")
FINETUNE = (*LINEAR, "head.drop_path=0.0")
STEPS = 9  # 3 epochs of 96 images


class After(Stop):
    """Stops after so many looks: training looks once before its first step, then after each."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    def reason(self, margin: float = 0.0) -> str | None:
        self.looks -= 1
        return "enough" if self.looks < 0 else None


def pretrained(root: Path, *more: str) -> Path:
    loop.pretrain(root, read_config("fashion-tiny", (*TINY, *more)), Stop(), Events(None))
    return root


@pytest.fixture
def campaign(tmp_path) -> Path:
    return pretrained(tmp_path / "campaign", "recipe.steps=2", "model.depth=2")


@pytest.fixture
def few(monkeypatch, sample) -> None:
    """A hundred images instead of thousands."""
    splits = Splits(
        Arrays(sample.pixels[:96], sample.labels[:96]),
        Arrays(sample.pixels[300:340], sample.labels[300:340]),
    )
    monkeypatch.setattr(head_request, "open_source", lambda _source: splits)


def train(root: Path, recipe: str, *settings: str, stop: Stop | None = None, events=None, **more):
    request = Request(root, recipe, settings, **more)
    return train_head(request, stop or Stop(), events or Events(None))


def weights_of(root: Path, result: dict) -> bytes:
    return (root / result["weights"]).read_bytes()


@pytest.mark.parametrize("recipe", ["linear/fashion-tiny", "finetune/fashion-tiny"])
def test_stopped_at_any_steps_it_ends_with_the_same_bits(campaign, tmp_path, few, recipe):
    settings = (*LINEAR, "run.micro_batch=16", "augmentation.rand_augment=[9, 0.5]")
    settings += ("head.drop_path=0.3",) if "finetune" in recipe else ()
    other = pretrained(tmp_path / "other", "recipe.steps=2", "model.depth=2")
    whole = train(campaign, recipe, *settings)
    stops = sorted(random.Random(recipe).sample(range(1, STEPS), 3))
    for before, at in zip([0, *stops], stops, strict=False):
        with pytest.raises(Paused, match=f"enough, at step {at} of {STEPS}"):
            train(other, recipe, *settings, stop=After(at - before))
    parts = train(other, recipe, *settings)
    assert weights_of(other, parts) == weights_of(campaign, whole)
    assert parts["metrics"] == whole["metrics"]


def test_files_are_learnt_from_alike_by_any_number_of_workers(campaign, tmp_path, folder):
    other = pretrained(tmp_path / "other", "recipe.steps=2", "model.depth=2")
    settings = (*LINEAR, "head.drop_path=0.3")
    data = {"data": str(folder)}
    recipe = "finetune/fashion-tiny"
    whole = train(campaign, recipe, *settings, "run.workers=0", **data)
    with pytest.raises(Paused):
        train(other, recipe, *settings, "run.workers=2", stop=After(4), **data)
    parts = train(other, recipe, *settings, "run.workers=2", **data)
    assert weights_of(other, parts) == weights_of(campaign, whole)
    assert parts["data"] == str(folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A network so small that it sees the sample a few times in seconds."""
    root = tmp_path_factory.mktemp("trained") / "campaign"
    return pretrained(root, "recipe.steps=2", "model.width=32", "model.depth=2")


def test_a_probe_and_a_fine_tuned_network_learn(trained):
    few_epochs = ("learning.epochs=3", "learning.warmup_epochs=1", "learning.batch_size=64")
    probe = train(trained, "linear/fashion-tiny", *few_epochs, "learning.base_lr=40.0")["metrics"]
    tuned = train(
        trained, "finetune/fashion-tiny", *few_epochs, "augmentation.mixup=0",
        "augmentation.cutmix=0",
    )["metrics"]  # fmt: skip
    assert set(probe) == {"linear_probe_top1", "linear_probe_top5", "linear_probe_loss"}
    assert probe["linear_probe_top1"] > 40  # chance is 10
    assert probe["linear_probe_top5"] > 80
    assert tuned["finetune_top1"] > 45
    assert tuned["finetune_loss"] < 1.8


def test_a_result_tells_what_it_is_of_and_is_not_made_twice(campaign, few, tmp_path):
    stream = tmp_path / "events.jsonl"
    result = train(campaign, "linear/fashion-tiny", *LINEAR, events=Events(stream))
    (path,) = (campaign / "evaluations").glob("*.json")
    assert json.loads(path.read_text()) == result
    assert result["recipe_hash"] == read_recipe("linear/fashion-tiny", LINEAR).hash
    assert (result["checkpoint"], result["step"], result["steps"]) == ("step-000000002", 2, STEPS)
    manifest = json.loads((campaign / "checkpoints/step-000000002/manifest.json").read_text())
    digest = manifest["files"]["weights.safetensors"]["sha256"]
    assert result["checkpoint_sha256"] == digest
    (directory,) = (campaign / "heads").glob("linear-fashion-tiny-*/step-000000002")
    assert {p.name for p in directory.iterdir()} == {"plan.json", "weights.safetensors"}
    assert set(load_file(directory / "weights.safetensors")) == {
        "head.0.running_mean", "head.0.running_var", "head.0.num_batches_tracked",
        "head.1.weight", "head.1.bias",
    }  # fmt: skip
    told = [json.loads(line) for line in stream.read_text().splitlines()]
    names = {e["name"] for e in told if e["event"] == "metric"}
    assert names >= {"loss", "lr", "images_per_second", *result["metrics"]}
    scores = {e["name"]: e for e in told if e["event"] == "metric" and e["step"] == 2}
    assert scores["linear_probe_top1"]["value"] == result["metrics"]["linear_probe_top1"]
    artifacts = {e["name"]: e["path"] for e in told if e["event"] == "artifact"}
    assert artifacts["evaluation"] == str(path)
    assert artifacts["checkpoint_in"].endswith("checkpoints/step-000000002")
    assert [e["step"] for e in told if e["event"] == "progress"][-1] == STEPS
    before = path.stat().st_mtime_ns
    assert train(campaign, "linear/fashion-tiny", *LINEAR, stop=After(0)) == result
    assert path.stat().st_mtime_ns == before


def test_nightly_evaluations_do_not_see_it(campaign, few):
    train(campaign, "linear/fashion-tiny", *LINEAR)
    assert read_evaluations(Campaign(campaign), "sample") == []


def test_what_is_unfinished_goes_on_with_its_checkpoint(campaign, few, capsys):
    with pytest.raises(Paused):
        train(campaign, "linear/fashion-tiny", *LINEAR, stop=After(4))
    config = read_config(str(campaign / "config.toml"))
    (campaign / "config.toml").write_text(
        (campaign / "config.toml").read_text().replace("steps = 2", "steps = 4")
    )
    more = read_config(str(campaign / "config.toml"))
    assert more != config
    loop.pretrain(campaign, more, Stop(), Events(None))
    rotated = campaign / "checkpoints" / "step-000000002"
    for file in rotated.iterdir():
        file.unlink()
    rotated.rmdir()
    capsys.readouterr()
    result = train(campaign, "linear/fashion-tiny", *LINEAR)
    assert result["checkpoint"] == "step-000000002"
    assert "resuming from step 4 of 9" in capsys.readouterr().err
    # Now that it is finished, the next one is of the newest.
    assert train(campaign, "linear/fashion-tiny", *LINEAR)["checkpoint"] == "step-000000004"


def test_another_recipe_is_another_evaluation(campaign, few):
    train(campaign, "linear/fashion-tiny", *LINEAR)
    train(campaign, "linear/fashion-tiny", *LINEAR, "learning.base_lr=1.0")
    assert len(list((campaign / "evaluations").glob("linear-*-step-000000002.json"))) == 2


def test_states_are_written_by_the_clock_and_only_the_last_is_kept(campaign, few):
    always = (*LINEAR, "run.checkpoint_every_seconds=1e-9")
    with pytest.raises(Paused):
        train(campaign, "linear/fashion-tiny", *always, stop=After(4))
    (state,) = (campaign / "heads").glob("*/*/state/*")
    assert state.name == "step-000000004"


def test_weights_that_are_gone_or_damaged_are_told_in_a_line(campaign, few):
    with pytest.raises(Paused):
        train(campaign, "linear/fashion-tiny", *LINEAR, stop=After(4))
    (copy,) = (campaign / "heads").glob("*/*/pretrained.safetensors")
    content = copy.read_bytes()
    copy.unlink()  # it shares its bytes with the checkpoint
    copy.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BadInput, match=r"damaged: not the weights of step-000000002; take .* away"):
        train(campaign, "linear/fashion-tiny", *LINEAR)
    copy.unlink()
    with pytest.raises(BadInput, match=r"No such file.*to begin anew"):
        train(campaign, "linear/fashion-tiny", *LINEAR)


def test_a_damaged_result_is_told_in_a_line_with_what_to_take_away(campaign, few):
    train(campaign, "linear/fashion-tiny", *LINEAR)
    (result,) = (campaign / "evaluations").glob("linear-*.json")
    for content in ("{", "[3]", '{"metrics": {}}', "[" * 100_000):
        result.write_text(content)
        with pytest.raises(BadInput, match=rf"{result.name} is damaged; .* away to train") as told:
            train(campaign, "linear/fashion-tiny", *LINEAR)
        assert "\n" not in str(told.value)
    with pytest.raises(BadInput, match="is damaged"):
        describe(plan_of(Request(campaign, "linear/fashion-tiny", LINEAR), print))
    result.unlink()
    (directory,) = (campaign / "heads").glob("*/step-000000002")
    assert str(directory) in str(told.value)
    shutil.rmtree(directory)
    assert train(campaign, "linear/fashion-tiny", *LINEAR)["steps"] == STEPS


def test_a_place_that_cannot_be_written_is_told_before_anything_is_learnt(campaign, few):
    (campaign / "evaluations").write_text("")
    with pytest.raises(BadInput, match="evaluations: Not a directory; name another place"):
        train(campaign, "linear/fashion-tiny", *LINEAR)
    assert not (campaign / "heads").exists()


def test_a_loss_that_is_no_number_fails_and_says_what_to_set(campaign, few):
    wild = ("learning.base_lr=1e30", "augmentation.mixup=0", "augmentation.cutmix=0")
    with pytest.raises(TrainingFailed, match=r"the loss is .*--set learning\.base_lr"):
        train(campaign, "finetune/fashion-tiny", *LINEAR, *wild, "run.log_every_steps=1")


def test_one_process_trains_at_a_time(campaign, few):
    with pytest.raises(Paused):
        train(campaign, "linear/fashion-tiny", *LINEAR, stop=After(1))
    (lock,) = (campaign / "heads").glob("*/.lock")
    with held(lock), pytest.MonkeyPatch.context() as patch:
        patch.setattr("mae.evaluate.head.held", lambda path: held(path, patience=0))
        with pytest.raises(Busy, match="another mae process"):
            train(campaign, "linear/fashion-tiny", *LINEAR)


def test_published_batches_go_through_in_parts():
    assert micro_batch(read_recipe("linear/vit_base"), None) == MOST_AT_ONCE
    assert micro_batch(read_recipe("finetune/vit_huge"), 64) == 64
    assert (
        micro_batch(read_recipe("linear/fashion-tiny", ("learning.batch_size=600",)), None) == 200
    )


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (("run.micro_batch=48",), r"run\.micro_batch 48 does not divide .* 32; .*micro_batch=16"),
        (("learning.batch_size=30", "run.micro_batch=15"), "15 images at once are odd"),
        (("learning.batch_size=128",), r"learning\.batch_size 128 is larger than the 96"),
        (("run.wokers=1",), r"--set run\.wokers: unknown key"),
    ],
)
def test_what_cannot_be_trained_is_told_in_a_line(campaign, few, settings, complaint):
    if "48" in settings[0]:
        settings = ("learning.batch_size=64", *settings)
        complaint = complaint.replace(" 32", " 64")
    with pytest.raises(BadInput, match=complaint) as caught:
        train(campaign, "finetune/fashion-tiny", *FINETUNE, *settings)
    assert "\n" not in str(caught.value)
    assert not (campaign / "heads").exists()


def test_images_without_labels_teach_nothing(campaign, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for number in range(40):
        Image.fromarray(np.full((28, 28), number, np.uint8)).save(flat / f"{number}.png")
    with pytest.raises(BadInput, match=r"have no labels.*a folder a class"):
        train(campaign, "linear/fashion-tiny", data=str(flat))


def test_a_dry_run_writes_nothing(campaign, few):
    request = Request(campaign, "linear/fashion-tiny", LINEAR)
    told = describe(plan_of(request, print))
    assert (told["steps"], told["done"], told["classes"]) == (STEPS, 0, 10)
    assert not (campaign / "heads").exists()
    with pytest.raises(Paused):
        train_head(request, After(5), Events(None))
    assert describe(plan_of(request, print))["done"] == 5


def test_an_evaluation_of_the_night_still_works_beside_it(campaign, few, monkeypatch):
    train(campaign, "linear/fashion-tiny", *LINEAR)
    with pytest.raises(Paused):
        evaluate(campaign, Stop(deadline=1.0), Events(None))


def test_accumulated_parts_sum_to_the_batchs_gradient(campaign, few):
    """Without a BatchNorm or mixing, how a batch is cut changes rounding alone."""
    plain = (
        *FINETUNE, "augmentation.mixup=0", "augmentation.cutmix=0", "augmentation.erase=0",
        "learning.epochs=1", "learning.base_lr=1e-3",
    )  # fmt: skip
    found = []
    for size in (32, 8):
        request = Request(campaign, "finetune/fashion-tiny", (*plain, f"run.micro_batch={size}"))
        result = train_head(request, Stop(), Events(None))
        found.append(load_file(campaign / result["weights"])["blocks.0.attn.qkv.weight"])
        (campaign / "evaluations").joinpath(
            f"{Path(result['weights']).parts[1]}-step-000000002.json"
        ).unlink()
        (campaign / result["weights"]).parent.joinpath("plan.json").unlink()
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-5)
