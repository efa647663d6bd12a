"""Trouble in single operators and uses: shared weights, odd axes, norms, attention, computed constants."""

from __future__ import annotations

import torch
from awkward_parts import PICTURE, Classifier, conv, network
from torch import Tensor, nn
from torch.nn import functional


@network(PICTURE)
class SharedLayer(Classifier):
    """One convolution used twice, so that what it makes and what it reads are tied."""

    def __init__(self) -> None:
        super().__init__(16)
        self.again = nn.Conv2d(16, 16, 3, padding=1)

    def body(self, x: Tensor) -> Tensor:
        return self.again(functional.relu(self.again(x)))


@network(PICTURE, PICTURE)
class Siamese(nn.Module):
    """The same layers for two inputs, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.a, self.b = (
            nn.Sequential(conv(3, 16), conv(16, 12)),
            nn.Linear(12, 3),
            nn.Linear(24, 2),
        )

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        x, y = self.features(x).mean((2, 3)), self.features(y).mean((2, 3))
        return self.a(x * y), self.b(torch.cat([x, y], 1))


@network(PICTURE)
class TiedDecoder(nn.Module):
    """A linear layer and its transpose share one weight, whose channels stay."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.encode, self.decode = (
            conv(3, 16),
            conv(16, 12),
            nn.Linear(12, 8),
            nn.Linear(12, 4),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x)).mean((2, 3))
        return self.decode(functional.linear(self.encode(x), self.encode.weight.t()))


@network(PICTURE)
class ParametricActivation(Classifier):
    def __init__(self) -> None:
        super().__init__(16)
        self.each, self.conv, self.one = nn.PReLU(16), nn.Conv2d(16, 16, 1), nn.PReLU()

    def body(self, x: Tensor) -> Tensor:
        return self.one(self.conv(self.each(x)))


@network(PICTURE)
class LayerScale(Classifier):
    """A stored factor and a stored term for each channel, in two shapes."""

    def __init__(self) -> None:
        super().__init__(16)
        self.conv = nn.Conv2d(16, 16, 1)
        self.factor, self.term = nn.Parameter(torch.rand(16, 1, 1)), nn.Parameter(torch.rand(1, 16, 1, 1))

    def body(self, x: Tensor) -> Tensor:
        return x + self.factor * self.conv(x) + self.term


@network(PICTURE)
class GroupNormalised(Classifier):
    def __init__(self) -> None:
        super().__init__(24)
        self.conv, self.norm = nn.Conv2d(16, 24, 3), nn.GroupNorm(6, 24)

    def body(self, x: Tensor) -> Tensor:
        return functional.relu(self.norm(self.conv(x)))


@network(PICTURE)
class InstanceNormalised(Classifier):
    def __init__(self) -> None:
        super().__init__(24)
        self.conv, self.norm = nn.Conv2d(16, 24, 3), nn.InstanceNorm2d(24, affine=True)

    def body(self, x: Tensor) -> Tensor:
        return functional.relu(self.norm(self.conv(x)))


@network(PICTURE)
class LastAxis(Classifier):
    """Channels go to the last axis for linear layers, as in ConvNeXt; its layer norm needs all of them."""

    def __init__(self) -> None:
        super().__init__(16)
        self.norm, self.wide, self.narrow = nn.LayerNorm(16), nn.Linear(16, 32), nn.Linear(32, 16)

    def body(self, x: Tensor) -> Tensor:
        y = self.norm(x.permute(0, 2, 3, 1))
        return x + self.narrow(functional.gelu(self.wide(y))).permute(0, 3, 1, 2)


@network(PICTURE)
class SpatialAttention(Classifier):
    """A mask of one channel, computed from the maximum over all channels."""

    def __init__(self) -> None:
        super().__init__(12)
        self.mask, self.conv = nn.Conv2d(2, 1, 3, padding=1), conv(16, 12)

    def body(self, x: Tensor) -> Tensor:
        found = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return self.conv(x) * torch.sigmoid(self.mask(found))


@network((6, 12))
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


@network(PICTURE)
class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = conv(3, 16), conv(16, 8)
        self.lstm, self.out = nn.LSTM(8, 10, batch_first=True), nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x)).mean(3).transpose(1, 2)
        return self.out(self.lstm(x)[0][:, -1])


@network((10, 12))
class MixedTokens(nn.Module):
    """Tokens folded into the batch for a linear layer, and unfolded again."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(12, 24), nn.Linear(24, 16), nn.Linear(160, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.a(x)).reshape(-1, 24)
        y = self.b(y).reshape(-1, 10, 16)
        return self.c(y.flatten(1))


@network((4, 32))
class Sequence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv1d(4, 16, 5), nn.Conv1d(16, 16, 3, padding=1, groups=16)
        self.norm, self.c = nn.BatchNorm1d(16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool1d(functional.relu(self.a(x)), 2)
        return self.c(functional.adaptive_avg_pool1d(self.norm(self.b(x)), 1).squeeze(-1))


@network((2, 6, 6, 6))
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


@network(PICTURE)
class PixelShuffled(Classifier):
    def __init__(self) -> None:
        super().__init__(6)
        self.wide, self.narrow, self.up = nn.Conv2d(16, 24, 3), nn.Conv2d(24, 6, 1), nn.PixelShuffle(2)

    def body(self, x: Tensor) -> Tensor:
        return self.narrow(functional.pixel_unshuffle(self.up(self.wide(x)), 2))


@network(PICTURE)
class PictureAndFeatures(Classifier):
    """The network's input is joined with features."""

    def __init__(self) -> None:
        super().__init__(8)
        self.join = conv(19, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.join(torch.cat([self.first(x), x], 1)).mean((2, 3)))


@network(PICTURE)
class PickedChannel(Classifier):
    """One channel is read by its number; so all of that tensor's channels keep theirs."""

    def __init__(self) -> None:
        super().__init__(12)
        self.conv = conv(16, 12)

    def body(self, x: Tensor) -> Tensor:
        return self.conv(x) * x[:, 3].unsqueeze(1)


@network(PICTURE)
class StandardisedWeight(Classifier):
    """A convolution whose weight is computed in the forward pass."""

    def __init__(self) -> None:
        super().__init__(12)
        self.weight, self.conv = nn.Parameter(torch.randn(16, 16, 3, 3)), conv(16, 12)

    def body(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self.conv(functional.conv2d(x, weight))


@network(PICTURE)
class SpatialSoftmax(Classifier):
    def __init__(self) -> None:
        super().__init__(12)
        self.conv = conv(16, 12)

    def body(self, x: Tensor) -> Tensor:
        return self.conv(x * torch.softmax(x.flatten(2), -1).view(-1, 16, 8, 8))


@network(PICTURE)
class Auxiliary(Classifier):
    """Two outputs, one of them features in the middle."""

    def __init__(self) -> None:
        super().__init__(8)
        self.second, self.third = conv(16, 12), conv(12, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        middle = self.second(self.first(x))
        return middle, self.head(self.third(middle).mean((2, 3)))


@network(PICTURE)
class GatedPicture(Classifier):
    """A gate of one channel is spread over the network's input, whose channels no layer makes."""

    def __init__(self) -> None:
        super().__init__(16)
        self.gate = nn.Conv2d(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.first(x * torch.sigmoid(self.gate(x))).mean((2, 3)))


@network((12,))
class Maxout(nn.Module):
    """Pooling in one dimension takes a matrix for one sample without a batch, and so its channels for a signal."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow, self.out = nn.Linear(12, 32), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(functional.relu(self.narrow(functional.max_pool1d(self.wide(x), 2))))


@network(PICTURE)
class ComputedBias(Classifier):
    def __init__(self) -> None:
        super().__init__(12)
        self.middle, self.gain, self.conv = nn.Conv2d(16, 16, 1), nn.Parameter(torch.randn(16)), conv(16, 12)

    def body(self, x: Tensor) -> Tensor:
        return self.conv(functional.conv2d(x, self.middle.weight, self.gain * 2))


@network(PICTURE)
class ChannelsInTheBatch(Classifier):
    """Every channel is treated as a sample of its own."""

    def __init__(self) -> None:
        super().__init__(12)
        self.hidden, self.out = nn.Linear(16, 12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.first(x).reshape(x.shape[0] * 16, 64)
        return self.out(functional.relu(self.hidden(rows.mean(1).reshape(x.shape[0], 16))))


@network((3, 8))
class ShuffledBeforeLastAxis(nn.Module):
    """A layer that works along another axis than the shuffled channels': they arrive in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv1d(3, 16, 1), nn.Linear(8, 6)
        self.hidden, self.out = nn.Linear(96, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x).view(-1, 2, 8, 8).transpose(1, 2).reshape(-1, 16, 8)
        return self.out(functional.relu(self.hidden(self.last(y).flatten(1))))


@network(PICTURE)
class OtherNames(Classifier):
    """Operators that other ones spell out: gates, stacks, and second names of joins, slices and movements."""

    def __init__(self) -> None:
        super().__init__(24)
        self.gated, self.twin, self.hidden = nn.Conv2d(16, 24, 1), nn.Conv2d(16, 12, 1), nn.Linear(12, 12)

    def body(self, x: Tensor) -> Tensor:
        both = torch.stack([functional.glu(self.gated(x), 1), self.twin(x)], 1).sum(1)
        last = self.hidden(both.moveaxis(1, -1)).swapdims(1, 3)
        return torch.concat(
            [last.narrow(1, 0, 8), last[:, [8, 10, 9, 11]], both.tile(1, 1, 1).view_as(last)], 1
        )


@network(PICTURE)
class OtherAxes(Classifier):
    """Operators that work along the positions, some of which give several results."""

    def __init__(self) -> None:
        super().__init__(16)
        self.gate = nn.Linear(16, 16)

    def body(self, x: Tensor) -> Tensor:
        gate = self.gate(functional.adaptive_max_pool2d(x, 1).flatten(1)).sigmoid()
        x = (x * gate[:, :, None, None].expand_as(x)).roll((1, 2), (2, 3))
        spread = torch.std_mean(x, 2, keepdim=True)[0] + x.max(3, keepdim=True).values
        return functional.normalize(x, dim=2) + spread + x.cumsum(3)


@network(PICTURE)
class Patches(Classifier):
    """Patches of a picture weighed pixel by pixel (involution) and laid back, and a picture read at other places."""

    def __init__(self) -> None:
        super().__init__(16)
        self.kernel = nn.Conv2d(16, 36, 1)
        self.shift = nn.Parameter(torch.tensor([[1.0, 0.1, 0.2], [0.0, 0.9, 0.1]]))

    def body(self, x: Tensor) -> Tensor:
        patches = functional.unfold(x, 3, padding=1).view(-1, 4, 4, 9, 64)
        weighed = (patches * self.kernel(x).view(-1, 4, 1, 9, 64)).flatten(1, 3)
        places = functional.affine_grid(self.shift[None], [1, 1, 8, 8], align_corners=False)
        laid = functional.fold(weighed, (8, 8), 3, padding=1)
        return functional.grid_sample(laid, places.expand(x.shape[0], 8, 8, 2), align_corners=False)
