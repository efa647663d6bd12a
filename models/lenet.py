"""LeNet-5 (LeCun, Bottou, Bengio, Haffner, 1998), the first convolutional network in wide use."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import nn

from edgepress.models._card import Card, card
from edgepress.preprocess import Preprocess


@card(
    Card(
        paper="LeCun et al., Gradient-Based Learning Applied to Document Recognition, Proc. IEEE 1998",
        parameters=61_706,
        macs=416_520,
        dataset="MNIST",
        top1=99.05,
        source="top-1 from the paper, section III; counts of the fully connected C3 that is customary today "
        "(the paper joins C3 to S2 by a hand-made table and trains its pooling: 60,000 parameters)",
        preprocess=Preprocess(size=(32, 32), mean=(0.1307,), std=(0.3081,), channel_order="L"),
    )
)
def lenet5(
    *,
    classes: Annotated[int, Gt(0)] = 10,
    in_channels: Annotated[int, Gt(0)] = 1,
    size: Annotated[int, Ge(16)] = 32,
) -> nn.Module:
    """LeNet-5 with rectifiers in place of tanh, for square pictures of `size` pixels a side."""
    return LeNet5(classes, in_channels, size)


class LeNet5(nn.Module):
    """N x in_channels x size x size to N x classes logits."""

    def __init__(self, classes: int, in_channels: int, size: int) -> None:
        super().__init__()
        side = ((size - 4) // 2 - 4) // 2
        self.conv1 = nn.Conv2d(in_channels, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.pool = nn.AvgPool2d(2)
        self.fc1 = nn.Linear(16 * side * side, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, classes)
        self.activation = nn.ReLU()

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features = self.pool(self.activation(self.conv1(pictures)))
        features = self.pool(self.activation(self.conv2(features)))
        features = self.activation(self.fc1(torch.flatten(features, 1)))
        features = self.activation(self.fc2(features))
        logits: torch.Tensor = self.fc3(features)
        return logits
