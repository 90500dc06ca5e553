"""Weights to timm, transformers and the published form and back, by equal outputs."""

import argparse
import json
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import forked
import numpy as np
import pytest
import timm
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from test_model import published_shapes
from timm.models.vision_transformer import VisionTransformer
from transformers import (
    AutoImageProcessor,
    ViTMAEConfig,
    ViTMAEForPreTraining,
    ViTMAEModel,
)

from mae.build import build_model
from mae.cli import main
from mae.config import Config
from mae.config_file import dump, read_config
from mae.errors import BadInput
from mae.exchange import commands
from mae.exchange.export import export
from mae.exchange.importing import import_weights
from mae.exchange.keys import FORMS, is_decoder, to_ours
from mae.exchange.load import NoDecoder, load_weights
from mae.exchange.shapes import told_by_weights
from mae.files import appearing, write_atomically
from mae.model import MaskedAutoencoderViT
from mae.train import checkpoint as checkpoints
from mae.train import loop
from mae.train.events import Events
from mae.train.stopping import Stop

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
SHAPE = {
    "image_size": 16,
    "patch_size": 4,
    "channels": 2,
    "width": 32,
    "depth": 2,
    "heads": 4,
    "decoder_width": 16,
    "decoder_depth": 2,
    "decoder_heads": 2,
    "mlp_ratio": 2.7,
}
THEIRS = ViTMAEConfig(
    image_size=16,
    patch_size=4,
    num_channels=2,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=64,
    decoder_hidden_size=16,
    decoder_num_hidden_layers=2,
    decoder_num_attention_heads=2,
    decoder_intermediate_size=32,
    layer_norm_eps=1e-6,
    norm_pix_loss=True,
    mask_ratio=0.6,
)
KNOWN = ("model.heads=4", "model.decoder_heads=2", "data.mean=[0.5, 0.5]", "data.std=[0.2, 0.2]")


def shaped(**shape) -> Config:
    data = {"mean": [0.5, 0.25], "std": [0.2, 0.1]}
    return Config.model_validate({"model": SHAPE | shape, "data": data})


@torch.no_grad()
def shaken(model: torch.nn.Module, positions: bool = False) -> torch.nn.Module:
    """No weight as it was initialised: biases of 0 and norms of 1 would hide mistakes."""
    generator = torch.Generator().manual_seed(5)
    for name, weight in model.named_parameters():
        if positions or "pos" not in name:
            weight += 0.2 * torch.randn(weight.shape, generator=generator)
    return model.eval()


def campaign(root: Path, config: Config) -> MaskedAutoencoderViT:
    """A campaign with one checkpoint of unlikely weights, and the network that has them."""
    model = shaken(build_model(config.model, 0))
    root.mkdir(parents=True)
    (root / "config.toml").write_text(dump(config))
    facts = {"step": 7, "config_hash": config.hash, "metrics": {}}
    checkpoints.save(root / "checkpoints", model.state_dict(), {}, facts)
    return model


def imported(root: Path) -> MaskedAutoencoderViT:
    config = read_config(str(root / "config.toml"))
    model = build_model(config.model, 99)
    newest = checkpoints.newest_valid(root / "checkpoints", pytest.fail)
    assert newest.step == 0
    model.load_state_dict(checkpoints.load_weights(newest))
    return model.eval()


def draws(channels: int = 2, size: tuple[int, int] = (16, 16), patches: int = 16):
    generator = torch.Generator().manual_seed(3)
    imgs = torch.randn(3, channels, *size, generator=generator)
    return imgs, torch.rand(3, patches, generator=generator)


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def assert_same_autoencoder(ours: MaskedAutoencoderViT, theirs: ViTMAEForPreTraining, ratio):
    """Loss, prediction, mask and the gradient of every weight, fp32, to 1e-5."""
    imgs, noise = draws()
    loss, pred, mask = ours(imgs, ratio, noise)
    out = theirs(imgs, noise=noise)
    torch.testing.assert_close(out.loss, loss, **CLOSE)
    torch.testing.assert_close(out.logits, pred, **CLOSE)
    assert torch.equal(out.mask, mask)
    loss.backward()
    out.loss.backward()
    mine, others = gradients(ours), to_ours(gradients(theirs), "transformers")
    for fixed in ("pos_embed", "decoder_pos_embed"):
        others.pop(fixed, None)  # transformers 5 forgets, in from_pretrained, that it is fixed
    assert mine.keys() == others.keys()
    assert len(mine) == len(list(ours.parameters())) - 2  # but the fixed positions
    for name, gradient in mine.items():
        torch.testing.assert_close(others[name], gradient, **CLOSE, msg=name)
    ours.zero_grad()
    lean = ours.training_loss(imgs, ratio, noise)
    lean.backward()
    torch.testing.assert_close(out.loss, lean, **CLOSE)
    for name, gradient in gradients(ours).items():
        torch.testing.assert_close(others[name], gradient, **CLOSE, msg=name)


@pytest.mark.parametrize("norm_pix_loss", [True, False])
def test_transformers_computes_what_we_do_from_an_export(tmp_path, norm_pix_loss):
    config = shaped(norm_pix_loss=norm_pix_loss)
    ours = campaign(tmp_path / "c", config)
    export(tmp_path / "c", "transformers", tmp_path / "hf")
    theirs, told = ViTMAEForPreTraining.from_pretrained(tmp_path / "hf", output_loading_info=True)
    assert not any(told.values()), told
    assert_same_autoencoder(ours, theirs.eval(), config.recipe.mask_ratio)


def test_transformers_prepares_images_as_the_campaign_does(tmp_path):
    data = {"mean": [0.3, 0.4, 0.5], "std": [0.1, 0.2, 0.3]}
    config = Config.model_validate({"model": {**SHAPE, "channels": 3}, "data": data})
    campaign(tmp_path / "c", config)
    export(tmp_path / "c", "transformers", tmp_path / "hf")
    processor = AutoImageProcessor.from_pretrained(tmp_path / "hf")
    img = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    theirs = processor(img, return_tensors="pt")["pixel_values"][0].numpy()
    expected = (img / 255 - data["mean"]) / data["std"]
    np.testing.assert_allclose(theirs, expected.transpose(2, 0, 1), atol=1e-5)


def test_what_transformers_saves_computes_the_same_here(tmp_path):
    theirs = shaken(ViTMAEForPreTraining(THEIRS))
    theirs.save_pretrained(tmp_path / "hf")
    done = import_weights(tmp_path / "hf", "transformers", tmp_path / "c", None, KNOWN[2:])
    assert done.notes == ()
    config = read_config(str(tmp_path / "c/config.toml"))
    assert (config.recipe.mask_ratio, config.model.norm_pix_loss) == (0.6, True)
    assert_same_autoencoder(imported(tmp_path / "c"), theirs, 0.6)


def test_transformers_5_names_in_memory_are_understood_as_well():
    theirs = ViTMAEForPreTraining(THEIRS)
    ours = build_model(shaped(mlp_ratio=2).model, 0)
    assert to_ours(theirs.state_dict(), "transformers").keys() == ours.state_dict().keys()


def test_transformers_encoder_alone_is_imported_with_a_note_about_the_decoder(tmp_path):
    theirs = shaken(ViTMAEModel(THEIRS))
    theirs.save_pretrained(tmp_path / "hf")
    done = import_weights(tmp_path / "hf", "transformers", tmp_path / "c", None, KNOWN)
    assert [note for note in done.notes if "weights stay random" in note]
    ours, (imgs, noise) = imported(tmp_path / "c"), draws()
    latent, _, _ = ours.forward_encoder(imgs, 0.6, noise)
    torch.testing.assert_close(theirs(imgs, noise=noise).last_hidden_state, latent, **CLOSE)


@pytest.mark.parametrize(
    ("image_size", "patch_size", "size"),
    [(16, 4, (16, 16)), ([16, 24], [4, 6], (16, 24)), ([8, 32], [2, 8], (8, 32))],
)
def test_timm_computes_our_features_and_gradients(tmp_path, image_size, patch_size, size):
    ours = campaign(tmp_path / "c", shaped(image_size=image_size, patch_size=patch_size))
    export(tmp_path / "c", "timm", tmp_path / "timm")
    told = json.loads((tmp_path / "timm/config.json").read_text())
    theirs = VisionTransformer(**told["model_args"]).eval()
    theirs.load_state_dict(load_file(tmp_path / "timm/model.safetensors"), strict=True)
    imgs, _ = draws(size=size)
    features = ours.forward_features(imgs)
    torch.testing.assert_close(theirs.forward_features(imgs), features, **CLOSE)
    torch.testing.assert_close(theirs(imgs), features[:, 0], **CLOSE)
    features.square().mean().backward()
    theirs.forward_features(imgs).square().mean().backward()
    theirs.pos_embed.grad = None  # which timm trains and we do not
    mine, others = gradients(ours), gradients(theirs)
    assert mine.keys() == others.keys() == {k for k in mine if not is_decoder(k)}
    for name, gradient in mine.items():
        torch.testing.assert_close(others[name], gradient, **CLOSE, msg=name)


def test_timm_creates_the_exported_network_by_itself(tmp_path):
    ours = campaign(tmp_path / "c", shaped())
    export(tmp_path / "c", "timm", tmp_path / "timm")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True).eval()
    imgs, _ = draws()
    expected = ours.forward_features(imgs)
    torch.testing.assert_close(theirs.forward_features(imgs), expected, **CLOSE)
    assert theirs.pretrained_cfg["mean"] == [0.5, 0.25]


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_timm_network_computes_the_same_here(tmp_path, suffix):
    options = {"img_size": 16, "patch_size": 4, "in_chans": 2, "embed_dim": 32, "depth": 2}
    theirs = VisionTransformer(**options, num_heads=4, num_classes=0)
    shaken(theirs, positions=True)
    path = tmp_path / f"vit.{suffix}"
    write = save_file if suffix == "safetensors" else torch.save
    write(theirs.state_dict(), path)
    done = import_weights(path, "timm", tmp_path / "c", None, KNOWN)
    assert "weights stay random" in done.notes[0]
    imgs, _ = draws()
    ours = imported(tmp_path / "c").forward_features(imgs)
    torch.testing.assert_close(ours, theirs.forward_features(imgs), **CLOSE)


@pytest.mark.parametrize("form", FORMS)
def test_what_goes_out_comes_back_bit_for_bit(tmp_path, form):
    ours = campaign(tmp_path / "c", shaped())
    export(tmp_path / "c", form, tmp_path / "out")
    decoder = () if form != "timm" else ("model.decoder_width=16", "model.decoder_depth=2")
    import_weights(tmp_path / "out", form, tmp_path / "back", None, (*KNOWN, *decoder))
    back = imported(tmp_path / "back").state_dict()
    for key, tensor in ours.state_dict().items():
        if form != "timm" or not is_decoder(key):
            assert torch.equal(back[key], tensor), key
    assert read_config(str(tmp_path / "back/config.toml")).model == shaped().model


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> dict[str, Path]:
    """Files as published, of Tiny's size: a full one, the encoder alone, one with the trimmings."""
    root, generator = tmp_path_factory.mktemp("published"), torch.Generator().manual_seed(1)
    shapes = published_shapes(192, 12, 16, 196)
    state = {k: 0.1 * torch.randn(shape, generator=generator) for k, shape in shapes.items()}
    encoder = {k: v for k, v in state.items() if not is_decoder(k)}
    torch.save({"model": state}, root / "full.pth")
    save_file(state, root / "full.safetensors")
    torch.save({"model": encoder}, root / "encoder.pth")
    trimmings = {"epoch": 3, "args": argparse.Namespace(lr=1e-3, model="mae"), "scaler": {}}
    torch.save({"model": encoder, "optimizer": {"state": {}}, **trimmings}, root / "training.pth")
    return {path.name: path for path in root.iterdir()}


@pytest.fixture
def tiny_vit() -> MaskedAutoencoderViT:
    return build_model(read_config("vit_tiny").model, 3)


@pytest.mark.parametrize("name", ["full.pth", "full.safetensors"])
def test_a_full_published_checkpoint_loads_strictly(published, tiny_vit, name):
    loaded = load_weights(tiny_vit, str(published[name]))
    assert (loaded.missing, loaded.warning) == ((), None)
    state = torch.load(published["full.pth"], weights_only=True)["model"]
    assert all(torch.equal(v, state[k]) for k, v in tiny_vit.state_dict().items())
    assert loaded.tensors == len(state)


@pytest.mark.parametrize("name", ["encoder.pth", "training.pth"])
def test_a_published_encoder_loads_with_one_warning_about_the_decoder(published, tiny_vit, name):
    before = {k: v.clone() for k, v in tiny_vit.state_dict().items()}
    with pytest.warns(NoDecoder, match="104 weights stay random") as caught:
        loaded = load_weights(tiny_vit, published[name])
    assert len(caught) == 1
    assert str(caught[0].message) == loaded.warning
    assert caught[0].filename == __file__, "it blames the caller's line"
    for key, tensor in tiny_vit.state_dict().items():
        assert torch.equal(tensor, before[key]) == is_decoder(key), key
        assert (key in loaded.missing) == is_decoder(key)


def test_a_published_checkpoint_tells_all_but_the_kind_of_its_target(published, tmp_path):
    done = import_weights(published["full.pth"], "published", tmp_path / "c", dry_run=True)
    assert "model.norm_pix_loss" in done.notes[0]
    state = torch.load(published["full.pth"], weights_only=True)["model"]
    assert Config.model_validate(told_by_weights(state, "")).model == read_config("vit_tiny").model
    done = import_weights(
        *(published["full.pth"], "published", tmp_path / "c", "vit_tiny", (), True)
    )
    assert done.notes == ()
    assert not (tmp_path / "c").exists()


def test_ours_are_saved_as_published(tmp_path):
    ours = campaign(tmp_path / "c", shaped())
    done = export(tmp_path / "c/checkpoints/step-000000007", "published", tmp_path / "mae.pth")
    export(tmp_path / "c", "published", tmp_path / "mae.safetensors")
    told = torch.load(tmp_path / "mae.pth", weights_only=True)
    assert told.keys() == {"model"}
    for state in (told["model"], load_file(tmp_path / "mae.safetensors")):
        fresh = build_model(shaped().model, 1)
        fresh.load_state_dict(state, strict=True)
        imgs, noise = draws()
        assert torch.equal(fresh.eval()(imgs, noise=noise)[1], ours(imgs, noise=noise)[1])
    assert done.parameters == sum(p.numel() for p in ours.parameters())


def spoilt(state, how):
    if how == "unknown":
        state["blocks.0.attn.qvk.weight"] = state.pop("blocks.0.attn.qkv.weight")
    if how == "classifier":
        state["head.weight"] = torch.zeros(10, 32)
    if how == "shape":
        state["pos_embed"] = torch.zeros(1, 50, 32)
    if how == "half a decoder":
        del state["decoder_pred.bias"]
    if how == "no norm":
        del state["norm.weight"]
    if how == "a number":
        state["blocks.0.norm1.bias"] = 3
    return state


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        ("unknown", r"blocks\.0\.attn\.qvk\.weight is no weight .*'blocks\.0\.attn\.qkv\.weight'"),
        ("classifier", r"head\.weight is no weight"),
        ("shape", r"pos_embed has shape \[1, 50, 32\], this network's has \[1, 17, 32\]"),
        ("half a decoder", r"decoder_pred\.bias is missing"),
        ("no norm", r"norm\.weight is missing"),
        ("a number", r"blocks\.0\.norm1\.bias is no tensor"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_key(tmp_path, how, complaint):
    model = build_model(shaped().model, 0)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    other = shaken(build_model(shaped().model, 1)).state_dict()
    torch.save({"model": spoilt(other, how)}, tmp_path / "mae.pth")
    with pytest.raises(BadInput, match=f"^{tmp_path / 'mae.pth'}: {complaint}"):
        load_weights(model, tmp_path / "mae.pth")
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


class Runs:
    def __reduce__(self):
        return (print, ("code from a checkpoint ran",))


@pytest.mark.parametrize(
    ("name", "write", "complaint"),
    [
        ("a.pth", lambda p: p.write_bytes(b"hello"), "or a damaged one: KeyError"),
        ("a.pth", lambda p: p.write_bytes(b""), "or a damaged one: EOFError"),
        ("a.pth", lambda p: torch.save({"model": Runs()}, p), "without running code"),
        ("a.pth", lambda p: torch.save([1, 2], p), "no state dict"),
        ("a.pth", lambda p: torch.save({}, p), "no state dict"),
        ("a.safetensors", lambda p: p.write_bytes(b"hello"), "or a damaged one"),
        ("a.pth", lambda p: None, "No such file"),
        ("a", lambda p: p.mkdir(), r"neither model\.safetensors nor pytorch_model\.bin"),
    ],
)
def test_what_is_no_checkpoint_is_refused_and_runs_no_code(
    tmp_path, capsys, name, write, complaint
):
    write(tmp_path / name)
    with pytest.raises(BadInput, match=complaint) as caught:
        load_weights(build_model(shaped().model, 0), tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"model_type": "vit"}, "model_type is 'vit', not 'vit_mae'"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'; this network's is 'gelu'"),
        ({"qkv_bias": False}, "qkv_bias is False"),
    ],
)
def test_a_network_that_ours_cannot_be_is_not_imported(tmp_path, change, complaint):
    campaign(tmp_path / "c", shaped())
    export(tmp_path / "c", "transformers", tmp_path / "hf")
    told = json.loads((tmp_path / "hf/config.json").read_text())
    (tmp_path / "hf/config.json").write_text(json.dumps(told | change))
    with pytest.raises(BadInput, match=complaint):
        import_weights(tmp_path / "hf", "transformers", tmp_path / "x", None, KNOWN)
    (tmp_path / "hf/config.json").write_text("[]")
    with pytest.raises(BadInput, match="not transformers's config"):
        import_weights(tmp_path / "hf", "transformers", tmp_path / "x", None, KNOWN)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("word", ["query", "key"])
def test_query_key_and_value_come_together_or_not_at_all(tmp_path, word):
    campaign(tmp_path / "c", shaped())
    export(tmp_path / "c", "transformers", tmp_path / "hf")
    state = load_file(tmp_path / "hf/model.safetensors")
    del state[f"vit.encoder.layer.1.attention.attention.{word}.bias"]
    save_file(state, tmp_path / "hf/model.safetensors")
    with pytest.raises(BadInput, match=rf"is there without \S+\.{word}\.bias"):
        import_weights(tmp_path / "hf", "transformers", tmp_path / "x", None, KNOWN)


def test_the_shards_of_one_network_are_put_together(tmp_path):
    ours = campaign(tmp_path / "c", shaped())
    export(tmp_path / "c", "transformers", tmp_path / "hf")
    state = load_file(tmp_path / "hf/model.safetensors")
    (tmp_path / "hf/model.safetensors").unlink()
    for number in (0, 1):
        part = dict(list(state.items())[number::2])
        save_file(part, tmp_path / f"hf/model-0000{number + 1}-of-00002.safetensors")
    model = build_model(shaped().model, 1)
    load_weights(model, tmp_path / "hf", "transformers")
    assert torch.equal(model.blocks[1].attn.qkv.bias, ours.blocks[1].attn.qkv.bias)


def test_heads_that_nothing_tells_are_asked_for(tmp_path):
    state = campaign(tmp_path / "c", shaped(image_size=[16, 8])).state_dict()
    state["pos_embed"] += 0.1 * torch.randn(state["pos_embed"].shape)  # no fixed ones any more
    torch.save({"model": state}, tmp_path / "mae.pth")

    def take(*settings):
        return import_weights(tmp_path / "mae.pth", "published", tmp_path / "x", None, settings)

    with pytest.raises(BadInput, match=r"tells model\.image_size; add --set model\.image_size="):
        take()
    with pytest.raises(BadInput, match=r"tells model\.heads"):
        take("model.image_size=[16, 8]")
    with pytest.raises(BadInput, match=r"tells model\.decoder_heads"):
        take("model.image_size=[16, 8]", "model.heads=4")
    take("model.image_size=[16, 8]", *KNOWN)


@pytest.mark.parametrize("size", [(16, 16), (8, 32), (32, 8), (64, 4), (12, 16)])
@pytest.mark.parametrize("precision", [torch.float32, torch.float16, torch.bfloat16])
def test_positions_tell_the_shape_of_an_image(size, precision):
    """Of 16 patches in two rows a square of four was made, and the network saw another picture."""
    state = build_model(shaped(image_size=list(size)).model, 0).state_dict()
    halved = {key: tensor.to(precision) for key, tensor in state.items()}
    told = told_by_weights(halved, "")["model"]["image_size"]
    assert told == (size[0] if size[0] == size[1] else list(size))


def test_an_imported_campaign_goes_on_from_its_weights(tmp_path):
    settings = ("model.width=16", "model.heads=2", "model.depth=1", "recipe.batch_size=16")
    source = campaign(tmp_path / "c", read_config("fashion-tiny", settings))
    export(tmp_path / "c", "transformers", tmp_path / "hf")
    steps = (*settings, "recipe.steps=2")
    import_weights(tmp_path / "hf", "transformers", tmp_path / "new", "fashion-tiny", steps)
    config = read_config(str(tmp_path / "new/config.toml"))
    assert torch.equal(imported(tmp_path / "new").cls_token, source.cls_token)
    assert loop.pretrain(tmp_path / "new", config, Stop(), Events(None))[0] == "completed"
    assert len(list((tmp_path / "new/checkpoints").iterdir())) == 2


def mae(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_line_knows_all_forms():
    assert tuple(commands.FORM.choices) == FORMS


def test_export_and_import_say_what_they_wrote(tmp_path):
    campaign(tmp_path / "c", shaped())
    done = mae("export", tmp_path / "c", "--to", "timm", "--output", tmp_path / "out/timm")
    assert done.exit_code == 0
    assert done.stdout.startswith(f"wrote {tmp_path / 'out/timm'}: 0.0")
    assert "decoder stays behind" in done.stderr
    asked = ("import", tmp_path / "out/timm", "--from", "timm", "--output", tmp_path / "new")
    done = mae(*asked, "--json")
    told = json.loads(done.stdout)
    assert told["written"] is True
    assert "weights stay random" in told["notes"][0]
    assert {p.name for p in (tmp_path / "new").iterdir()} == {"config.toml", "checkpoints"}
    written = [
        p for p in tmp_path.rglob("*") if p != tmp_path / "c" and (tmp_path / "c") not in p.parents
    ]
    assert [p for p in written if p.stat().st_mode & 0o077] == []


@pytest.mark.parametrize("form", FORMS)
def test_a_dry_run_tells_all_and_writes_nothing(tmp_path, form):
    campaign(tmp_path / "c", shaped())
    dry = mae(
        "export", tmp_path / "c", "--to", form, "--output", tmp_path / "o", "--dry-run", "--json"
    )
    assert not (tmp_path / "o").exists()
    wet = mae("export", tmp_path / "c", "--to", form, "--output", tmp_path / "o", "--json")
    told = json.loads(wet.stdout)
    assert json.loads(dry.stdout) == told | {"written": False}
    written = {p.name for p in tmp_path.joinpath("o").iterdir()} if form != "published" else {"o"}
    assert set(told["files"]) == written
    known = [part for setting in KNOWN for part in ("--set", setting)]
    done = mae(
        "import", tmp_path / "o", "--from", form, "--output", tmp_path / "n", *known, "--dry-run"
    )
    assert done.stdout.startswith(f"would write {tmp_path / 'n'}: ")
    assert not (tmp_path / "n").exists()


@pytest.mark.parametrize("dry", [("--dry-run",), ()])
def test_a_place_that_cannot_be_written_is_refused(tmp_path, dry):
    campaign(tmp_path / "c", shaped())
    assert mae("export", tmp_path / "c", "--to", "timm", "--output", tmp_path / "t").exit_code == 0
    (tmp_path / "file").write_text("")
    known = [part for setting in KNOWN for part in ("--set", setting)]
    for command in (
        ("export", tmp_path / "c", "--to", "timm"),
        ("import", tmp_path / "t", "--from", "timm", *known),
    ):
        done = mae(*command, "--output", tmp_path / "file/o", *dry)
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.output
        assert "file/o cannot be written: " in done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"c", "file", "t"}


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_overwritten(tmp_path, form):
    campaign(tmp_path / "c", shaped())
    (tmp_path / "there").write_text("mine")
    for arguments in (
        ("export", tmp_path / "c", "--to", form, "--output", tmp_path / "there"),
        ("export", tmp_path / "c", "--to", form, "--output", tmp_path / "there", "--dry-run"),
    ):
        done = mae(*arguments)
        assert (done.exit_code, done.stderr.count("exists already")) == (2, 1)
        assert (tmp_path / "there").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("export", "nothing", "--to", "timm"), "nothing is neither a campaign nor a checkpoint"),
        (("export", "c", "--to", "transformers"), "is square, and image_size is [16, 8]"),
        (("export", "c", "--to", "keras"), "'keras' is not one of"),
        (("import", "nothing", "--from", "timm"), "nothing: No such file"),
        (("import", "c", "--from", "timm"), "c: neither model.safetensors"),
    ],
)
def test_what_cannot_be_carried_over_is_one_line(tmp_path, monkeypatch, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    campaign(tmp_path / "c", shaped(image_size=[16, 8]))
    done = mae(*arguments, "--output", "o")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert complaint in done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"c"}


def test_what_came_to_the_place_meanwhile_stays(tmp_path):
    def write() -> None:
        with appearing(tmp_path / "a") as path:
            path.mkdir()
            (tmp_path / "a").mkdir()

    with pytest.raises(BadInput, match="exists already"):
        write()
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.fault
def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path, monkeypatch):
    campaign(tmp_path / "c", shaped())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mae.exchange.export.save_file", full)
    done = mae("export", tmp_path / "c", "--to", "timm", "--output", tmp_path / "timm")
    assert done.exit_code == 1
    assert f"{tmp_path / 'timm'}: No space left" in done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"c"}


@pytest.mark.fault
def test_a_file_for_which_there_is_no_room_is_named(tmp_path):
    def appear(path: Path, content: bytes) -> None:
        with appearing(path) as temporary:
            temporary.write_bytes(content)

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for write in (appear, write_atomically):
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            with pytest.raises(OSError, match="too large") as refused:
                write(tmp_path / "large", bytes(10_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert refused.value.filename == str(tmp_path / "large")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault
@pytest.mark.parametrize(
    ("form", "name"),
    [*((form, "o") for form in FORMS), ("published", "o.safetensors"), (None, "o")],
    ids=str,
)
def test_a_disk_that_refuses_a_file_is_told_of_in_one_line(tmp_path, form, name):
    campaign(tmp_path / "c", shaped())
    source = tmp_path / "c"
    if form is None:
        export(source, "published", source / "mae.pth")
        source = source / "mae.pth"
    verb = ["import", "--from", "published"] if form is None else ["export", "--to", form]
    settings = [f"--set={known}" for known in KNOWN] if form is None else []
    command = [*verb, *settings, str(source), "--output", str(tmp_path / name)]
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (20_000, 20_000))
    done = forked.run([sys.executable, "-m", "mae", *command], preexec_fn=limit)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.rstrip().endswith(("Input/output error", "File too large"))
    assert {p.name for p in tmp_path.iterdir()} == {"c"}


def test_exporting_needs_no_transformers(tmp_path):
    campaign(tmp_path / "c", shaped())
    code = (
        "import sys; sys.modules['transformers'] = None\n"
        "from mae.cli import main\n"
        f"main(['export', {str(tmp_path / 'c')!r}, '--to', 'transformers',"
        f" '--output', {str(tmp_path / 'o')!r}])"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
