"""The networks of the four experiments of Ma et al. (2018), ShuffleNet V2: Practical Guidelines for Efficient CNN
Architecture Design, section 2: in each, all variants have the same multiply-accumulates (the fourth: the same convolutions).

Every network is ten equal blocks, with the channels that the paper takes for GPUs, some by one or two more or less so
that their products are the same within 1.2 %.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn

BLOCKS = 10


@dataclass(frozen=True)
class Guideline:
    """`variants` from the one that the guideline recommends to the one that it warns of most: name, input channels, block."""

    name: str
    says: str
    variants: Sequence[tuple[str, int, Callable[[], nn.Module]]] = field(repr=False)


def equal_channels() -> Guideline:
    pairs = ((128, 128), (90, 182), (52, 315), (37, 443))
    return Guideline(
        "equal channels",
        "G1: equal numbers of input and output channels cost the least memory access",
        [
            (f"1:{round(outputs / inputs)}", inputs, partial(_there_and_back, inputs, outputs))
            for inputs, outputs in pairs
        ],
    )


def groups() -> Guideline:
    return Guideline(
        "groups",
        "G2: more groups at the same multiply-accumulates cost more memory access",
        [
            (f"{count} group{'s' * (count > 1)}", channels, partial(_pointwise, channels, channels, count))
            for count, channels in ((1, 128), (2, 180), (4, 256), (8, 360))
        ],
    )


def fragments() -> Guideline:
    return Guideline(
        "fragments",
        "G3: a block in fragments runs less in parallel",
        [
            ("1 fragment", 128, partial(_in_series, 128, 1)),
            ("2 in series", 90, partial(_in_series, 90, 2)),
            ("4 in series", 64, partial(_in_series, 64, 4)),
            ("2 in parallel", 90, partial(_Parallel, 90, 2)),
            ("4 in parallel", 64, partial(_Parallel, 64, 4)),
        ],
    )


def element_wise() -> Guideline:
    return Guideline(
        "element-wise",
        "G4: activations and additions cost time that their few operations do not tell",
        [
            (name, 128, partial(_Bottleneck, 128, relu=relu, shortcut=shortcut))
            for name, relu, shortcut in (
                ("neither", False, False),
                ("ReLU", True, False),
                ("shortcut", False, True),
                ("ReLU and shortcut", True, True),
            )
        ],
    )


def network(
    channels: int, block: Callable[[], nn.Module], size: int
) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """Ten blocks, and an example input of `size` x `size` pixels."""
    torch.manual_seed(0)
    return nn.Sequential(*(block() for _ in range(BLOCKS))), (torch.zeros(2, channels, size, size),)


def _pointwise(inputs: int, outputs: int, groups: int = 1) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 1, groups=groups)


def _there_and_back(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(_pointwise(inputs, outputs), _pointwise(outputs, inputs))


def _in_series(channels: int, count: int) -> nn.Module:
    return nn.Sequential(*(_pointwise(channels, channels) for _ in range(count)))


class _Parallel(nn.Module):
    """Several pointwise convolutions of one input, added."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_pointwise(channels, channels) for _ in range(count))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        total: torch.Tensor = self.branches[0](features)
        for branch in self.branches[1:]:
            total = total + branch(features)
        return total


class _Bottleneck(nn.Module):
    """A residual bottleneck (1x1, 3x3, 1x1, a quarter of the channels inside), with or without what is not convolution."""

    def __init__(self, channels: int, *, relu: bool, shortcut: bool) -> None:
        super().__init__()
        inner = channels // 4
        activation = nn.ReLU if relu else nn.Identity
        self.shortcut = shortcut
        self.body = nn.Sequential(
            _pointwise(channels, inner), activation(),
            nn.Conv2d(inner, inner, 3, padding=1), activation(),
            _pointwise(inner, channels),
        )  # fmt: skip
        self.last = activation()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        body = self.body(features)
        output: torch.Tensor = self.last(body + features if self.shortcut else body)
        return output


ALL = (equal_channels, groups, fragments, element_wise)
