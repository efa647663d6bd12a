"""Inception v3 (Szegedy et al., 2015): large filters taken apart, into 3x3 ones and into rows and columns."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from edgepress.models._card import Card, card
from edgepress.models._layers import Count, initialise
from edgepress.preprocess import Preprocess

INCEPTION = Preprocess(size=(299, 299), shorter_side=342, mean=(0.5,), std=(0.5,))
"""Pixels between -1 and 1; 299 of 342, which is the share that 224 is of 256."""


@card(
    Card(
        paper="Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016 (arXiv:1512.00567)",
        parameters=23_834_568,
        macs=5_713_216_096,
        top1=77.29,
        source="top-1 and exact counts from torchvision, whose parameter names these are, without the auxiliary classifier, "
        "which serves training only; the paper has 78.8 % (table 3)",
        preprocess=INCEPTION,
    )
)
def inception_v3(*, classes: Count = 1000, in_channels: Count = 3) -> nn.Module:
    """Inception v3, for pictures of 299 x 299 pixels."""
    return InceptionV3(classes, in_channels)


class InceptionV3(nn.Module):
    """N x in_channels x height x width to N x classes logits; the features are about 1/37 as wide."""

    def __init__(self, classes: int, in_channels: int) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(in_channels, 32, 3, stride=2, padding=0)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3, padding=0)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3)
        self.maxpool1 = nn.MaxPool2d(3, 2)
        self.Conv2d_3b_1x1 = Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3, padding=0)
        self.maxpool2 = nn.MaxPool2d(3, 2)
        self.Mixed_5b = InceptionA(192, pooled=32)
        self.Mixed_5c = InceptionA(256, pooled=64)
        self.Mixed_5d = InceptionA(288, pooled=64)
        self.Mixed_6a = ReductionA(288)
        self.Mixed_6b = InceptionB(768, inner=128)
        self.Mixed_6c = InceptionB(768, inner=160)
        self.Mixed_6d = InceptionB(768, inner=160)
        self.Mixed_6e = InceptionB(768, inner=192)
        self.Mixed_7a = ReductionB(768)
        self.Mixed_7b = InceptionC(1280)
        self.Mixed_7c = InceptionC(2048)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout()
        self.fc = nn.Linear(2048, classes)
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features = pictures
        for part in list(self.children())[:-3]:
            features = part(features)
        logits: torch.Tensor = self.fc(self.dropout(torch.flatten(self.avgpool(features), 1)))
        return logits

    def renamed_state(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """`state` without the classifier that torchvision trains beside this one."""
        return {name: tensor for name, tensor in state.items() if not name.startswith("AuxLogits.")}


class Convolution(nn.Module):
    """A convolution that keeps the size unless `padding` is 0, its batch-norm, and a rectifier."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int | tuple[int, int], *, stride: int = 1, padding: int | None = None
    ) -> None:  # fmt: skip
        super().__init__()
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        around = (kernel[0] // 2, kernel[1] // 2) if padding is None else (padding, padding)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, around, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)
        self.relu = nn.ReLU()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.relu(self.bn(self.conv(features)))
        return output


class InceptionA(nn.Module):
    """1x1, 5x5, two 3x3 and a pooling side by side: figure 5 of the paper."""

    def __init__(self, inputs: int, *, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Convolution(inputs, 64, 1)
        self.branch5x5_1 = Convolution(inputs, 48, 1)
        self.branch5x5_2 = Convolution(48, 64, 5)
        self.branch3x3dbl_1 = Convolution(inputs, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3)
        self.branch3x3dbl_3 = Convolution(96, 96, 3)
        self.branch_pool = Convolution(inputs, pooled, 1)
        self.pool = nn.AvgPool2d(3, 1, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        five = self.branch5x5_2(self.branch5x5_1(features))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(features)))
        pooled = self.branch_pool(self.pool(features))
        return torch.cat((self.branch1x1(features), five, three, pooled), dim=1)


class ReductionA(nn.Module):
    """Half the size: a 3x3, two 3x3 and a pooling side by side, the last of each with a stride of 2."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = Convolution(inputs, 384, 3, stride=2, padding=0)
        self.branch3x3dbl_1 = Convolution(inputs, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, stride=2, padding=0)
        self.pool = nn.MaxPool2d(3, 2)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(features)))
        return torch.cat((self.branch3x3(features), double, self.pool(features)), dim=1)


class InceptionB(nn.Module):
    """1x1, one and two 7x7 in rows and columns, and a pooling side by side: figure 6 of the paper."""

    def __init__(self, inputs: int, *, inner: int) -> None:
        super().__init__()
        row, column = (1, 7), (7, 1)
        self.branch1x1 = Convolution(inputs, 192, 1)
        self.branch7x7_1 = Convolution(inputs, inner, 1)
        self.branch7x7_2 = Convolution(inner, inner, row)
        self.branch7x7_3 = Convolution(inner, 192, column)
        self.branch7x7dbl_1 = Convolution(inputs, inner, 1)
        self.branch7x7dbl_2 = Convolution(inner, inner, column)
        self.branch7x7dbl_3 = Convolution(inner, inner, row)
        self.branch7x7dbl_4 = Convolution(inner, inner, column)
        self.branch7x7dbl_5 = Convolution(inner, 192, row)
        self.branch_pool = Convolution(inputs, 192, 1)
        self.pool = nn.AvgPool2d(3, 1, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(features)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(features)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        pooled = self.branch_pool(self.pool(features))
        return torch.cat((self.branch1x1(features), seven, double, pooled), dim=1)


class ReductionB(nn.Module):
    """Half the size: a 3x3, a 7x7 with a 3x3 behind it, and a pooling side by side."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = Convolution(inputs, 192, 1)
        self.branch3x3_2 = Convolution(192, 320, 3, stride=2, padding=0)
        self.branch7x7x3_1 = Convolution(inputs, 192, 1)
        self.branch7x7x3_2 = Convolution(192, 192, (1, 7))
        self.branch7x7x3_3 = Convolution(192, 192, (7, 1))
        self.branch7x7x3_4 = Convolution(192, 192, 3, stride=2, padding=0)
        self.pool = nn.MaxPool2d(3, 2)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        three = self.branch3x3_2(self.branch3x3_1(features))
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(features)))
        return torch.cat((three, self.branch7x7x3_4(seven), self.pool(features)), dim=1)


class InceptionC(nn.Module):
    """1x1, a row and a column of 3 behind a 1x1 and behind a 3x3, and a pooling side by side: figure 7 of the paper."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        row, column = (1, 3), (3, 1)
        self.branch1x1 = Convolution(inputs, 320, 1)
        self.branch3x3_1 = Convolution(inputs, 384, 1)
        self.branch3x3_2a = Convolution(384, 384, row)
        self.branch3x3_2b = Convolution(384, 384, column)
        self.branch3x3dbl_1 = Convolution(inputs, 448, 1)
        self.branch3x3dbl_2 = Convolution(448, 384, 3)
        self.branch3x3dbl_3a = Convolution(384, 384, row)
        self.branch3x3dbl_3b = Convolution(384, 384, column)
        self.branch_pool = Convolution(inputs, 192, 1)
        self.pool = nn.AvgPool2d(3, 1, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        three = self.branch3x3_1(features)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(features))
        pooled = self.branch_pool(self.pool(features))
        threes = (self.branch3x3_2a(three), self.branch3x3_2b(three))
        doubles = (self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double))
        return torch.cat((self.branch1x1(features), *threes, *doubles, pooled), dim=1)
