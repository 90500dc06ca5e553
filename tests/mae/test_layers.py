"""Rates and decay of a classifier's layers, and LARS, against plain arithmetic."""

import numpy as np
import pytest
import torch

from mae.build import build_model
from mae.evaluate.classifier import Classifier
from mae.evaluate.layers import layer_of, layer_scales, optimiser_of, set_rate
from mae.recipes import Head, Learning, read_recipe

DEPTH = 3


@pytest.fixture
def classifier(tiny) -> Classifier:
    config = tiny.model.model_copy(update={"depth": DEPTH})
    return Classifier(build_model(config, 0), Head(pool="mean", norm="layer", frozen=False), 10)


def test_scales_are_the_decay_multiplied_once_a_layer():
    expected, factor = [], 1.0
    for _ in range(DEPTH + 2):  # from the head down
        expected.insert(0, factor)
        factor *= 0.65
    assert layer_scales(DEPTH, 0.65) == pytest.approx(expected, rel=1e-12)
    assert len(layer_scales(12, 0.65)) == 14


def test_every_weight_is_in_the_layer_that_its_place_says(classifier):
    layers = {name: layer_of(name, DEPTH) for name, _ in classifier.named_parameters()}
    assert {n for n, layer in layers.items() if layer == 0} == {
        "cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias",
    }  # fmt: skip
    for name, layer in layers.items():
        if name.startswith("blocks."):
            assert layer == 1 + int(name[len("blocks.")])
    assert {n for n, layer in layers.items() if layer == DEPTH + 1} == {
        "fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias",
    }  # fmt: skip


def test_a_rate_is_scaled_and_tokens_biases_and_norms_do_not_decay(classifier):
    learning = read_recipe("finetune/vit_base").learning
    optimiser = optimiser_of(classifier.named_parameters(), DEPTH, learning)
    set_rate(optimiser, 2.0)
    found = {
        id(weight): (group["lr"], group["weight_decay"])
        for group in optimiser.param_groups
        for weight in group["params"]
    }
    rates = [2 * 0.65 ** (DEPTH + 1 - layer) for layer in range(DEPTH + 2)]
    for name, weight in classifier.named_parameters():
        rate, decay = found.pop(id(weight))
        assert rate == pytest.approx(rates[layer_of(name, DEPTH)])
        spared = weight.ndim == 1 or name in ("cls_token", "pos_embed")
        assert decay == (0.0 if spared else 0.05), name
    assert not found


def reference_lars(weights, gradients, rates, momentum=0.9, trust=0.001):
    """LARS (You et al., 2017) as the MAE authors run it: vectors are not adapted. Plain loops."""
    weights = [w.astype(np.float64) for w in weights]
    memory = [np.zeros_like(w) for w in weights]
    for step, rate in enumerate(rates):
        for i, weight in enumerate(weights):
            update = gradients[step][i].astype(np.float64)
            if weight.ndim > 1:
                size, slope = np.sqrt((weight**2).sum()), np.sqrt((update**2).sum())
                if size > 0 and slope > 0:
                    update = update * (trust * size / slope)
            memory[i] = momentum * memory[i] + update
            weights[i] = weight - rate * memory[i]
    return weights


def test_lars_is_the_published_one():
    random = np.random.default_rng(3)
    layer = torch.nn.Linear(7, 4)
    start = [layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy()]
    gradients = [[random.normal(size=w.shape).astype(np.float32) for w in start] for _ in range(6)]
    rates = [0.0, 3.0, 6.4, 6.4, 2.0, 0.5]
    learning = Learning(
        optimiser="lars", base_lr=0.1, momentum=0.9, epochs=1, warmup_epochs=0, batch_size=2
    )
    named = [(f"head.{n}", w) for n, w in layer.named_parameters()]
    optimiser = optimiser_of(named, DEPTH, learning)
    for rate, (weight, bias) in zip(rates, gradients, strict=True):
        set_rate(optimiser, rate)
        layer.weight.grad, layer.bias.grad = torch.from_numpy(weight), torch.from_numpy(bias)
        optimiser.step()
    expected = reference_lars(start, gradients, rates)
    np.testing.assert_allclose(layer.weight.detach().numpy(), expected[0], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(layer.bias.detach().numpy(), expected[1], rtol=1e-5, atol=1e-6)


def test_a_frozen_encoder_gives_the_optimiser_its_head_alone(tiny):
    head = Head(pool="cls", norm="batch", frozen=True)
    classifier = Classifier(build_model(tiny.model, 0), head, 10)
    learning = read_recipe("linear/vit_base").learning
    groups = optimiser_of(classifier.named_parameters(), 1, learning).param_groups
    learnt = {id(w) for group in groups for w in group["params"]}
    assert learnt == {id(w) for w in classifier.head.parameters()}
    assert [(g["always_adapt"], g["scale"]) for g in groups] == [(True, 1.0), (False, 1.0)]
