"""The network against slow formulas, and against the names that published checkpoints use."""

import os
import subprocess
import sys

import numpy as np
import pytest
import reference
import torch
from timm.layers import Mlp
from timm.models.vision_transformer import Attention
from torch import nn

from mae import model as models
from mae.attention import ExplicitAttention, explicit_attention
from mae.layers import ConvolvedLinear, LeanMlp, change_layers
from mae.masking import masking
from mae.model import MaskedAutoencoderViT
from mae.position import get_2d_sincos_pos_embed
from mae.train import device as choice
from mae.train.schedule import learning_rate, parameter_groups

RNG = np.random.default_rng(7)


def small(**options) -> MaskedAutoencoderViT:
    shape = {"img_size": (12, 20), "patch_size": 4, "in_chans": 2, "embed_dim": 16, "depth": 2}
    shape |= {"num_heads": 2, "decoder_embed_dim": 8, "decoder_depth": 2, "decoder_num_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MaskedAutoencoderViT(**(shape | options))


@pytest.mark.parametrize("ratio", [0.75, 0.6, 0.9])
def test_masking_keeps_the_lowest_noise_and_rounds_down(ratio):
    noise = RNG.random((3, 15))
    split = masking(torch.from_numpy(noise), ratio)
    mask, restore = reference.masking(noise, ratio)
    np.testing.assert_array_equal(split.mask.numpy(), mask)
    np.testing.assert_array_equal(split.ids_restore.numpy(), restore)


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("patch", [(4, 4), (2, 5), (6, 4)])
def test_patchify_orders_row_column_channel_and_unpatchify_undoes_it(patch, channels):
    model = small(patch_size=patch, in_chans=channels)
    imgs = RNG.random((2, channels, 12, 20))
    patches = model.patchify(torch.from_numpy(imgs))
    for img, ours in zip(imgs, patches.numpy(), strict=True):
        np.testing.assert_array_equal(ours, reference.patchify(img, *patch))
        back = reference.unpatchify(ours, channels, 12 // patch[0], *patch)
        np.testing.assert_array_equal(back, img)
    np.testing.assert_array_equal(model.unpatchify(patches).numpy(), imgs)


@pytest.mark.parametrize("grid", [(3, 5), (7, 7), (1, 4)])
def test_the_position_embedding_puts_width_first(grid):
    ours = get_2d_sincos_pos_embed(16, grid, cls_token=True)
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, reference.position(16, *grid), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("patch", "grid"), [(4, (3, 5)), ((2, 10), (6, 2))])
def test_the_model_holds_that_embedding_for_both_halves(patch, grid):
    model = small(patch_size=patch)
    for held, width in ((model.pos_embed, 16), (model.decoder_pos_embed, 8)):
        np.testing.assert_allclose(held[0].numpy(), reference.position(width, *grid), atol=1e-6)
        assert not held.requires_grad


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("patch", [(4, 4), (2, 5)])
def test_the_loss_is_the_papers_with_the_unbiased_variance(patch, normalised):
    model = small(norm_pix_loss=normalised, patch_size=patch)
    imgs, patches = RNG.random((2, 2, 12, 20)), 240 // (patch[0] * patch[1])
    pred = RNG.standard_normal((2, patches, 2 * patch[0] * patch[1]))
    # Different counts of masked patches, so that a mean of each image's mean would differ.
    mask = (np.arange(patches) < [[3], [9]]).astype(float)
    ours = model.forward_loss(*(torch.from_numpy(a).float() for a in (imgs, pred, mask)))
    expected = reference.pixel_loss(imgs, pred, mask, *patch, normalised)
    assert ours.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("ratio", [0.75, 0.5, 0.9])
def test_patches_need_not_be_square_and_each_call_has_its_ratio(ratio):
    model = small(patch_size=(2, 5), in_chans=3, norm_pix_loss=True)
    imgs, noise = torch.randn(2, 3, 12, 20), torch.rand(2, 24)
    loss, pred, mask = model(imgs, mask_ratio=ratio, noise=noise)
    expected_mask, _ = reference.masking(noise.numpy(), ratio)
    np.testing.assert_array_equal(mask.numpy(), expected_mask)
    expected = reference.pixel_loss(
        imgs.double().numpy(), pred.detach().double().numpy(), expected_mask, 2, 5, True
    )
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert model.training_loss(imgs, ratio, noise).item() == pytest.approx(expected, rel=1e-5)


def test_without_noise_the_mask_is_torchs_to_draw():
    model, imgs = small(), torch.randn(1, 2, 12, 20)
    with torch.random.fork_rng():
        masks = {tuple(model(imgs)[2][0].tolist()) for _ in range(8)}
        assert len(masks) > 1
        assert all(sum(mask) == 12 for mask in masks)
        torch.manual_seed(3)
        first = model(imgs)[0]
        torch.manual_seed(3)
        assert torch.equal(model(imgs)[0], first)


@pytest.mark.parametrize("attention", ["fused", "timm's explicit", "explicit"])
@pytest.mark.parametrize("convolved", [True, False], ids=["convolved", "products"])
@pytest.mark.parametrize("norm_pix_loss", [True, False])
@pytest.mark.parametrize("decoder_depth", [1, 2])
@pytest.mark.parametrize("recompute", [False, True])
def test_the_lean_training_path_has_the_loss_and_gradients_of_the_plain_one(
    norm_pix_loss, attention, convolved, decoder_depth, recompute
):
    model = small(norm_pix_loss=norm_pix_loss, decoder_depth=decoder_depth)
    model.recompute = recompute
    for block in (*model.blocks, *model.decoder_blocks):
        block.attn.fused_attn = attention == "fused"
    imgs, noise = torch.randn(3, 2, 12, 20), torch.rand(3, 15)
    imgs[:, :, :4] *= 1e-3  # nearly of one colour: what is added inside the root counts
    plain, pred, mask = model(imgs, 0.75, noise)
    assert pred.shape == (3, 15, 32)
    assert mask.sum().item() == 3 * 12
    plain.backward()
    expected = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    change_layers(model, Mlp, LeanMlp)
    if attention == "explicit":
        change_layers(model, Attention, ExplicitAttention)
    if convolved:
        change_layers(model, nn.Linear, ConvolvedLinear)
    lean = model.training_loss(imgs, 0.75, noise)
    lean.backward()
    assert lean.item() == pytest.approx(plain.item(), rel=1e-6)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seen", [0, 1, 4])
def test_explicit_attention_is_the_formula(seen):
    qkv = torch.from_numpy(RNG.standard_normal((2, 5, 3 * 6))).requires_grad_()
    mixed = explicit_attention(qkv, 2, seen)
    expected = np.zeros((2, 5 - seen, 6))
    for image, tokens in enumerate(qkv.detach().numpy()):
        queries, keys, values = tokens.reshape(5, 3, 2, 3).transpose(1, 2, 0, 3)
        for head in range(2):
            for token in range(seen, 5):
                scores = np.exp([queries[head, token] @ key / np.sqrt(3) for key in keys[head]])
                expected[image, token - seen, 3 * head : 3 * head + 3] = (
                    scores @ values[head] / scores.sum()
                )
    np.testing.assert_allclose(mixed.detach().numpy(), expected, rtol=1e-12)
    assert torch.autograd.gradcheck(lambda x: explicit_attention(x, 2, seen), (qkv,))


def test_explicit_attention_leaves_masks_to_timm():
    timms, x = Attention(8, 2), torch.randn(2, 5, 8)
    mask = torch.ones(5, 5, dtype=torch.bool).tril()
    expected = timms(x, attn_mask=mask)
    change_layers(timms, Attention, ExplicitAttention)
    assert torch.equal(timms(x, attn_mask=mask), expected)
    assert not torch.allclose(timms(x), expected)


def test_a_step_in_bfloat16_is_as_near_to_the_exact_one_as_timms():
    model = small(embed_dim=32, decoder_embed_dim=32, norm_pix_loss=True)
    imgs, noise = torch.randn(8, 2, 12, 20), torch.rand(8, 15)

    def gradients(rounded: bool) -> torch.Tensor:
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=rounded):
            loss = model.training_loss(imgs, 0.75, noise)
        assert loss.dtype == torch.float32
        loss.backward()
        kept = [weight.grad for weight in model.parameters() if weight.requires_grad]
        assert {grad.dtype for grad in kept} == {torch.float32}
        return torch.cat([grad.flatten() for grad in kept])

    exact = gradients(rounded=False)
    for block in (*model.blocks, *model.decoder_blocks):
        block.attn.fused_attn = False
    timms = (gradients(rounded=True) - exact).norm()
    choice.choose_kernels(model, torch.device("cpu"), torch.bfloat16)
    ours = (gradients(rounded=True) - exact).norm()
    assert 0 < ours < 1.1 * timms
    assert timms < 0.05 * exact.norm()


def test_masked_tokens_are_not_rounded_in_bfloat16():
    """As those of visible patches, which positions in float32 are added to: no cast either way."""
    model, seen = small(), []
    model.decoder_blocks[0].register_forward_pre_hook(lambda _block, given: seen.append(given[0]))
    noise = torch.rand(3, 15)
    with torch.autocast("cpu", torch.bfloat16):
        model.training_loss(torch.randn(3, 2, 12, 20), 0.75, noise)
    split = masking(noise, 0.75)
    placed = model.mask_token[0] + model.decoder_pos_embed[0, 1:][split.ids_masked]
    assert torch.equal(seen[0][:, 1 + split.keep :], placed)


def test_layers_change_to_and_fro_and_keep_their_weights():
    model, imgs = small(), torch.randn(2, 2, 12, 20)
    names, plain = list(model.state_dict()), model.forward_features(imgs)
    change_layers(model, nn.Linear, ConvolvedLinear)
    change_layers(model, Mlp, LeanMlp)
    assert {type(block.mlp.fc1) for block in model.blocks} == {ConvolvedLinear}
    torch.testing.assert_close(model.forward_features(imgs), plain)
    assert list(model.state_dict()) == names
    change_layers(model, ConvolvedLinear, nn.Linear)
    change_layers(model, LeanMlp, Mlp)
    assert torch.equal(model.forward_features(imgs), plain)


@pytest.mark.parametrize("shape", [(6,), (3, 6), (2, 3, 6), (2, 1, 3, 6)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_is_a_convolution_of_any_tokens(shape, bias):
    layer, x = nn.Linear(6, 5, bias=bias), torch.randn(*shape)
    expected = layer(x)
    change_layers(layer, nn.Linear, ConvolvedLinear)
    torch.testing.assert_close(layer(x), expected)


def test_an_mlp_does_not_keep_its_activation():
    def kept(mlp: Mlp) -> int:
        sizes = {}
        x = torch.randn(10, 8, requires_grad=True)
        note = lambda saved: sizes.setdefault(saved.data_ptr(), saved.numel()) and saved  # noqa: E731
        with torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
            mlp(x).sum()
        return sum(size == 10 * 32 for size in sizes.values())

    mlp = Mlp(8, 32)
    assert kept(mlp) == 2
    change_layers(mlp, Mlp, LeanMlp)
    assert kept(mlp) <= 1


@pytest.mark.parametrize(
    ("features", "device", "precision", "fused", "convolved"),
    [
        ({"AuthenticAMD", "avx512f"}, "cpu", torch.float32, True, True),
        ({"AuthenticAMD", "avx512f"}, "cpu", torch.bfloat16, False, False),
        ({"AuthenticAMD", "avx512f"}, "cuda", torch.float32, True, False),
        ({"AuthenticAMD", "avx2"}, "cpu", torch.float32, True, False),
        ({"GenuineIntel", "avx512f"}, "cpu", torch.float32, True, False),
        (set(), "cuda", torch.bfloat16, True, False),
    ],
)
def test_kernels_follow_device_and_precision(
    features, device, precision, fused, convolved, monkeypatch
):
    monkeypatch.setattr(choice, "cpu_features", lambda: features)
    model = small()
    choice.choose_kernels(model, torch.device(device), precision)
    for block in (*model.blocks, *model.decoder_blocks):
        assert block.attn.fused_attn is fused
        assert type(block.mlp) is (LeanMlp if device == "cpu" else Mlp)
        assert (type(block.attn.qkv) is ConvolvedLinear) is convolved
        assert (type(block.attn) is Attention) is fused


def test_the_encoder_sees_nothing_of_masked_patches():
    model = small()
    imgs, noise = torch.randn(1, 2, 12, 20), torch.rand(1, 15)
    latent, mask, _ = model.forward_encoder(imgs, 0.75, noise)
    hidden = model.unpatchify(mask[..., None].expand(-1, -1, 32)).bool()
    changed, _, _ = model.forward_encoder(torch.where(hidden, 9.0, imgs), 0.75, noise)
    assert latent.shape == (1, 1 + 3, 16)
    assert torch.equal(latent, changed)


def test_whole_images_are_encoded_as_the_published_encoder_does_without_a_mask():
    model, imgs = small(), torch.randn(2, 2, 12, 20)
    in_order = torch.arange(15.0).expand(2, -1)
    latent, _, _ = model.forward_encoder(imgs, 0.0, in_order)
    torch.testing.assert_close(model.forward_features(imgs), latent)


def published_shapes(width: int, depth: int, patch: int, patches: int) -> dict[str, tuple]:
    """State-dict keys and shapes of the published checkpoints (decoder 512 wide, 8 deep)."""

    def block(prefix: str, d: int) -> dict[str, tuple]:
        return {
            f"{prefix}.norm1.weight": (d,),
            f"{prefix}.norm1.bias": (d,),
            f"{prefix}.attn.qkv.weight": (3 * d, d),
            f"{prefix}.attn.qkv.bias": (3 * d,),
            f"{prefix}.attn.proj.weight": (d, d),
            f"{prefix}.attn.proj.bias": (d,),
            f"{prefix}.norm2.weight": (d,),
            f"{prefix}.norm2.bias": (d,),
            f"{prefix}.mlp.fc1.weight": (4 * d, d),
            f"{prefix}.mlp.fc1.bias": (4 * d,),
            f"{prefix}.mlp.fc2.weight": (d, 4 * d),
            f"{prefix}.mlp.fc2.bias": (d,),
        }

    shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, patches + 1, width),
        "mask_token": (1, 1, 512),
        "decoder_pos_embed": (1, patches + 1, 512),
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
        "decoder_embed.weight": (512, width),
        "decoder_embed.bias": (512,),
        "decoder_norm.weight": (512,),
        "decoder_norm.bias": (512,),
        "decoder_pred.weight": (patch * patch * 3, 512),
        "decoder_pred.bias": (patch * patch * 3,),
    }
    for n in range(depth):
        shapes |= block(f"blocks.{n}", width)
    for n in range(8):
        shapes |= block(f"decoder_blocks.{n}", 512)
    return shapes


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("mae_vit_tiny_patch16_dec512d8b", (192, 12, 16, 196)),
        ("mae_vit_small_patch16_dec512d8b", (384, 12, 16, 196)),
        ("mae_vit_base_patch16", (768, 12, 16, 196)),
        ("mae_vit_large_patch16_dec512d8b", (1024, 24, 16, 196)),
        ("mae_vit_huge_patch14", (1280, 32, 14, 256)),
    ],
)
def test_state_dicts_have_the_published_keys_and_shapes(name, shape, monkeypatch):
    monkeypatch.setattr(MaskedAutoencoderViT, "initialize_weights", lambda self: None)
    with torch.device("meta"):
        model = getattr(models, name)()
    assert {k: tuple(v.shape) for k, v in model.state_dict().items()} == published_shapes(*shape)


@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("tiny_patch16", 3),
        ("small_patch16", 6),
        ("base_patch16", 12),
        ("large_patch16", 16),
        ("huge_patch14", 16),
    ],
)
def test_heads_which_no_shape_shows_are_the_published_ones(name, heads, monkeypatch):
    monkeypatch.setattr(MaskedAutoencoderViT, "initialize_weights", lambda self: None)
    assert getattr(models, f"mae_vit_{name}") is getattr(models, f"mae_vit_{name}_dec512d8b")
    with torch.device("meta"):
        model = getattr(models, f"mae_vit_{name}")()
    assert {block.attn.num_heads for block in model.blocks} == {heads}
    assert {block.attn.num_heads for block in model.decoder_blocks} == {16}


def test_layer_norms_use_the_published_epsilon():
    norms = [m for m in small().modules() if isinstance(m, torch.nn.LayerNorm)]
    assert len(norms) == 2 * 4 + 2
    assert {m.eps for m in norms} == {1e-6}


def test_weights_start_as_published():
    model = small(embed_dim=64, img_size=32, in_chans=3)
    projection = model.patch_embed.proj.weight
    bound = (6 / (64 + 3 * 16)) ** 0.5  # Xavier's, for the projection seen as a matrix
    assert 0.95 * bound < projection.abs().max().item() <= bound
    assert model.cls_token.std().item() == pytest.approx(0.02, rel=0.5)
    linears = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    assert all(m.bias.abs().max().item() == 0 for m in linears)


@pytest.mark.parametrize("step", [0, 1, 39, 40, 41, 500, 799])
def test_the_schedule_is_the_published_one_at_every_step(step):
    per_epoch = 7
    for within in range(per_epoch):
        ours = learning_rate(step * per_epoch + within, 800 * per_epoch, 40 * per_epoch, 2.4e-3)
        expected = reference.learning_rate(step + within / per_epoch, 800, 40, 2.4e-3)
        assert ours == pytest.approx(expected, rel=1e-9, abs=1e-12)
        floored = learning_rate(
            step * per_epoch + within, 800 * per_epoch, 40 * per_epoch, 2.4e-3, 1e-6
        )
        expected = reference.learning_rate(step + within / per_epoch, 800, 40, 2.4e-3, 1e-6)
        assert floored == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_first_step_learns_nothing_and_the_last_ones_little():
    assert learning_rate(0, 100, 5, 1.0) == 0.0
    assert 0 < learning_rate(99, 100, 5, 1.0) < 1e-3
    assert learning_rate(99, 100, 5, 1.0, floor=0.5) > 0.5


def test_only_one_dimensional_weights_are_spared_from_decay():
    model = small()
    spared, decayed = parameter_groups(model.named_parameters(), 0.05)
    names = {id(p): n for n, p in model.named_parameters()}
    assert spared["weight_decay"] == 0.0
    assert decayed["weight_decay"] == 0.05
    ours = tuple({names[id(p)] for p in group["params"]} for group in (decayed, spared))
    shapes = {n: tuple(p.shape) for n, p in model.named_parameters()}
    assert ours == reference.decayed(shapes, {"pos_embed", "decoder_pos_embed"})
    assert {"cls_token", "mask_token", "patch_embed.proj.weight"} <= ours[0]
    assert all(name.endswith((".bias", ".weight")) for name in ours[1])


def test_freed_memory_is_kept_for_the_next_step_or_given_back():
    # In small pages and another process: this one's memory is not new.
    program = """
import resource, torch
from mae.train.device import choose_device
for frugal in (True, False):
    choose_device(frugal=frugal)
    torch.ones(2**24)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(2**24)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    environment = os.environ | {"THP_MEM_ALLOC_ENABLE": "0"}
    words = [sys.executable, "-c", program]
    told = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    given_back, kept = map(int, told.stdout.split())
    assert kept < 10 * 2**26 / 4096 / 4 < given_back
