"""The cost of a step against the figures derived from the published networks."""

import pytest
import torch

from mae.config import ModelConfig
from mae.config_file import read_config
from mae.train.flops import known_peak, peak_flops, training_flops


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


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA H200", 989), ("NVIDIA GH200 480GB", 989), ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756), ("NVIDIA A100-SXM4-80GB", 312), ("NVIDIA A10", 125),
        ("NVIDIA L4", 121), ("NVIDIA L40S", 362), ("NVIDIA GeForce RTX 4090", 165),
        ("NVIDIA RTX A6000", 155), ("NVIDIA A40", 150),
        ("NVIDIA RTX A1000 Laptop GPU", None), ("NVIDIA RTX A4000", None), ("NVIDIA L40", None),
        ("NVIDIA A10G", None), ("NVIDIA B200", None),
    ],
)  # fmt: skip
def test_a_gpu_is_known_by_its_whole_name(name, teraflops):
    assert known_peak(name) == (teraflops and teraflops * 1e12)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_what_a_cpu_can_do_is_measured(precision):
    assert 1e8 < peak_flops(torch.device("cpu"), precision) < 1e14
