"""Tiny networks with one structural trouble each, for whatever rewrites a graph.

`NETWORKS[name]()` returns the module and its example inputs, with a batch of two.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Example = tuple[nn.Module, tuple[Tensor, ...]]
NETWORKS: dict[str, Callable[[], Example]] = {}


def _network(*shapes: tuple[int, ...]) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Put the module class on the list; `shapes` are those of its inputs, without the batch."""

    def add(cls: type[nn.Module]) -> type[nn.Module]:
        name = "".join("_" + letter.lower() if letter.isupper() else letter for letter in cls.__name__)
        NETWORKS[name.strip("_")] = lambda: (cls(), tuple(torch.randn(2, *shape) for shape in shapes))
        return cls

    return add


PICTURE = (3, 8, 8)


def _conv(inputs: int, outputs: int, kernel: int = 3, *, groups: int = 1, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class _Classifier(nn.Module):
    """A body whose features are pooled and classified."""

    def __init__(self, features: int, classes: int = 4) -> None:
        super().__init__()
        self.first = _conv(3, 16)
        self.head = nn.Linear(features, classes)

    def body(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.first(x)).mean((2, 3)))


@_network(PICTURE)
class Residual(_Classifier):
    def __init__(self) -> None:
        super().__init__(16)
        self.inner = nn.Sequential(_conv(16, 12), nn.Conv2d(12, 16, 3, padding=1), nn.BatchNorm2d(16))

    def body(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.inner(x))


@_network(PICTURE)
class PreActivation(_Classifier):
    """In-place activations before the layers, and a sum that reads what was there before."""

    def __init__(self) -> None:
        super().__init__(16)
        self.norm, self.conv = nn.BatchNorm2d(16), nn.Conv2d(16, 16, 3, padding=1)

    def body(self, x: Tensor) -> Tensor:
        active = functional.relu_(self.norm(x))
        return x.add_(self.conv(active))


@_network(PICTURE)
class PaddedShortcut(_Classifier):
    """The shortcut without weights of He et al. (2015): every second pixel, zeros for the new channels."""

    def __init__(self) -> None:
        super().__init__(24)
        self.conv = nn.Conv2d(16, 24, 3, 2, 1)

    def body(self, x: Tensor) -> Tensor:
        return self.conv(x) + functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))


@_network(PICTURE)
class Dense(_Classifier):
    """Every layer reads all before it, normalised together."""

    def __init__(self) -> None:
        super().__init__(32)
        self.norm1, self.conv1 = nn.BatchNorm2d(16), nn.Conv2d(16, 8, 3, padding=1)
        self.norm2, self.conv2 = nn.BatchNorm2d(24), nn.Conv2d(24, 8, 3, padding=1)

    def body(self, x: Tensor) -> Tensor:
        y = self.conv1(functional.relu(self.norm1(x)))
        z = self.conv2(functional.relu(self.norm2(torch.cat([x, y], 1))))
        return torch.cat([x, y, z], 1)


@_network(PICTURE)
class Inception(_Classifier):
    def __init__(self) -> None:
        super().__init__(36)
        self.a, self.b, self.c = _conv(16, 8, 1), _conv(16, 12), _conv(16, 16, 5)

    def body(self, x: Tensor) -> Tensor:
        pooled = functional.max_pool2d(x, 3, 1, 1)
        return torch.cat([self.a(x), self.b(x), self.c(pooled)], 1)


@_network(PICTURE)
class SumOfConcatenations(_Classifier):
    def __init__(self) -> None:
        super().__init__(24)
        self.a, self.b, self.c = _conv(16, 8), _conv(16, 16), _conv(16, 24)

    def body(self, x: Tensor) -> Tensor:
        return torch.cat([self.a(x), self.b(x)], 1) + self.c(x)


@_network(PICTURE)
class Depthwise(_Classifier):
    def __init__(self) -> None:
        super().__init__(24)
        self.layers = nn.Sequential(_conv(16, 16, groups=16), _conv(16, 24, 1))

    def body(self, x: Tensor) -> Tensor:
        return self.layers(x)


@_network(PICTURE)
class DepthwiseMultiplier(_Classifier):
    def __init__(self) -> None:
        super().__init__(24)
        self.layers = nn.Sequential(_conv(16, 32, groups=16), _conv(32, 24, 1))

    def body(self, x: Tensor) -> Tensor:
        return self.layers(x)


@_network(PICTURE)
class TwoGroups(_Classifier):
    def __init__(self) -> None:
        super().__init__(24)
        self.layers = nn.Sequential(_conv(16, 32, groups=2), _conv(32, 24, 1))

    def body(self, x: Tensor) -> Tensor:
        return self.layers(x)


@_network(PICTURE)
class ManyGroups(_Classifier):
    def __init__(self) -> None:
        super().__init__(24)
        self.layers = nn.Sequential(_conv(16, 32, 1), _conv(32, 64, groups=16), _conv(64, 24, 1))

    def body(self, x: Tensor) -> Tensor:
        return self.layers(x)


@_network(PICTURE)
class ShuffledGroups(_Classifier):
    """ShuffleNet v1: grouped convolutions with a channel shuffle between them."""

    def __init__(self) -> None:
        super().__init__(24)
        self.a, self.b = _conv(16, 24, 1, groups=2), _conv(24, 24, 1, groups=3)

    def body(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.b(x.reshape(-1, 3, 8, 8, 8).transpose(1, 2).reshape(x.shape))


@_network(PICTURE)
class Transposed(_Classifier):
    def __init__(self) -> None:
        super().__init__(12)
        self.up = nn.Sequential(nn.ConvTranspose2d(16, 20, 2, 2), nn.ReLU(), nn.Conv2d(20, 12, 1))

    def body(self, x: Tensor) -> Tensor:
        return self.up(x)


@_network(PICTURE)
class TransposedGroups(_Classifier):
    def __init__(self) -> None:
        super().__init__(48)
        self.two = nn.ConvTranspose2d(16, 16, 2, 2, groups=2)
        self.each = nn.ConvTranspose2d(16, 16, 2, 2, groups=16)
        self.many = nn.ConvTranspose2d(16, 48, 2, 2, groups=8)

    def body(self, x: Tensor) -> Tensor:
        return self.many(self.each(self.two(x)))


@_network(PICTURE)
class Unet(_Classifier):
    def __init__(self) -> None:
        super().__init__(8)
        self.down, self.up, self.join = (
            _conv(16, 24, stride=2),
            nn.ConvTranspose2d(24, 16, 2, 2),
            _conv(32, 8),
        )

    def body(self, x: Tensor) -> Tensor:
        return self.join(torch.cat([x, self.up(self.down(x))], 1))


@_network(PICTURE)
class UpsampledPyramid(_Classifier):
    def __init__(self) -> None:
        super().__init__(16)
        self.down, self.side = _conv(16, 16, stride=2), _conv(16, 16, 1)

    def body(self, x: Tensor) -> Tensor:
        return self.side(x) + functional.interpolate(self.down(x), scale_factor=2.0, mode="nearest")


@_network(PICTURE)
class SqueezeExcite(_Classifier):
    def __init__(self) -> None:
        super().__init__(16)
        self.squeeze, self.excite = nn.Conv2d(16, 8, 1), nn.Conv2d(8, 16, 1)

    def body(self, x: Tensor) -> Tensor:
        gate = self.excite(functional.relu(self.squeeze(functional.adaptive_avg_pool2d(x, 1))))
        return x * functional.hardsigmoid(gate)


@_network(PICTURE)
class SqueezeExciteLinear(_Classifier):
    """The gate is made by linear layers and brought back with a hard-coded view and expand."""

    def __init__(self) -> None:
        super().__init__(16)
        self.gate = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 16), nn.Sigmoid())

    def body(self, x: Tensor) -> Tensor:
        return x * self.gate(x.mean((2, 3))).view(-1, 16, 1, 1).expand(-1, 16, 8, 8)


@_network(PICTURE)
class Flattened(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.hidden, self.out = _conv(3, 16), nn.Linear(16 * 16, 24), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.flatten(functional.max_pool2d(self.conv(x), 2), 1)
        return self.out(torch.tanh(self.hidden(x)))


@_network(PICTURE)
class HardCodedView(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = _conv(3, 16), nn.Linear(16 * 64, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.conv(x).view(x.shape[0], 1024))


@_network(PICTURE)
class Gated(_Classifier):
    """A gated linear unit: the halves of a chunk meet again, entry by entry."""

    def __init__(self) -> None:
        super().__init__(12)
        self.wide = nn.Conv2d(16, 24, 1)

    def body(self, x: Tensor) -> Tensor:
        value, gate = self.wide(x).chunk(2, 1)
        return value * torch.sigmoid(gate)


@_network(PICTURE)
class SplitParts(_Classifier):
    """Unequal parts of a split go separate ways and are joined in another order."""

    def __init__(self) -> None:
        super().__init__(26)
        self.a, self.b = _conv(6, 12), _conv(10, 8)

    def body(self, x: Tensor) -> Tensor:
        first, second = x.split([6, 10], 1)
        return torch.cat([second[:, :6], self.b(second), self.a(first)], 1)


@_network(PICTURE)
class CrossStage(_Classifier):
    """Half passes by, half is filtered with a residual, as in cross-stage partial networks."""

    def __init__(self) -> None:
        super().__init__(24)
        self.a, self.b = _conv(8, 8), _conv(8, 8)

    def body(self, x: Tensor) -> Tensor:
        passed, filtered = x.chunk(2, 1)
        middle = filtered + self.a(filtered)
        return torch.cat([passed, middle, self.b(middle)], 1)


class _Shuffled(_Classifier):
    """Three units as in ShuffleNet v2; how the channels are shuffled is the subclass's."""

    def __init__(self) -> None:
        super().__init__(16)
        self.units = nn.ModuleList(
            nn.Sequential(_conv(8, 8, 1), _conv(8, 8, groups=8), _conv(8, 8, 1)) for _ in range(3)
        )

    def shuffle(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def body(self, x: Tensor) -> Tensor:
        for unit in self.units:
            passed, filtered = x.chunk(2, 1)
            x = self.shuffle(torch.cat([passed, unit(filtered)], 1))
        return x


@_network(PICTURE)
class ShuffleByView(_Shuffled):
    def shuffle(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


@_network(PICTURE)
class ShuffleByPermute(_Shuffled):
    def shuffle(self, x: Tensor) -> Tensor:
        return x.reshape(-1, 4, 4, 64).permute(0, 2, 1, 3).reshape(-1, 16, 8, 8)


@_network(PICTURE)
class ShuffleByModule(_Shuffled):
    def __init__(self) -> None:
        super().__init__()
        self.module = nn.ChannelShuffle(2)

    def shuffle(self, x: Tensor) -> Tensor:
        return self.module(x)


@_network(PICTURE)
class ShuffleByIndex(_Shuffled):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("order", torch.randperm(16, generator=torch.Generator().manual_seed(0)))

    def shuffle(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.order)


@_network(PICTURE)
class EverySecondChannel(_Classifier):
    def __init__(self) -> None:
        super().__init__(16)
        self.a, self.b = _conv(8, 8), _conv(8, 8)

    def body(self, x: Tensor) -> Tensor:
        return torch.cat([self.a(x[:, ::2]), self.b(x[:, 1::2])], 1)


@_network(PICTURE)
class ShuffledHead(nn.Module):
    """The shuffled channels themselves are the output, in an order that must not change."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.a, self.b = _conv(3, 16), _conv(16, 8), _conv(16, 8)
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.shuffle(torch.cat([self.a(x), self.b(x)], 1))


@_network(PICTURE)
class SharedLayer(_Classifier):
    """One convolution used twice, so that what it makes and what it reads are tied."""

    def __init__(self) -> None:
        super().__init__(16)
        self.again = nn.Conv2d(16, 16, 3, padding=1)

    def body(self, x: Tensor) -> Tensor:
        return self.again(functional.relu(self.again(x)))


@_network(PICTURE, PICTURE)
class Siamese(nn.Module):
    """The same layers for two inputs, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.a, self.b = (
            nn.Sequential(_conv(3, 16), _conv(16, 12)),
            nn.Linear(12, 3),
            nn.Linear(24, 2),
        )

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        x, y = self.features(x).mean((2, 3)), self.features(y).mean((2, 3))
        return self.a(x * y), self.b(torch.cat([x, y], 1))


@_network(PICTURE)
class TiedDecoder(nn.Module):
    """A linear layer and its transpose share one weight, whose channels stay."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.encode, self.decode = (
            _conv(3, 16),
            _conv(16, 12),
            nn.Linear(12, 8),
            nn.Linear(12, 4),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x)).mean((2, 3))
        return self.decode(functional.linear(self.encode(x), self.encode.weight.t()))


@_network(PICTURE)
class ParametricActivation(_Classifier):
    def __init__(self) -> None:
        super().__init__(16)
        self.each, self.conv, self.one = nn.PReLU(16), nn.Conv2d(16, 16, 1), nn.PReLU()

    def body(self, x: Tensor) -> Tensor:
        return self.one(self.conv(self.each(x)))


@_network(PICTURE)
class LayerScale(_Classifier):
    """A stored factor and a stored term for each channel, in two shapes."""

    def __init__(self) -> None:
        super().__init__(16)
        self.conv = nn.Conv2d(16, 16, 1)
        self.factor, self.term = nn.Parameter(torch.rand(16, 1, 1)), nn.Parameter(torch.rand(1, 16, 1, 1))

    def body(self, x: Tensor) -> Tensor:
        return x + self.factor * self.conv(x) + self.term


@_network(PICTURE)
class GroupNormalised(_Classifier):
    def __init__(self) -> None:
        super().__init__(24)
        self.conv, self.norm = nn.Conv2d(16, 24, 3), nn.GroupNorm(6, 24)

    def body(self, x: Tensor) -> Tensor:
        return functional.relu(self.norm(self.conv(x)))


@_network(PICTURE)
class InstanceNormalised(_Classifier):
    def __init__(self) -> None:
        super().__init__(24)
        self.conv, self.norm = nn.Conv2d(16, 24, 3), nn.InstanceNorm2d(24, affine=True)

    def body(self, x: Tensor) -> Tensor:
        return functional.relu(self.norm(self.conv(x)))


@_network(PICTURE)
class LastAxis(_Classifier):
    """Channels go to the last axis for linear layers, as in ConvNeXt; its layer norm needs all of them."""

    def __init__(self) -> None:
        super().__init__(16)
        self.norm, self.wide, self.narrow = nn.LayerNorm(16), nn.Linear(16, 32), nn.Linear(32, 16)

    def body(self, x: Tensor) -> Tensor:
        y = self.norm(x.permute(0, 2, 3, 1))
        return x + self.narrow(functional.gelu(self.wide(y))).permute(0, 3, 1, 2)


@_network(PICTURE)
class SpatialAttention(_Classifier):
    """A mask of one channel, computed from the maximum over all channels."""

    def __init__(self) -> None:
        super().__init__(12)
        self.mask, self.conv = nn.Conv2d(2, 1, 3, padding=1), _conv(16, 12)

    def body(self, x: Tensor) -> Tensor:
        found = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return self.conv(x) * torch.sigmoid(self.mask(found))


@_network((6, 12))
class Transformer(nn.Module):
    """Attention, whose heads stay, and a multilayer perceptron, whose hidden units can go."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(12, 36), nn.Linear(12, 12)
        self.norm, self.wide, self.narrow, self.head = (
            nn.LayerNorm(12),
            nn.Linear(12, 24),
            nn.Linear(24, 12),
            nn.Linear(12, 4),
        )

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).view(-1, 6, 3, 2, 6).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(-1, 6, 12)
        x = x + self.out(mixed)
        x = x + self.narrow(functional.gelu(self.wide(self.norm(x))))
        return self.head(x.mean(1))


@_network(PICTURE)
class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = _conv(3, 16), _conv(16, 8)
        self.lstm, self.out = nn.LSTM(8, 10, batch_first=True), nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x)).mean(3).transpose(1, 2)
        return self.out(self.lstm(x)[0][:, -1])


@_network((10, 12))
class MixedTokens(nn.Module):
    """Tokens folded into the batch for a linear layer, and unfolded again."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(12, 24), nn.Linear(24, 16), nn.Linear(160, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.a(x)).reshape(-1, 24)
        y = self.b(y).reshape(-1, 10, 16)
        return self.c(y.flatten(1))


@_network((4, 32))
class Sequence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv1d(4, 16, 5), nn.Conv1d(16, 16, 3, padding=1, groups=16)
        self.norm, self.c = nn.BatchNorm1d(16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool1d(functional.relu(self.a(x)), 2)
        return self.c(functional.adaptive_avg_pool1d(self.norm(self.b(x)), 1).squeeze(-1))


@_network((2, 6, 6, 6))
class Volume(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b, self.c = (
            nn.Conv3d(2, 12, 3),
            nn.BatchNorm3d(12),
            nn.Conv3d(12, 8, 3),
            nn.Linear(64, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(functional.relu(self.norm(self.a(x)))).flatten(1))


@_network(PICTURE)
class PixelShuffled(_Classifier):
    def __init__(self) -> None:
        super().__init__(6)
        self.wide, self.narrow, self.up = nn.Conv2d(16, 24, 3), nn.Conv2d(24, 6, 1), nn.PixelShuffle(2)

    def body(self, x: Tensor) -> Tensor:
        return self.narrow(functional.pixel_unshuffle(self.up(self.wide(x)), 2))


@_network(PICTURE)
class PictureAndFeatures(_Classifier):
    """The network's input is joined with features."""

    def __init__(self) -> None:
        super().__init__(8)
        self.join = _conv(19, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.join(torch.cat([self.first(x), x], 1)).mean((2, 3)))


@_network(PICTURE)
class PickedChannel(_Classifier):
    """One channel is read by its number; so all of that tensor's channels keep theirs."""

    def __init__(self) -> None:
        super().__init__(12)
        self.conv = _conv(16, 12)

    def body(self, x: Tensor) -> Tensor:
        return self.conv(x) * x[:, 3].unsqueeze(1)


@_network(PICTURE)
class StandardisedWeight(_Classifier):
    """A convolution whose weight is computed in the forward pass."""

    def __init__(self) -> None:
        super().__init__(12)
        self.weight, self.conv = nn.Parameter(torch.randn(16, 16, 3, 3)), _conv(16, 12)

    def body(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self.conv(functional.conv2d(x, weight))


@_network(PICTURE)
class SpatialSoftmax(_Classifier):
    def __init__(self) -> None:
        super().__init__(12)
        self.conv = _conv(16, 12)

    def body(self, x: Tensor) -> Tensor:
        return self.conv(x * torch.softmax(x.flatten(2), -1).view(-1, 16, 8, 8))


@_network(PICTURE)
class Auxiliary(_Classifier):
    """Two outputs, one of them features in the middle."""

    def __init__(self) -> None:
        super().__init__(8)
        self.second, self.third = _conv(16, 12), _conv(12, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        middle = self.second(self.first(x))
        return middle, self.head(self.third(middle).mean((2, 3)))


@_network(PICTURE)
class GatedPicture(_Classifier):
    """A gate of one channel is spread over the network's input, whose channels no layer makes."""

    def __init__(self) -> None:
        super().__init__(16)
        self.gate = nn.Conv2d(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.first(x * torch.sigmoid(self.gate(x))).mean((2, 3)))


@_network((12,))
class Maxout(nn.Module):
    """Pooling in one dimension takes a matrix for one sample without a batch, and so its channels for a signal."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow, self.out = nn.Linear(12, 32), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(functional.relu(self.narrow(functional.max_pool1d(self.wide(x), 2))))


@_network(PICTURE)
class ComputedBias(_Classifier):
    def __init__(self) -> None:
        super().__init__(12)
        self.middle, self.gain, self.conv = nn.Conv2d(16, 16, 1), nn.Parameter(torch.randn(16)), _conv(16, 12)

    def body(self, x: Tensor) -> Tensor:
        return self.conv(functional.conv2d(x, self.middle.weight, self.gain * 2))


@_network(PICTURE)
class ChannelsInTheBatch(_Classifier):
    """Every channel is treated as a sample of its own."""

    def __init__(self) -> None:
        super().__init__(12)
        self.hidden, self.out = nn.Linear(16, 12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.first(x).reshape(x.shape[0] * 16, 64)
        return self.out(functional.relu(self.hidden(rows.mean(1).reshape(x.shape[0], 16))))


@_network((3, 8))
class ShuffledBeforeLastAxis(nn.Module):
    """A layer that works along another axis than the shuffled channels': they arrive in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv1d(3, 16, 1), nn.Linear(8, 6)
        self.hidden, self.out = nn.Linear(96, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x).view(-1, 2, 8, 8).transpose(1, 2).reshape(-1, 16, 8)
        return self.out(functional.relu(self.hidden(self.last(y).flatten(1))))
