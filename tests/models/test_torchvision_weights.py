"""torchvision's published files fit: on weights that are random, under its names and in its shapes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torchvision_layouts

from edgepress import models
from edgepress.models import _weights

SMALL = ("shufflenet_v2", "squeezenet1_1")
PUBLISHED_PARAMETERS = {
    "alexnet": 61_100_840, "vgg16": 138_357_544, "vgg16_bn": 138_365_992, "resnet18": 11_689_512, "resnet50": 25_557_032,
    "resnext50_32x4d": 25_028_904, "densenet121": 7_978_856, "squeezenet1_1": 1_235_496, "mobilenet_v2": 3_504_872,
    "mobilenet_v3_small": 2_542_856, "shufflenet_v2": 2_278_604, "efficientnet_b0": 5_288_548,
}  # fmt: skip
"""As torchvision's documentation has them: they check the layouts below, which nobody prints."""


def state(name: str, device: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    layout = torchvision_layouts.LAYOUTS[name]
    return {key: torch.rand(shape, device=device) for key, shape in layout.items()}


@pytest.mark.parametrize("name", PUBLISHED_PARAMETERS)
def test_the_layout_is_torchvisions(name: str) -> None:
    layout = torchvision_layouts.LAYOUTS[name]
    counted = (shape for key, shape in layout.items() if "running" not in key)
    assert sum(map(math.prod, counted)) == PUBLISHED_PARAMETERS[name]


@pytest.mark.parametrize("name", torchvision_layouts.LAYOUTS)
def test_every_name_and_shape_is_found(name: str) -> None:
    with torch.device("meta"):
        network = models.find(name)()
    published = state(name, "meta")
    renamed = network.renamed_state(published) if isinstance(network, _weights.Renaming) else published
    wanted = {key: value.shape for key, value in network.state_dict().items() if "num_batches" not in key}
    assert {key: value.shape for key, value in renamed.items()} == wanted


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
@pytest.mark.parametrize("name", SMALL)
def test_the_values_arrive(name: str, ending: str, tmp_path: Path) -> None:
    import safetensors.torch

    published = state(name, "cpu")
    path = tmp_path / f"weights.{ending}"
    torch.save(published, path) if ending == "pt" else safetensors.torch.save_file(published, path)
    program = models.load(name, weights=path, input_shape=(3, 64, 64))
    for key, value in published.items():
        assert torch.equal(program.exported.state_dict[key], value), key
