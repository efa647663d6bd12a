"""SqueezeNet 1.0 and 1.1 (Iandola et al., 2016): AlexNet's accuracy with fifty times fewer parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import nn

from edgepress.models._card import Card, Variant, card
from edgepress.models._layers import Count

Bypass = Literal["none", "simple", "complex"]
"""What goes past the fire modules: nothing; their input, where they make as many channels (3, 5, 7, 9); or that, and a 1x1
convolution past each other one (figure 2 of the paper)."""

PAPER = (
    "Iandola et al., SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size, "
    "2016 (arXiv:1602.07360)"
)
FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
"""(squeeze channels, channels of each of the two expansions) of fire2 to fire9."""

CAFFE_ENDS = {"conv1": "features.0", "conv_final": "classifier.1"}
CAFFE_PARTS = {"conv1x1_1": "squeeze", "conv1x1_2": "expand1x1", "conv3x3_2": "expand3x3"}
"""Layers of the authors' Caffe model, `fire2/conv1x1_1` for one, and what they are called here."""


@card(
    Card(
        paper=PAPER,
        parameters=1_248_424,
        macs=818_924_576,
        top1=57.5,
        source="top-1 from the paper, tables 2 and 3; exact counts as in torchvision, whose parameter names these are. With "
        "complex bypass the paper has 7.7 MB, which its figure 2, followed here, does not come to",
        variants=(
            Variant(options={"bypass": "simple"}, parameters=1_248_424, macs=818_924_576, top1=60.4),
            Variant(options={"bypass": "complex"}, parameters=1_589_672, macs=1_165_298_720, top1=58.8),
        ),
    )
)
def squeezenet1_0(
    *,
    classes: Count = 1000,
    in_channels: Count = 3,
    small_input: bool = False,
    final_padding: Annotated[int, Ge(0)] = 0,
    bypass: Bypass = "none",
) -> nn.Module:
    """SqueezeNet 1.0; the weights released for Caffe need `final_padding=1` around the last convolution."""
    stem = nn.Conv2d(in_channels, 96, 7, 1 if small_input else 2, 3 if small_input else 0)
    return SqueezeNet(stem, (4, 8), classes, small_input, final_padding, bypass)


@card(
    Card(
        paper=PAPER,
        parameters=1_235_496,
        macs=349_151_936,
        source="the authors' repository, SqueezeNet_v1.1: 2.4 times less computation than 1.0, no accuracy "
        "given; exact counts as in torchvision, whose parameter names these are",
    )
)
def squeezenet1_1(
    *,
    classes: Count = 1000,
    in_channels: Count = 3,
    small_input: bool = False,
    final_padding: Annotated[int, Ge(0)] = 0,
    bypass: Bypass = "none",
) -> nn.Module:
    """SqueezeNet 1.1: a smaller first convolution and earlier pooling than 1.0."""
    stem = nn.Conv2d(in_channels, 64, 3, 1 if small_input else 2, 1 if small_input else 0)
    return SqueezeNet(stem, (3, 5), classes, small_input, final_padding, bypass)


class SqueezeNet(nn.Module):
    """N x in_channels x height x width to N x classes logits.

    `pooled` are the numbers of the fire modules with a pooling layer behind them. `small_input` drops
    the first two halvings, for pictures of about 32 pixels.
    """

    def __init__(
        self, stem: nn.Conv2d, pooled: tuple[int, ...], classes: int, small_input: bool, final_padding: int, bypass: Bypass
    ) -> None:  # fmt: skip
        super().__init__()
        channels = stem.out_channels
        layers = [stem, nn.ReLU(), nn.Identity() if small_input else _pool()]
        self._fire_index: dict[str, int] = {}
        for number, (squeeze, expand) in enumerate(FIRES, start=2):
            self._fire_index[str(number)] = len(layers)
            layers.append(_fire(channels, squeeze, expand, bypass))
            channels = 2 * expand
            if number in pooled:
                layers.append(_pool())
        last = nn.Conv2d(channels, classes, 1, padding=final_padding)
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.5), last, nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self._initialise(last)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return torch.flatten(self.classifier(self.features(pictures)), 1)

    def renamed_state(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """`state` under the names used here, where it came under those of the authors' Caffe model."""
        return {self._renamed(*name.rpartition(".")): tensor for name, tensor in state.items()}

    def _renamed(self, layer: str, dot: str, leaf: str) -> str:
        if layer in CAFFE_ENDS:
            return CAFFE_ENDS[layer] + dot + leaf
        fire = re.fullmatch(r"fire(\d+)/(\w+)", layer)
        if fire and fire[1] in self._fire_index and fire[2] in CAFFE_PARTS:
            return f"features.{self._fire_index[fire[1]]}.{CAFFE_PARTS[fire[2]]}{dot}{leaf}"
        return layer + dot + leaf

    def _initialise(self, last: nn.Conv2d) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(last.weight, 0.0, 0.01)


class Fire(nn.Module):
    """A 1x1 convolution to few channels, then 1x1 and 3x3 convolutions side by side."""

    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)
        self.activation = nn.ReLU()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        squeezed = self.activation(self.squeeze(features))
        one = self.activation(self.expand1x1(squeezed))
        three = self.activation(self.expand3x3(squeezed))
        return torch.cat((one, three), dim=1)


class Bypassed(Fire):
    """A fire module with its input added to what it makes, behind a 1x1 convolution where the channels change."""

    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__(inputs, squeeze, expand)
        self.bypass = nn.Identity() if inputs == 2 * expand else nn.Conv2d(inputs, 2 * expand, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = super().forward(features) + self.bypass(features)
        return output


def _fire(inputs: int, squeeze: int, expand: int, bypass: Bypass) -> Fire:
    is_bypassed = bypass == "complex" or (bypass == "simple" and inputs == 2 * expand)
    return (Bypassed if is_bypassed else Fire)(inputs, squeeze, expand)


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)
