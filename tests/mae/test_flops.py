"""The cost of a step against the figures derived from the published networks."""

import pytest
import torch

from mae.config import ModelConfig
from mae.config_file import read_config
from mae.train.flops import peak_flops, training_flops


@pytest.mark.parametrize(
    ("preset", "gigaflops"),
    [("vit_base", 58.5), ("vit_large", 124), ("vit_huge", 291)],
)
def test_the_published_networks_cost_what_is_known(preset, gigaflops):
    config = read_config(preset)
    cost = training_flops(config.model, config.recipe.mask_ratio) / 1e9
    assert cost == pytest.approx(gigaflops, rel=0.01)


def test_a_higher_mask_ratio_costs_the_encoder_less():
    model = ModelConfig()
    assert training_flops(model, 0.9) < training_flops(model, 0.75) < training_flops(model, 0.1)


def test_patches_that_are_not_square_cost_by_their_pixels():
    square, oblong = ModelConfig(patch_size=[16, 16]), ModelConfig(patch_size=[8, 32])
    assert training_flops(square, 0.75) == training_flops(oblong, 0.75)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_what_a_cpu_can_do_is_measured(precision):
    assert 1e8 < peak_flops(torch.device("cpu"), precision) < 1e14
