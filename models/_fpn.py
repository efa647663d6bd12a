"""A feature pyramid on ResNet-50 (Lin et al., 2017): coarse features handed down to the finer maps. torchvision's names."""

from __future__ import annotations

import torch
from torch import nn

from edgepress.models import _resnet_body
from edgepress.models._layers import scaled

CHANNELS = 256


class PyramidBody(nn.Module):
    """N x in_channels x height x width to maps of `channels` channels, finest first, from stage `first` (0: 1/4 the
    size) on, and then further ones by `extra`."""

    def __init__(self, in_channels: int, width: float, first: int, extra: nn.Module) -> None:
        super().__init__()
        self.body = _resnet_body.ResNetBody(_resnet_body.DEPTHS_50, in_channels, width)
        self.first, self.channels = first, scaled(CHANNELS, width)
        self.fpn = nn.ModuleDict(
            {
                "inner_blocks": nn.ModuleList(
                    nn.Sequential(nn.Conv2d(inputs, self.channels, 1))
                    for inputs in self.body.channels[first:]
                ),
                "layer_blocks": nn.ModuleList(
                    nn.Sequential(nn.Conv2d(self.channels, self.channels, 3, padding=1))
                    for _ in self.body.channels[first:]
                ),
                "extra_blocks": extra,
            }
        )

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        found = self.body(pictures)[self.first :]
        inner = [
            block(level) for block, level in zip(self.fpn["inner_blocks"].children(), found, strict=True)
        ]
        for finer in reversed(range(len(inner) - 1)):
            size = inner[finer].shape[2:]
            inner[finer] = inner[finer] + nn.functional.interpolate(inner[finer + 1], size=size)
        maps = [block(level) for block, level in zip(self.fpn["layer_blocks"].children(), inner, strict=True)]
        return [*maps, *self.fpn["extra_blocks"](maps[-1])]


class TwoMore(nn.Module):
    """The coarsest map halved by a convolution, and that again: RetinaNet's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.p6 = nn.Conv2d(channels, channels, 3, 2, 1)
        self.p7 = nn.Conv2d(channels, channels, 3, 2, 1)

    def forward(self, coarsest: torch.Tensor) -> list[torch.Tensor]:
        sixth = self.p6(coarsest)
        return [sixth, self.p7(nn.functional.relu(sixth))]


class EverySecond(nn.Module):
    """Every second row and column of the coarsest map: Faster R-CNN's."""

    def forward(self, coarsest: torch.Tensor) -> list[torch.Tensor]:
        return [nn.functional.max_pool2d(coarsest, 1, 2)]


def sides(size: int, first: int, extra: int) -> list[int]:
    """The sides of the maps, from stage `first` on and with `extra` ones, of a picture of `size` pixels a side."""
    found = [size]
    for _ in range(5 + extra):
        found.append((found[-1] + 1) // 2)
    return found[2 + first :]
