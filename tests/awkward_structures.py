"""Trouble in how layers are joined: residuals, concatenations, groups, splits and shuffles."""

from __future__ import annotations

import torch
from awkward_parts import PICTURE, Classifier, conv, network
from torch import Tensor, nn
from torch.nn import functional


@network(PICTURE)
class Residual(Classifier):
    def __init__(self) -> None:
        super().__init__(16)
        self.inner = nn.Sequential(conv(16, 12), nn.Conv2d(12, 16, 3, padding=1), nn.BatchNorm2d(16))

    def body(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.inner(x))


@network(PICTURE)
class PreActivation(Classifier):
    """In-place activations before the layers, and a sum that reads what was there before."""

    def __init__(self) -> None:
        super().__init__(16)
        self.norm, self.conv = nn.BatchNorm2d(16), nn.Conv2d(16, 16, 3, padding=1)

    def body(self, x: Tensor) -> Tensor:
        active = functional.relu_(self.norm(x))
        return x.add_(self.conv(active))


@network(PICTURE)
class PaddedShortcut(Classifier):
    """The shortcut without weights of He et al. (2015): every second pixel, zeros for the new channels."""

    def __init__(self) -> None:
        super().__init__(24)
        self.conv = nn.Conv2d(16, 24, 3, 2, 1)

    def body(self, x: Tensor) -> Tensor:
        return self.conv(x) + functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))


@network(PICTURE)
class Dense(Classifier):
    """Every layer reads all before it, normalised together."""

    def __init__(self) -> None:
        super().__init__(32)
        self.norm1, self.conv1 = nn.BatchNorm2d(16), nn.Conv2d(16, 8, 3, padding=1)
        self.norm2, self.conv2 = nn.BatchNorm2d(24), nn.Conv2d(24, 8, 3, padding=1)

    def body(self, x: Tensor) -> Tensor:
        y = self.conv1(functional.relu(self.norm1(x)))
        z = self.conv2(functional.relu(self.norm2(torch.cat([x, y], 1))))
        return torch.cat([x, y, z], 1)


@network(PICTURE)
class Inception(Classifier):
    def __init__(self) -> None:
        super().__init__(36)
        self.a, self.b, self.c = conv(16, 8, 1), conv(16, 12), conv(16, 16, 5)

    def body(self, x: Tensor) -> Tensor:
        pooled = functional.max_pool2d(x, 3, 1, 1)
        return torch.cat([self.a(x), self.b(x), self.c(pooled)], 1)


@network(PICTURE)
class SumOfConcatenations(Classifier):
    def __init__(self) -> None:
        super().__init__(24)
        self.a, self.b, self.c = conv(16, 8), conv(16, 16), conv(16, 24)

    def body(self, x: Tensor) -> Tensor:
        return torch.cat([self.a(x), self.b(x)], 1) + self.c(x)


@network(PICTURE)
class Depthwise(Classifier):
    def __init__(self) -> None:
        super().__init__(24)
        self.layers = nn.Sequential(conv(16, 16, groups=16), conv(16, 24, 1))

    def body(self, x: Tensor) -> Tensor:
        return self.layers(x)


@network(PICTURE)
class DepthwiseMultiplier(Classifier):
    def __init__(self) -> None:
        super().__init__(24)
        self.layers = nn.Sequential(conv(16, 32, groups=16), conv(32, 24, 1))

    def body(self, x: Tensor) -> Tensor:
        return self.layers(x)


@network(PICTURE)
class TwoGroups(Classifier):
    def __init__(self) -> None:
        super().__init__(24)
        self.layers = nn.Sequential(conv(16, 32, groups=2), conv(32, 24, 1))

    def body(self, x: Tensor) -> Tensor:
        return self.layers(x)


@network(PICTURE)
class ManyGroups(Classifier):
    def __init__(self) -> None:
        super().__init__(24)
        self.layers = nn.Sequential(conv(16, 32, 1), conv(32, 64, groups=16), conv(64, 24, 1))

    def body(self, x: Tensor) -> Tensor:
        return self.layers(x)


@network(PICTURE)
class ShuffledGroups(Classifier):
    """ShuffleNet v1: grouped convolutions with a channel shuffle between them."""

    def __init__(self) -> None:
        super().__init__(24)
        self.a, self.b = conv(16, 24, 1, groups=2), conv(24, 24, 1, groups=3)

    def body(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.b(x.reshape(-1, 3, 8, 8, 8).transpose(1, 2).reshape(x.shape))


@network(PICTURE)
class Transposed(Classifier):
    def __init__(self) -> None:
        super().__init__(12)
        self.up = nn.Sequential(nn.ConvTranspose2d(16, 20, 2, 2), nn.ReLU(), nn.Conv2d(20, 12, 1))

    def body(self, x: Tensor) -> Tensor:
        return self.up(x)


@network(PICTURE)
class TransposedGroups(Classifier):
    def __init__(self) -> None:
        super().__init__(48)
        self.two = nn.ConvTranspose2d(16, 16, 2, 2, groups=2)
        self.each = nn.ConvTranspose2d(16, 16, 2, 2, groups=16)
        self.many = nn.ConvTranspose2d(16, 48, 2, 2, groups=8)

    def body(self, x: Tensor) -> Tensor:
        return self.many(self.each(self.two(x)))


@network(PICTURE)
class Unet(Classifier):
    def __init__(self) -> None:
        super().__init__(8)
        self.down, self.up, self.join = (
            conv(16, 24, stride=2),
            nn.ConvTranspose2d(24, 16, 2, 2),
            conv(32, 8),
        )

    def body(self, x: Tensor) -> Tensor:
        return self.join(torch.cat([x, self.up(self.down(x))], 1))


@network(PICTURE)
class UpsampledPyramid(Classifier):
    def __init__(self) -> None:
        super().__init__(16)
        self.down, self.side = conv(16, 16, stride=2), conv(16, 16, 1)

    def body(self, x: Tensor) -> Tensor:
        return self.side(x) + functional.interpolate(self.down(x), scale_factor=2.0, mode="nearest")


@network(PICTURE)
class SqueezeExcite(Classifier):
    def __init__(self) -> None:
        super().__init__(16)
        self.squeeze, self.excite = nn.Conv2d(16, 8, 1), nn.Conv2d(8, 16, 1)

    def body(self, x: Tensor) -> Tensor:
        gate = self.excite(functional.relu(self.squeeze(functional.adaptive_avg_pool2d(x, 1))))
        return x * functional.hardsigmoid(gate)


@network(PICTURE)
class SqueezeExciteLinear(Classifier):
    """The gate is made by linear layers and brought back with a hard-coded view and expand."""

    def __init__(self) -> None:
        super().__init__(16)
        self.gate = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 16), nn.Sigmoid())

    def body(self, x: Tensor) -> Tensor:
        return x * self.gate(x.mean((2, 3))).view(-1, 16, 1, 1).expand(-1, 16, 8, 8)


@network(PICTURE)
class Flattened(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.hidden, self.out = conv(3, 16), nn.Linear(16 * 16, 24), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.flatten(functional.max_pool2d(self.conv(x), 2), 1)
        return self.out(torch.tanh(self.hidden(x)))


@network(PICTURE)
class HardCodedView(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = conv(3, 16), nn.Linear(16 * 64, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.conv(x).view(x.shape[0], 1024))


@network(PICTURE)
class Gated(Classifier):
    """A gated linear unit: the halves of a chunk meet again, entry by entry."""

    def __init__(self) -> None:
        super().__init__(12)
        self.wide = nn.Conv2d(16, 24, 1)

    def body(self, x: Tensor) -> Tensor:
        value, gate = self.wide(x).chunk(2, 1)
        return value * torch.sigmoid(gate)


@network(PICTURE)
class SplitParts(Classifier):
    """Unequal parts of a split go separate ways and are joined in another order."""

    def __init__(self) -> None:
        super().__init__(26)
        self.a, self.b = conv(6, 12), conv(10, 8)

    def body(self, x: Tensor) -> Tensor:
        first, second = x.split([6, 10], 1)
        return torch.cat([second[:, :6], self.b(second), self.a(first)], 1)


@network(PICTURE)
class CrossStage(Classifier):
    """Half passes by, half is filtered with a residual, as in cross-stage partial networks."""

    def __init__(self) -> None:
        super().__init__(24)
        self.a, self.b = conv(8, 8), conv(8, 8)

    def body(self, x: Tensor) -> Tensor:
        passed, filtered = x.chunk(2, 1)
        middle = filtered + self.a(filtered)
        return torch.cat([passed, middle, self.b(middle)], 1)


class _Shuffled(Classifier):
    """Three units as in ShuffleNet v2; how the channels are shuffled is the subclass's."""

    def __init__(self) -> None:
        super().__init__(16)
        self.units = nn.ModuleList(
            nn.Sequential(conv(8, 8, 1), conv(8, 8, groups=8), conv(8, 8, 1)) for _ in range(3)
        )

    def shuffle(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def body(self, x: Tensor) -> Tensor:
        for unit in self.units:
            passed, filtered = x.chunk(2, 1)
            x = self.shuffle(torch.cat([passed, unit(filtered)], 1))
        return x


@network(PICTURE)
class ShuffleByView(_Shuffled):
    def shuffle(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


@network(PICTURE)
class ShuffleByPermute(_Shuffled):
    def shuffle(self, x: Tensor) -> Tensor:
        return x.reshape(-1, 4, 4, 64).permute(0, 2, 1, 3).reshape(-1, 16, 8, 8)


@network(PICTURE)
class ShuffleByModule(_Shuffled):
    def __init__(self) -> None:
        super().__init__()
        self.module = nn.ChannelShuffle(2)

    def shuffle(self, x: Tensor) -> Tensor:
        return self.module(x)


@network(PICTURE)
class ShuffleByIndex(_Shuffled):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("order", torch.randperm(16, generator=torch.Generator().manual_seed(0)))

    def shuffle(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.order)


@network(PICTURE)
class EverySecondChannel(Classifier):
    def __init__(self) -> None:
        super().__init__(16)
        self.a, self.b = conv(8, 8), conv(8, 8)

    def body(self, x: Tensor) -> Tensor:
        return torch.cat([self.a(x[:, ::2]), self.b(x[:, 1::2])], 1)


@network(PICTURE)
class ShuffledHead(nn.Module):
    """The shuffled channels themselves are the output, in an order that must not change."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.a, self.b = conv(3, 16), conv(16, 8), conv(16, 8)
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.shuffle(torch.cat([self.a(x), self.b(x)], 1))
