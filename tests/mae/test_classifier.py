"""The classifier: what it computes, what of it learns, and that timm loads it."""

import pytest
import timm
import torch

from mae.build import build_model
from mae.evaluate.classifier import Classifier
from mae.recipes import Head


def classifier_of(config, recompute=False, **head) -> Classifier:
    torch.manual_seed(1)
    settings = {"pool": "mean", "norm": "layer", "frozen": False, **head}
    return Classifier(build_model(config, 0), Head(**settings), 10, recompute)


@pytest.mark.parametrize(("pool", "theirs"), [("mean", "avg"), ("cls", "token")])
def test_timm_loads_what_was_fine_tuned_and_says_the_same(tiny, pool, theirs):
    ours = classifier_of(tiny.model, pool=pool)
    with torch.no_grad():  # norms and biases start alike in any network
        for weight in ours.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    model = tiny.model
    vit = timm.models.VisionTransformer(
        img_size=model.size, patch_size=model.patch, in_chans=1, embed_dim=model.width,
        depth=model.depth, num_heads=model.heads, num_classes=10, global_pool=theirs,
    )  # fmt: skip
    vit.load_state_dict(ours.state_dict())
    imgs = torch.randn(5, 1, 28, 28)
    torch.testing.assert_close(ours.eval()(imgs), vit.eval()(imgs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_a_probe_normalises_what_the_encoder_says_and_moves_nothing_of_it(tiny, pool):
    probe = classifier_of(tiny.model, pool=pool, norm="batch", frozen=True)
    encoder, imgs = build_model(tiny.model, 0), torch.randn(8, 1, 28, 28)
    with torch.no_grad():
        tokens = encoder.forward_features(imgs)
    pooled = tokens[:, 1:].mean(dim=1) if pool == "mean" else tokens[:, 0]
    start = probe.head[1].weight.detach()
    normed = (pooled - pooled.mean(0)) / (pooled.var(0, correction=0) + 1e-6).sqrt()
    scores = probe(imgs)
    torch.testing.assert_close(scores, normed @ start.T, rtol=1e-3, atol=1e-4)
    scores.sum().backward()
    moved = {name for name, weight in probe.named_parameters() if weight.grad is not None}
    assert moved == {"head.1.weight", "head.1.bias"}
    assert set(probe.learnt()) == moved | {
        "head.0.running_mean", "head.0.running_var", "head.0.num_batches_tracked",
    }  # fmt: skip
    assert start.std().item() == pytest.approx(0.01, rel=0.3)


def test_paths_are_dropped_more_often_the_deeper_they_are(tiny):
    deep = tiny.model.model_copy(update={"depth": 5})
    classifier = classifier_of(deep, drop_path=0.2)
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in classifier.blocks]
    assert rates == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2])
    imgs = torch.randn(4, 1, 28, 28)
    torch.nn.init.normal_(classifier.head.weight)
    assert not torch.equal(classifier.train()(imgs), classifier(imgs))
    torch.testing.assert_close(classifier.eval()(imgs), classifier(imgs), rtol=0, atol=0)


def test_recomputing_drops_the_same_paths_again(tiny):
    deep = tiny.model.model_copy(update={"depth": 3})
    gradients = []
    for recompute in (False, True):
        classifier = classifier_of(deep, recompute, drop_path=0.5)
        torch.manual_seed(2)
        classifier(torch.randn(6, 1, 28, 28)).square().sum().backward()
        gradients.append(classifier.blocks[1].mlp.fc1.weight.grad)
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().sum() > 0
