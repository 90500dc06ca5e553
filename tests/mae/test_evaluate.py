"""Evaluation: numbers that compare across nights, and pictures that show what is there."""

import dataclasses
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import reference
import torch
from PIL import Image
from tiny import TINY

from mae.build import build_model, view_of
from mae.config_file import read_config
from mae.data.loader import plain_batches
from mae.data.sources import Arrays, Splits
from mae.errors import BadInput, TrainingFailed
from mae.evaluate import run
from mae.evaluate.extract import Wanted, extract
from mae.evaluate.knn import knn_top1
from mae.evaluate.linear import linear_top1
from mae.evaluate.pictures import save_reconstruction
from mae.evaluate.places import places_of
from mae.evaluate.reconstruction import (
    Reconstruction,
    reconstruct,
    reconstruction_metrics,
    structural_similarity,
)
from mae.masking import held_out_noise
from mae.train import checkpoint as checkpoints
from mae.train import loop
from mae.train.campaign import Campaign, open_campaign, read_history
from mae.train.events import Events
from mae.train.stopping import Paused, Stop

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def campaign(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("evaluated") / "campaign"
    loop.pretrain(root, read_config("fashion-tiny", TINY), Stop(), Events(None))
    return root


@pytest.fixture
def small_set(monkeypatch, sample) -> None:
    """A few hundred images instead of thousands."""
    few = Splits(
        Arrays(sample.pixels[:300], sample.labels[:300]),
        Arrays(sample.pixels[300:400], sample.labels[300:400]),
    )
    monkeypatch.setattr(run, "open_source", lambda _source: few)


def test_patches_that_are_not_square_train_and_are_scored_and_pictured(tmp_path, small_set):
    shape = ("model.image_size=[28, 20]", "model.patch_size=[7, 4]", "recipe.steps=2")
    config = read_config("fashion-tiny", (*TINY, *shape))
    loop.pretrain(tmp_path / "c", config, Stop(), Events(None))
    metrics = run.evaluate(tmp_path / "c", Stop(), Events(None))["metrics"]
    assert 0 < metrics["reconstruction_mse"] < 1
    assert list((tmp_path / "c/pictures").glob("reconstruction-*.png"))


class Painter(torch.nn.Module):
    """Stands in for the network: predicts the true normalised patches, all off by a constant."""

    def __init__(self, model, off: float) -> None:
        super().__init__()
        self.inner, self.off = model, off

    def __getattr__(self, name):
        if name in ("patchify", "unpatchify", "patch_embed", "norm_pix_loss"):
            return getattr(self.inner, name)
        return super().__getattr__(name)

    def forward(self, imgs, mask_ratio, noise):
        loss, _, mask = self.inner(imgs, mask_ratio, noise)
        return loss, self.inner.targets(self.inner.patchify(imgs)) + self.off, mask


def test_normalised_predictions_become_the_pixels_that_they_mean(sample, tiny):
    view, model = view_of(tiny), build_model(tiny.model, 0)
    batch = next(plain_batches(Arrays(sample.pixels[:5], None), view, 5, CPU, 0))
    done = reconstruct(Painter(model, 0.0), batch, view, 0.75, torch.float32)
    truth = torch.from_numpy(sample.pixels[:5].copy()) / 255
    torch.testing.assert_close(done.pasted, truth, rtol=0, atol=1e-5)
    torch.testing.assert_close(done.imgs, truth, rtol=0, atol=1e-5)
    assert done.errors.shape == (5 * 37, 16)
    assert done.errors.abs().max() < 1e-5


def test_visible_patches_are_pasted_and_masked_ones_shown_grey(sample, tiny):
    view, model = view_of(tiny), build_model(tiny.model, 0)
    batch = next(plain_batches(Arrays(sample.pixels[:5], None), view, 5, CPU, 0))
    done = reconstruct(model, batch, view, 0.75, torch.float32)
    visible = done.masked != 0.5
    assert visible.float().mean() <= 12 / 49 + 1e-6
    torch.testing.assert_close(done.pasted[visible], done.imgs[visible])
    assert (done.pasted[~visible] != done.imgs[~visible]).float().mean() > 0.5


def test_metrics_of_a_known_error(sample, tiny):
    config = tiny.model.model_copy(update={"norm_pix_loss": False})
    view, model = view_of(tiny), build_model(config, 0)
    images = Arrays(sample.pixels[:10], None)
    off = 0.1 / view.std[0]  # a tenth of the grey scale, everywhere
    found = reconstruction_metrics(
        Painter(model, off),
        plain_batches(images, view, 4, CPU, 0),
        view,
        0.75,
        torch.float32,
        Stop(),
    )
    assert found["reconstruction_mse"] == pytest.approx(0.01, rel=1e-4)
    assert found["reconstruction_rmse"] == pytest.approx(0.1, rel=1e-4)
    assert found["reconstruction_mae"] == pytest.approx(0.1, rel=1e-4)
    assert found["reconstruction_sd"] == pytest.approx(0.0, abs=1e-3)
    assert found["reconstruction_psnr"] == pytest.approx(20.0, rel=1e-4)


def test_normalised_errors_are_in_deviations_of_the_true_patch(sample, tiny):
    images = Arrays(sample.pixels[:10], None)
    for norm_pix_loss in (True, False):
        config = tiny.model.model_copy(update={"norm_pix_loss": norm_pix_loss})
        view, model = view_of(tiny), build_model(config, 0)
        batches = list(plain_batches(images, view, 4, CPU, 0))
        found = reconstruction_metrics(
            Painter(model, 0.5), batches, view, 0.75, torch.float32, Stop()
        )
        if norm_pix_loss:
            assert found["reconstruction_normalised_mse"] == pytest.approx(0.25, rel=1e-4)
            assert found["reconstruction_normalised_rmse"] == pytest.approx(0.5, rel=1e-4)
            assert found["reconstruction_normalised_mae"] == pytest.approx(0.5, rel=1e-4)
            assert found["reconstruction_normalised_sd"] == pytest.approx(0.0, abs=1e-3)
            continue
        squares = []
        for batch in batches:
            masks = model(batch.imgs, 0.75, held_out_noise(batch.samples, 49))[2]
            for img, mask in zip(batch.imgs.numpy(), masks.numpy(), strict=True):
                patches = reference.patchify(img, 4, 4)
                deviation = np.sqrt(patches.var(axis=1, ddof=1) + 1e-6)
                squares += list((0.5 / deviation[mask == 1]) ** 2)
        expected = np.mean(squares)
        assert found["reconstruction_normalised_mse"] == pytest.approx(expected, rel=1e-4)


def test_structural_similarity_is_the_published_one(sample):
    generator = torch.Generator().manual_seed(0)
    truth = torch.from_numpy(sample.pixels[:3].copy()).float() / 255
    noisy = (truth + 0.2 * torch.randn(truth.shape, generator=generator)).clamp(0, 1)
    found = structural_similarity(noisy, truth)
    for index in range(3):
        expected = reference.structural_similarity(noisy[index].numpy(), truth[index].numpy())
        assert found[index].item() == pytest.approx(expected, abs=1e-5)
    assert structural_similarity(truth, truth).tolist() == pytest.approx([1.0] * 3, abs=1e-6)


def test_images_smaller_than_a_window_have_no_similarity(sample, tiny):
    config = tiny.model.model_copy(update={"image_size": 8})
    view = dataclasses.replace(view_of(tiny), size=(8, 8))
    batches = plain_batches(Arrays(sample.pixels[:4], None), view, 4, CPU, 0)
    model = build_model(config, 0)
    found = reconstruction_metrics(model, batches, view, 0.75, torch.float32, Stop())
    assert "reconstruction_ssim" not in found
    assert found["reconstruction_mse"] > 0


def test_the_picture_shows_what_the_network_makes_of_visible_patches_as_well(sample, tiny):
    view, model = view_of(tiny), build_model(tiny.model, 0)
    batch = next(plain_batches(Arrays(sample.pixels[:5], None), view, 5, CPU, 0))
    done = reconstruct(Painter(model, 0.5), batch, view, 0.75, torch.float32)
    visible = done.masked != 0.5
    inside = (done.imgs > 0) & (done.imgs < 1) & visible
    assert (done.output[inside] != done.imgs[inside]).all()
    torch.testing.assert_close(done.output[~visible], done.pasted[~visible])


def test_an_images_mask_does_not_depend_on_the_batch(sample, tiny):
    view, model = view_of(tiny), build_model(tiny.model, 0)
    images = Arrays(sample.pixels[:10], None)
    found = [
        reconstruction_metrics(
            model, plain_batches(images, view, size, CPU, 0), view, 0.75, torch.float32, Stop()
        )["reconstruction_mse"]
        for size in (3, 10)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_neighbours_and_probe_tell_clusters_apart_and_noise_not():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(4, 8, generator=generator) * 5
    labels = torch.arange(400) % 4
    points = centres[labels] + torch.randn(400, 8, generator=generator)
    train, test = (points[:300], labels[:300]), (points[300:], labels[300:])
    assert knn_top1(*train, *test) > 98
    assert linear_top1(*train, *test, Stop()) > 98
    noise = torch.randn(400, 8, generator=generator)
    assert knn_top1(noise[:300], labels[:300], noise[300:], labels[300:]) < 45
    assert linear_top1(noise[:300], labels[:300], noise[300:], labels[300:], Stop()) < 45


def test_a_neighbours_vote_weighs_by_its_similarity():
    train = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.1, 1.0], [-1.1, -2.0]])
    labels = torch.tensor([0, 1, 1, 2])
    assert knn_top1(train, labels, torch.tensor([[1.0, 0.01]]), torch.tensor([0]), k=3) == 100.0


def test_an_evaluation_leaves_numbers_pictures_and_events(campaign, small_set, tmp_path):
    stream = tmp_path / "events.jsonl"
    result = run.evaluate(campaign, Stop(), Events(stream))
    path = campaign / "evaluations" / "step-000000012.json"
    assert json.loads(path.read_text()) == result
    assert (result["step"], result["checkpoint"], result["seed"]) == (12, "step-000000012", 0)
    assert {
        "reconstruction_mse", "reconstruction_rmse", "reconstruction_mae", "reconstruction_sd",
        "reconstruction_psnr", "reconstruction_ssim", "reconstruction_normalised_mse",
       "knn_top1", "linear_top1", "random_knn_top1", "random_linear_top1",
    } <= set(result["metrics"])  # fmt: skip
    assert all(np.isfinite(v) for v in result["metrics"].values())
    events = [json.loads(line) for line in stream.read_text().splitlines()]
    told = {e["name"]: e["value"] for e in events if e["event"] == "metric"}
    assert told == result["metrics"]
    assert all(e["step"] == 12 for e in events if e["event"] == "metric")
    pictures = [Path(e["path"]) for e in events if e["event"] == "artifact"]
    assert [p.name for p in pictures] == ["reconstruction-step-000000012.png", "loss.png"]
    for picture in pictures:
        with Image.open(picture) as image:
            assert image.width > 300
            assert len(set(image.convert("L").get_flattened_data())) > 20


def another(campaign: Path, root: Path, name: str, change: str, value: float) -> Path:
    """A checkpoint of the campaign, with a weight of another value, below `root`."""
    (newest,) = campaign.glob("checkpoints/*")
    found = checkpoints.read(newest)
    weights = checkpoints.load_weights(found)
    weights[change].fill_(value)
    facts = {**found.manifest, "step": int(name.removeprefix("step-"))}
    return checkpoints.save(root, weights, checkpoints.load_state(found), facts).path


@pytest.mark.parametrize("value", [np.nan, 1e30])
def test_a_network_that_computes_no_numbers_gets_no_score(campaign, small_set, tmp_path, value):
    root = tmp_path / "campaign"
    shutil.copytree(campaign, root)
    shutil.rmtree(root / "evaluations", ignore_errors=True)
    ruined = another(campaign, root / "checkpoints", "step-000000013", "norm.weight", value)
    with pytest.raises(TrainingFailed, match=f"{ruined}: .* its weights are ruined; name an older"):
        run.evaluate(root, Stop(), Events(None))
    assert not (root / "evaluations").exists()


def test_features_that_are_no_numbers_are_not_written(campaign, tmp_path):
    root, output = tmp_path / "campaign", tmp_path / "f.npz"
    shutil.copytree(campaign, root)
    another(campaign, root / "checkpoints", "step-000000013", "norm.weight", np.nan)
    with pytest.raises(TrainingFailed, match=r"step-000000013: .* its weights are ruined"):
        extract(Wanted(root, output, split="held-out"), Stop(), Events(None))
    assert not output.exists()


def test_another_campaigns_checkpoint_does_not_replace_the_score_of_our_own(
    campaign, small_set, tmp_path
):
    run.evaluate(campaign, Stop(), Events(None))
    result = campaign / "evaluations/step-000000012.json"
    before = result.read_bytes()
    other = another(campaign, tmp_path, "step-000000012", "norm.weight", 2.0)
    with pytest.raises(BadInput, match=f"{other}: another one than the campaign's .*; name the"):
        run.evaluate(campaign, Stop(), Events(None), chosen=other)
    assert result.read_bytes() == before
    own = tmp_path / "backup/step-000000012"
    shutil.copytree(campaign / "checkpoints/step-000000012", own)
    opened = open_campaign(campaign)[0]
    assert run.choose_checkpoint(opened, own, pytest.fail).path == own


def test_evaluating_twice_gives_the_same(campaign, small_set):
    first = run.evaluate(campaign, Stop(), Events(None))
    picture = campaign / "pictures" / "reconstruction-step-000000012.png"
    before = picture.read_bytes()
    second = run.evaluate(campaign, Stop(), Events(None), chosen=Path("step-000000012"))
    assert first["metrics"] == second["metrics"]
    assert picture.read_bytes() == before


def test_the_baseline_is_measured_once_a_campaign(campaign, small_set, monkeypatch):
    run.evaluate(campaign, Stop(), Events(None))
    cached = campaign / "evaluations" / "random-init.json"
    content = json.loads(cached.read_text())
    content["metrics"]["random_knn_top1"] = 12.5
    cached.write_text(json.dumps(content))
    assert run.evaluate(campaign, Stop(), Events(None))["metrics"]["random_knn_top1"] == 12.5


def test_a_look_at_other_images_lies_beside_what_the_nights_are_judged_by(
    campaign, small_set, tmp_path, monkeypatch
):
    monkeypatch.setattr(run.Bench, "classification", lambda *_: {"knn_top1": 50.0})
    run.evaluate(campaign, Stop(), Events(None), data="sample")
    nightly = [*campaign.glob("evaluations/*"), *campaign.glob("pictures/*")]
    assert {path.name for path in nightly} == {
        "step-000000012.json", "random-init.json", "reconstruction-step-000000012.png", "loss.png",
    }  # fmt: skip
    before = {path: path.read_bytes() for path in nightly}
    stream = tmp_path / "events.jsonl"
    other = run.evaluate(campaign, Stop(), Events(stream), data=str(tmp_path / "tv"))
    assert {path: path.read_bytes() for path in nightly} == before
    new = {*campaign.glob("evaluations/*"), *campaign.glob("pictures/*")} - {*nightly}
    assert len(new) == 3
    assert all("-on-tv-" in path.name for path in new)
    (path,) = (p for p in new if p.name.startswith("step"))
    assert json.loads(path.read_text()) == other
    assert other["data"] == str(tmp_path / "tv")
    told = [json.loads(line) for line in stream.read_text().splitlines()]
    assert {e["name"] for e in told if e["event"] == "artifact"} == {"reconstruction"}
    assert [e["data"] for e in run.read_evaluations(Campaign(campaign), "sample")] == ["sample"]
    for path in new:
        path.unlink()


def test_folders_of_one_name_have_places_of_their_own():
    places = [places_of(Campaign(Path("c")), "step-1", f"/{above}/tv") for above in "ab"]
    assert not {*places[0][:3]} & {*places[1][:3]}


@pytest.mark.parametrize("name", ["x$_{$y", "caf\udce9", "东", "x" * 250])
def test_any_folder_can_be_looked_at(sample, tiny, tmp_path, capsys, name):
    place = places_of(Campaign(tmp_path), "step-000000012", f"/data/{name}").picture
    view, model = view_of(tiny), build_model(tiny.model, 0)
    batch = next(plain_batches(Arrays(sample.pixels[:2], None), view, 2, CPU, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_reconstruction(place, reconstruct(model, batch, view, 0.75, torch.float32), name)
    with Image.open(place) as image:
        assert image.width > 100


@pytest.mark.parametrize(
    ("size", "pixels"),
    [((28, 28), (1100, 440)), ((16, 96), (1100, 110)), ((96, 16), (660, 1364))],
    ids=["square", "low", "tall"],
)
def test_a_picture_has_the_shape_of_its_images(tmp_path, size, pixels):
    imgs = torch.rand(10, 1, *size)
    save_reconstruction(tmp_path / "p.png", Reconstruction(*[imgs] * 7), "step 3")
    with Image.open(tmp_path / "p.png") as image:
        assert image.size == pytest.approx(pixels, abs=2)


@pytest.mark.parametrize("place", ["evaluations", "pictures"])
def test_a_place_that_cannot_be_written_is_told_before_anything_is_scored(
    campaign, small_set, tmp_path, monkeypatch, place
):
    root = tmp_path / "c"
    shutil.copytree(campaign, root, ignore=lambda *_: ["evaluations", "pictures"])
    (root / place).write_text("")
    monkeypatch.setattr(run, "reconstruction_metrics", pytest.fail)
    with pytest.raises(BadInput, match=rf"{place}: Not a directory; name another place"):
        run.evaluate(root, Stop(), Events(None))


def test_a_baseline_of_other_classes_is_measured_anew_and_told_of(campaign, small_set, monkeypatch):
    cached, notes = campaign / "evaluations" / "random-init.json", []
    same = {"config_hash": open_campaign(campaign)[1].hash, "data": "sample"}
    # As it was when train/ was the one class of a folder.
    run.write_json(cached, {**same, "metrics": {"random_knn_top1": 100.0}})
    monkeypatch.setattr(Events, "note", lambda _self, text: notes.append(text))
    metrics = run.evaluate(campaign, Stop(), Events(None))["metrics"]
    assert metrics["random_knn_top1"] < 100
    (told,) = notes
    assert "random weights score otherwise than before on sample" in told
    assert {**same, "classes": 0}.items() <= json.loads(cached.read_text()).items()


OTHER_SHAPES = ["[1, 2]", "7", "null", "{", '{"data": 1}', '{"metrics": [3]}']


@pytest.mark.parametrize(
    "content", [*OTHER_SHAPES, '{"data": "sample", "metrics": {"knn_top1": "high"}, "step": 3}']
)
def test_results_of_another_shape_are_passed_over(campaign, small_set, content):
    for name in ("step-000000003.json", "random-init.json"):
        (campaign / "evaluations").mkdir(exist_ok=True)
        (campaign / "evaluations" / name).write_text(content)
    metrics = run.evaluate(campaign, Stop(), Events(None))["metrics"]
    assert 0 < metrics["random_knn_top1"] <= 100
    kept = run.read_evaluations(Campaign(campaign), "sample")
    assert [result["step"] for result in kept] == [12]


def test_rows_of_the_history_without_a_loss_are_not_drawn(campaign, small_set):
    history = campaign / "metrics.jsonl"
    whole, rows = history.read_text(), read_history(Campaign(campaign))
    assert rows
    history.write_text(whole + '{"step": 13, "night": 1}\n[3]\n{"step": 14, "loss": null}\n')
    try:
        assert read_history(Campaign(campaign)) == rows
        run.evaluate(campaign, Stop(), Events(None))
    finally:
        history.write_text(whole)


def test_images_without_labels_are_only_reconstructed(campaign, small_set, monkeypatch, sample):
    bare = Splits(Arrays(sample.pixels[:30], None), Arrays(sample.pixels[30:40], None))
    monkeypatch.setattr(run, "open_source", lambda _source: bare)
    metrics = run.evaluate(campaign, Stop(), Events(None))["metrics"]
    assert not [name for name in metrics if "top1" in name]
    assert "reconstruction_mse" in metrics


def test_classes_may_be_numbered_with_gaps(campaign, sample):
    """Identifiers, say: a layer and a vote for each number up to them would take 100 GB."""
    _, config = open_campaign(campaign)
    scores = []
    for factor in (1, 200_000_000):
        parts = [
            Arrays(sample.pixels[n : n + 100], sample.labels[n : n + 100] * factor)
            for n in (0, 100)
        ]
        bench = run.Bench(config, Splits(*parts), Stop(), print)
        scores.append(bench.classification(bench.model(None)))
    assert scores[0] == scores[1]


def test_a_deadline_stops_an_evaluation(campaign, small_set):
    with pytest.raises(Paused, match="deadline"):
        run.evaluate(campaign, Stop(deadline=1.0), Events(None))


def test_what_cannot_be_evaluated_is_named(tmp_path, campaign):
    with pytest.raises(BadInput, match=r"no config\.toml in it"):
        run.evaluate(tmp_path, Stop(), Events(None))
    with pytest.raises(BadInput, match="No such file"):
        run.evaluate(campaign, Stop(), Events(None), chosen=Path("step-000000099"))
