"""The outline of a network: every parameter is told of, in the order in which the parts run."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgepress import models
from edgepress.models._outline import Part, outline


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.late = nn.Conv2d(channels, channels, 3, padding=1)
        self.early = nn.Conv2d(channels, channels, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.late(self.early(features))


class Backwards(nn.Module):
    """Its children stand in another order than they run in."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 3)
        self.blocks = nn.Sequential(Block(8), Block(8), nn.MaxPool2d(2), Block(8))
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.fc(self.blocks(self.stem(pictures)).mean((2, 3)))


def test_parts_stand_in_the_order_in_which_they_run() -> None:
    assert outline(Backwards(), [torch.zeros(1, 3, 16, 16)]) == (
        Part("3x3 convolution", (8, 8, 8), 224 + 16),
        Part("Block", (8, 8, 8), 2 * (72 + 584), 2),
        Part("MaxPool2d", (8, 4, 4), 0),
        Part("Block", (8, 4, 4), 72 + 584),
        Part("Linear", (3,), 27),
    )


def test_the_stages_of_resnet50_are_those_of_the_paper() -> None:
    blocks = [part for part in models.outline("resnet50") if part.name == "Bottleneck"]
    assert [(part.repeats, part.shape) for part in blocks] == [
        (3, (256, 56, 56)),
        (4, (512, 28, 28)),
        (6, (1024, 14, 14)),
        (3, (2048, 7, 7)),
    ]


@pytest.mark.parametrize(
    "name", ["lenet5", "vgg11", "googlenet", "mobilenet_v1", "shufflenet_v2", "squeezenet1_1"]
)
def test_parts_hold_all_parameters(name: str) -> None:
    assert sum(part.parameters for part in models.outline(name)) == models.card_of(name).parameters
