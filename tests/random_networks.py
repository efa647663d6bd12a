"""Random small networks from a seed: whatever structures a network is made of, put together in any order.

`build(seed)` returns the module and an example input of two pictures. Every piece takes a picture of any size and
any channel count that is a multiple of four, and says in `channels` how many it gives.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZE, CLASSES = 8, 5


def build(seed: int) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network of a seed, always the same."""
    torch.manual_seed(seed)
    return RandomNetwork(Random(seed)), (torch.randn(2, 3, SIZE, SIZE),)


class Piece(nn.Module):
    """A structure within a network; `channels` in, `self.channels` out."""

    channels: int

    def __init__(self, random: Random, channels: int) -> None:
        super().__init__()


class RandomNetwork(nn.Module):
    """A stem, two to five pieces of any kind, a layer and a classifier."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        pieces: list[Piece] = [Plain(random, 3)]
        for _ in range(random.randint(2, 5)):
            pieces.append(random.choice(Piece.__subclasses__())(random, pieces[-1].channels))
        pieces.append(Plain(random, pieces[-1].channels))
        self.pieces, self.flattens = nn.Sequential(*pieces), random.random() < 0.3
        features = pieces[-1].channels * (16 if self.flattens else 1)
        self.hidden, self.head = nn.Linear(features, 12), nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pieces(x)
        x = functional.adaptive_avg_pool2d(x, 4).flatten(1) if self.flattens else x.mean((2, 3))
        return self.head(functional.relu(self.hidden(x)))


def _width(random: Random) -> int:
    return random.choice((8, 12, 16, 24))


def _norm(random: Random, channels: int) -> nn.Module:
    makers: tuple[Callable[[], nn.Module], ...] = (
        lambda: nn.BatchNorm2d(channels),
        lambda: nn.BatchNorm2d(channels),
        lambda: nn.GroupNorm(4, channels),
        lambda: nn.InstanceNorm2d(channels, affine=True),
        nn.Identity,
    )
    return random.choice(makers)()


def _activation(random: Random, channels: int) -> nn.Module:
    return random.choice(
        (nn.ReLU(inplace=True), nn.GELU(), nn.Hardswish(), nn.PReLU(channels), nn.Identity())
    )


def _filters(random: Random, channels: int, width: int, groups: int = 1) -> nn.Sequential:
    kernel = random.choice((1, 3))
    layer = nn.Conv2d(channels, width, kernel, 1, kernel // 2, groups=groups, bias=random.random() < 0.5)
    return nn.Sequential(layer, _norm(random, width), _activation(random, width))


class Plain(Piece):
    def __init__(self, random: Random, channels: int) -> None:
        super().__init__(random, channels)
        self.channels = _width(random)
        self.layers = _filters(random, channels, self.channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Residual(Piece):
    """Two layers, of which a depthwise one may stand between, added to what they read; perhaps scaled before."""

    def __init__(self, random: Random, channels: int) -> None:
        super().__init__(random, channels)
        self.channels, width = channels, _width(random)
        middle = _filters(random, width, width, width) if random.random() < 0.5 else nn.Identity()
        self.layers = nn.Sequential(
            _filters(random, channels, width), middle, _filters(random, width, channels)
        )
        self.scale = nn.Parameter(torch.rand(channels)) if random.random() < 0.5 else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return x + (y if self.scale is None else y * self.scale.view(-1, 1, 1))


class Branches(Piece):
    """Layers side by side, and perhaps the input itself or its pooled picture, joined."""

    def __init__(self, random: Random, channels: int) -> None:
        super().__init__(random, channels)
        widths = [_width(random) for _ in range(random.randint(1, 3))]
        self.layers = nn.ModuleList(_filters(random, channels, width) for width in widths)
        self.other = random.choice(("none", "input", "pooled"))
        self.channels = sum(widths) + (0 if self.other == "none" else channels)

    def forward(self, x: Tensor) -> Tensor:
        parts = [layer(x) for layer in self.layers]
        if self.other == "input":
            parts.insert(1, x)
        elif self.other == "pooled":
            parts.append(functional.avg_pool2d(x, 3, 1, 1))
        return torch.cat(parts, 1)


class Parts(Piece):
    """The channels in two parts, of which one or both are filtered, joined in any order, perhaps shuffled."""

    def __init__(self, random: Random, channels: int) -> None:
        super().__init__(random, channels)
        first = random.choice((4, channels - 4))
        self.sizes, self.swaps = [first, channels - first], random.random() < 0.5
        self.left = _filters(random, first, first) if random.random() < 0.5 else nn.Identity()
        self.right = _filters(random, channels - first, channels - first)
        self.channels, self.groups = channels, random.choice((1, 2, 4))

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.split(self.sizes, 1)
        parts = [self.left(left), self.right(right)]
        x = torch.cat(parts[::-1] if self.swaps else parts, 1)
        n, c, h, w = x.shape
        return x.view(n, self.groups, -1, h, w).transpose(1, 2).reshape(n, c, h, w)


class Grouped(Piece):
    """A grouped convolution, perhaps with several outputs for an input, perhaps behind a shuffle."""

    def __init__(self, random: Random, channels: int) -> None:
        super().__init__(random, channels)
        groups = random.choice((2, 4, channels // 2, channels))
        self.channels = channels * random.choice((1, 2))
        self.layers, self.shuffles = _filters(random, channels, self.channels, groups), random.random() < 0.3

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(functional.channel_shuffle(x, 2) if self.shuffles else x)


class Transposed(Piece):
    def __init__(self, random: Random, channels: int) -> None:
        super().__init__(random, channels)
        groups = random.choice((1, 1, 2, 4, channels))
        self.channels = channels if groups == channels else 4 * random.randint(2, 6)
        self.up = nn.ConvTranspose2d(channels, self.channels, 3, 1, 1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.up(x))


class Excited(Piece):
    """Squeeze and excite, by convolutions or by linear layers."""

    def __init__(self, random: Random, channels: int) -> None:
        super().__init__(random, channels)
        self.channels, self.is_linear = channels, random.random() < 0.5
        make = nn.Linear if self.is_linear else lambda i, o: nn.Conv2d(i, o, 1)
        self.squeeze, self.excite = make(channels, 8), make(8, channels)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3), keepdim=not self.is_linear)
        gate = torch.sigmoid(self.excite(functional.relu(self.squeeze(pooled))))
        return x * (gate[:, :, None, None] if self.is_linear else gate)


class Gated(Piece):
    def __init__(self, random: Random, channels: int) -> None:
        super().__init__(random, channels)
        self.channels = _width(random)
        self.wide = nn.Conv2d(channels, 2 * self.channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.wide(x).chunk(2, 1)
        return value * torch.sigmoid(gate)


class Resized(Piece):
    """Pooled, padded or upsampled."""

    def __init__(self, random: Random, channels: int) -> None:
        super().__init__(random, channels)
        self.channels, self.way = channels, random.choice(("max", "average", "nearest", "pad"))

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "max":
            return functional.max_pool2d(x, 3, 1, 1)
        if self.way == "average":
            return functional.avg_pool2d(x, 2, 1)
        if self.way == "nearest":
            return functional.interpolate(functional.max_pool2d(x, 2), scale_factor=2.0)
        return functional.pad(x, (1, 0, 0, 1))


class Twice(Piece):
    """One layer that is called twice."""

    def __init__(self, random: Random, channels: int) -> None:
        super().__init__(random, channels)
        self.channels = channels
        self.layer = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(functional.relu(self.layer(x)))


class LastAxis(Piece):
    """Linear layers on channels that are moved to the last axis; a norm over them half of the time."""

    def __init__(self, random: Random, channels: int) -> None:
        super().__init__(random, channels)
        self.channels, width = channels, _width(random)
        self.norm = nn.LayerNorm(channels) if random.random() < 0.5 else nn.Identity()
        self.wide, self.narrow = nn.Linear(channels, width), nn.Linear(width, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x.permute(0, 2, 3, 1))
        return x + self.narrow(functional.gelu(self.wide(y))).permute(0, 3, 1, 2)


class Attention(Piece):
    """Pixels attend to one another: packed or not, in one operator or several."""

    def __init__(self, random: Random, channels: int) -> None:
        super().__init__(random, channels)
        self.channels, self.heads = channels, random.choice((1, 2, 4))
        self.width = 4 * random.randint(1, 3)
        inner = self.heads * self.width
        self.packing, self.is_written_out = random.choice(("none", "chunk", "unbind")), random.random() < 0.5
        self.layers = nn.ModuleList(
            nn.Linear(channels, inner) if self.packing == "none" else nn.Linear(channels, 3 * inner)
            for _ in range(3 if self.packing == "none" else 1)
        )
        self.out = nn.Linear(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        query, key, value = self._parts(tokens)
        if self.is_written_out:
            weights = (query @ key.transpose(-2, -1) * self.width**-0.5).softmax(-1)
            found = weights @ value
        else:
            found = functional.scaled_dot_product_attention(query, key, value)
        found = self.out(found.transpose(1, 2).reshape(n, h * w, self.heads * self.width))
        return x + found.transpose(1, 2).reshape(n, c, h, w)

    def _parts(self, tokens: Tensor) -> tuple[Tensor, ...]:
        n, count, _ = tokens.shape
        if self.packing == "unbind":
            packed = self.layers[0](tokens).view(n, count, 3, self.heads, self.width)
            return packed.permute(2, 0, 3, 1, 4).unbind(0)
        made = [layer(tokens) for layer in self.layers]
        parts = made if self.packing == "none" else made[0].chunk(3, -1)
        return tuple(part.view(n, count, self.heads, self.width).transpose(1, 2) for part in parts)
