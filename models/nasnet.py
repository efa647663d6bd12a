"""NASNet-A (Zoph, Vasudevan, Shlens, Le, 2017): two cells that a search found, stacked."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from edgepress.models._card import Card, card
from edgepress.models._layers import Count, initialise
from edgepress.preprocess import Preprocess

STEM_CHANNELS = 32
CHANNELS = 44
"""Of the first normal cells, each part; doubled at each reduction. The last cell gives 6 * 176 = 1056."""
REPEATS = 4
"""Normal cells between reductions."""


@dataclass(frozen=True)
class Block:
    """The sum of two operations on earlier states, each given as (operation, number of the state)."""

    left: tuple[str, int]
    right: tuple[str, int]


@dataclass(frozen=True)
class Plan:
    """A cell: its blocks, which make states 2 and on (0 is the cell's input, 1 the input of the cell before), and which
    states it gives."""

    blocks: tuple[Block, ...]
    gives: tuple[int, ...]


NORMAL = Plan(
    (
        Block(("separable5", 0), ("separable3", 1)),
        Block(("separable5", 1), ("separable3", 1)),
        Block(("average", 0), ("identity", 1)),
        Block(("average", 1), ("average", 1)),
        Block(("separable3", 0), ("identity", 0)),
    ),
    (1, 2, 3, 4, 5, 6),
)
REDUCTION = Plan(
    (
        Block(("separable5", 0), ("separable7", 1)),
        Block(("maximum", 0), ("separable7", 1)),
        Block(("average", 0), ("separable5", 1)),
        Block(("identity", 3), ("average", 2)),
        Block(("separable3", 2), ("maximum", 0)),
    ),
    (3, 4, 5, 6),
)
"""Figure 4 of the paper."""


@card(
    Card(
        paper="Zoph et al., Learning Transferable Architectures for Scalable Image Recognition, CVPR 2018 (arXiv:1707.07012)",
        parameters=5_289_978,
        macs=563_638_816,
        top1=74.0,
        source="the paper, table 3: 74.0 %, 564 M multiply-adds, 5.3 M parameters; exact parameters as in the authors' "
        "released network, without auxiliary classifier; paths are never dropped in training",
        preprocess=Preprocess(shorter_side=256, mean=(0.5,), std=(0.5,)),
    )
)
def nasnet_a_mobile(*, classes: Count = 1000, in_channels: Count = 3) -> nn.Module:
    """NASNet-A mobile (4 @ 1056): three times four normal cells, and four that reduce."""
    return NASNet(classes, in_channels)


class NASNet(nn.Module):
    """N x in_channels x height x width to N x classes logits; the features are 1/32 as wide."""

    def __init__(self, classes: int, in_channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, STEM_CHANNELS, 3, 2, bias=False), _norm(STEM_CHANNELS)
        )
        cells = [
            Cell(REDUCTION, STEM_CHANNELS, None, CHANNELS // 4),
            Cell(REDUCTION, CHANNELS, STEM_CHANNELS, CHANNELS // 2, shrinks_before=True),
        ]
        sizes = [CHANNELS, 2 * CHANNELS]  # what the last two cells give
        was_reduced = True
        for stage in range(3):
            channels = CHANNELS * 2**stage
            if stage:
                cells.append(Cell(REDUCTION, sizes[-1], sizes[-2], channels))
                sizes.append(len(REDUCTION.gives) * channels)
                was_reduced = True
            for _ in range(REPEATS):
                cells.append(Cell(NORMAL, sizes[-1], sizes[-2], channels, shrinks_before=was_reduced))
                sizes.append(len(NORMAL.gives) * channels)
                was_reduced = False
        self.cells = nn.ModuleList(cells)
        self.relu = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout()
        self.fc = nn.Linear(sizes[-1], classes)
        initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        before = features = self.stem(pictures)
        for cell in self.cells:
            before, features = features, cell(features, before)
        features = self.avgpool(self.relu(features))
        logits: torch.Tensor = self.fc(self.dropout(torch.flatten(features, 1)))
        return logits


class Cell(nn.Module):
    """A cell of `channels` for each part, after `plan`; a reduction halves the size of what it takes.

    `inputs` are the channels of the cell's input, `before` those of the input of the cell before it, which is twice as
    wide where `shrinks_before`. The first cell has none: it takes its own input, as it is, for both.
    """

    def __init__(
        self, plan: Plan, inputs: int, before: int | None, channels: int, *, shrinks_before: bool = False
    ) -> None:
        super().__init__()
        self.plan = plan
        self.take = Convolution(inputs, channels)
        self.take_before = _taken(before, channels, shrinks_before)
        sizes = [channels, inputs if before is None else channels] + [channels] * len(plan.blocks)
        stride = 2 if plan is REDUCTION else 1
        self.left, self.right = (
            nn.ModuleList(
                _operation(name, sizes[state], channels, stride if state < 2 else 1) for name, state in side
            )
            for side in zip(*((block.left, block.right) for block in plan.blocks), strict=True)
        )

    def forward(self, features: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        states = [self.take(features), self.take_before(before)]
        for block, left, right in zip(self.plan.blocks, self.left, self.right, strict=True):
            states.append(left(states[block.left[1]]) + right(states[block.right[1]]))
        return torch.cat([states[number] for number in self.plan.gives], dim=1)


class Convolution(nn.Sequential):
    """A rectifier, a 1x1 convolution and its batch-norm."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.ReLU(), nn.Conv2d(inputs, outputs, 1, bias=False), _norm(outputs))


class Halves(nn.Module):
    """Half the size without pooling: 1x1 convolutions of every second pixel, and of every one after these."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.even = nn.Conv2d(inputs, outputs // 2, 1, 2, bias=False)
        self.odd = nn.Conv2d(inputs, outputs // 2, 1, 2, bias=False)
        self.norm = _norm(outputs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        rectified = self.relu(features)
        shifted = nn.functional.pad(rectified, (0, 1, 0, 1))[:, :, 1:, 1:]
        output: torch.Tensor = self.norm(torch.cat((self.even(rectified), self.odd(shifted)), dim=1))
        return output


class Separable(nn.Module):
    """Twice a rectifier, a filter for each channel, a 1x1 convolution and batch-norm; the first filters have the stride."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.pad = Padding(kernel) if stride == 2 else nn.Identity()
        around = 0 if stride == 2 else kernel // 2
        self.first = nn.Sequential(*_separable(inputs, outputs, kernel, stride, around))
        self.second = nn.Sequential(nn.ReLU(), *_separable(outputs, outputs, kernel, 1, kernel // 2))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.second(self.first(self.pad(self.relu(features))))
        return output


class Padding(nn.Module):
    """Zeros around features for a `kernel` with stride 2, as the authors' framework puts them: where the side is even,
    one fewer above and on the left."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        last = self.kernel // 2
        rows, columns = (last - (side % 2 == 0) for side in features.shape[-2:])
        return nn.functional.pad(features, (columns, last, rows, last))


class Pool(nn.Module):
    """The largest or the mean of 3x3 pixels, of those inside the picture alone; with stride 2 placed as `Padding` does."""

    def __init__(self, stride: int, *, is_mean: bool) -> None:
        super().__init__()
        self.stride, self.is_mean = stride, is_mean

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        around = [int(self.stride == 1 or side % 2 == 1) for side in features.shape[-2:]]
        if self.is_mean:
            return nn.functional.avg_pool2d(features, 3, self.stride, around, True, count_include_pad=False)
        return nn.functional.max_pool2d(features, 3, self.stride, around, ceil_mode=True)


def _operation(name: str, inputs: int, outputs: int, stride: int) -> nn.Module:
    """The operation that a plan calls `name`."""
    if name.startswith("separable"):
        return Separable(inputs, outputs, int(name[-1]), stride)
    return nn.Identity() if name == "identity" else Pool(stride, is_mean=name == "average")


def _taken(before: int | None, channels: int, shrinks: bool) -> nn.Module:
    """What makes a cell's second state of what the cell before it took."""
    if before is None:
        return nn.Identity()
    return Halves(before, channels) if shrinks else Convolution(before, channels)


def _separable(inputs: int, outputs: int, kernel: int, stride: int, around: int) -> list[nn.Module]:
    depthwise = nn.Conv2d(inputs, inputs, kernel, stride, around, groups=inputs, bias=False)
    return [depthwise, nn.Conv2d(inputs, outputs, 1, bias=False), _norm(outputs)]


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=0.001)
