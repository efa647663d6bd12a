"""Trouble with stored tensors: layers written as products, values that are rearranged before use, recurrence."""

from __future__ import annotations

import torch
from awkward_parts import PICTURE, Classifier, conv, network
from torch import Tensor, nn
from torch.nn import functional


@network(PICTURE)
class ReshapedScale(Classifier):
    """A factor and a term for each channel, stored as vectors and brought into shape in the forward."""

    def __init__(self) -> None:
        super().__init__(16)
        self.conv = nn.Conv2d(16, 16, 1)
        self.factor, self.term = nn.Parameter(torch.rand(16)), nn.Parameter(torch.rand(16))

    def body(self, x: Tensor) -> Tensor:
        return x + self.factor.view(1, -1, 1, 1) * self.conv(x) + self.term[:, None, None].expand(16, 8, 8)


@network((12,))
class LayersAsProducts(nn.Module):
    """addmm and mm with transposed weights, and a product with a stored matrix that is not transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.bias = nn.Parameter(torch.randn(20, 12)), nn.Parameter(torch.randn(20))
        self.second, self.third = nn.Parameter(torch.randn(16, 20)), nn.Parameter(torch.randn(16, 8))
        self.out = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(torch.addmm(self.bias, x, self.first.t()))
        x = functional.relu(torch.mm(x, self.second.t()))
        return self.out(functional.relu(x @ self.third))


@network((3, 8))
class ExpertProducts(nn.Module):
    """Three experts in one product, each with a matrix and a bias of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.matrices, self.bias = nn.Parameter(torch.randn(3, 16, 8)), nn.Parameter(torch.randn(3, 1, 8))
        self.out = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        rows = functional.relu(self.first(x)).transpose(0, 1)
        return self.out(torch.baddbmm(self.bias, rows, self.matrices).mean(0))


@network((6,))
class Embedded(nn.Module):
    """Words are looked up and read by a layer; another layer's outputs are added to them first."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.kinds = nn.Embedding(20, 16), nn.Linear(1, 16)
        self.hidden, self.out = nn.Linear(16, 12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        words = self.words((x.abs() * 7).long() % 20) + self.kinds(x.unsqueeze(-1))
        return self.out(functional.relu(self.hidden(words)).mean(1))


@network((5, 6))
class BothWays(nn.Module):
    """A recurrent layer of two levels in both directions, all of one width."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 16)
        self.gru = nn.GRU(16, 8, num_layers=2, batch_first=True, bidirectional=True)
        self.hidden, self.out = nn.Linear(16, 12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x, _ = self.gru(functional.relu(self.first(x)))
        return self.out(functional.relu(self.hidden(x[:, -1])))


@network((3, 6))
class StepByStep(nn.Module):
    """Recurrent cells, one step after the other, and a recurrent layer that begins with a state made by a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.start = nn.Linear(6, 16), nn.Linear(6, 8)
        self.cell, self.rnn = nn.LSTMCell(16, 8), nn.GRU(16, 8, batch_first=True)
        self.hidden, self.out = nn.Linear(8, 12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        steps, state = functional.relu(self.first(x)), self.start(x[:, 0])
        made, _ = self.rnn(steps, state.unsqueeze(0))
        long, short = made[:, -1], state
        for step in range(3):
            long, short = self.cell(steps[:, step], (long, short))
        return self.out(functional.relu(self.hidden(long)))


@network((5, 6))
class LastStates(nn.Module):
    """A recurrent layer of two levels that begins with stored states, and whose last states alone are read."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 16)
        self.lstm = nn.LSTM(16, 8, num_layers=2, batch_first=True)
        self.begin = nn.Parameter(torch.randn(2, 1, 8))
        self.out = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        begin = self.begin.expand(-1, x.shape[0], -1).contiguous()
        _, (short, long) = self.lstm(functional.relu(self.first(x)), (begin, torch.zeros_like(begin)))
        return self.out(torch.cat((short[0], short[-1], long[-1]), 1))


@network((5, 6))
class Projected(nn.Module):
    """A recurrent layer with states of another width than its gates: it keeps both."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 16)
        self.lstm, self.out = nn.LSTM(16, 8, batch_first=True, proj_size=5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(functional.relu(self.first(x)))[0][:, -1])


@network((3, 6), (8,))
class CalledWithAState(nn.Module):
    """One piece of a sequence, whose state comes in and goes out: it keeps its width, what it reads does not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.gru, self.out = nn.Linear(6, 16), nn.GRU(16, 8, batch_first=True), nn.Linear(8, 4)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        steps, state = self.gru(functional.relu(self.first(x)), state.unsqueeze(0))
        return self.out(steps[:, -1]), state.squeeze(0)


@network((6,))
class OnlyEmbedded(nn.Module):
    """Channels that are looked up, and that no other layer makes."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(20, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.words((x.abs() * 7).long() % 20).mean(1))


@network(PICTURE)
class OneGroup(Classifier):
    """A group norm over all channels at once keeps them."""

    def __init__(self) -> None:
        super().__init__(12)
        self.norm, self.conv = nn.GroupNorm(1, 16), conv(16, 12)

    def body(self, x: Tensor) -> Tensor:
        return self.conv(self.norm(x))


@network(PICTURE)
class OddGroups(Classifier):
    """Group counts that two does not divide, more outputs than inputs, and few groups of one input."""

    def __init__(self) -> None:
        super().__init__(24)
        self.three, self.five = conv(15, 30, groups=3), conv(30, 20, groups=5)
        self.first_five, self.wide = conv(16, 15, 1), nn.Conv2d(20, 4, 1)
        self.each, self.last = nn.Conv2d(4, 12, 3, padding=1, groups=4), conv(12, 24, 1)

    def body(self, x: Tensor) -> Tensor:
        return self.last(self.each(self.wide(self.five(self.three(self.first_five(x))))))


@network(PICTURE)
class TransposedOdd(Classifier):
    """Transposed convolutions in three groups, and with several outputs for each input."""

    def __init__(self) -> None:
        super().__init__(24)
        self.wide = conv(16, 12, 1)
        self.three = nn.ConvTranspose2d(12, 18, 2, 2, groups=3)
        self.each = nn.ConvTranspose2d(18, 36, 3, 1, 1, groups=18)
        self.last = conv(36, 24, 1)

    def body(self, x: Tensor) -> Tensor:
        return self.last(self.each(self.three(self.wide(x))))


@network(PICTURE)
class SplitAttention(Classifier):
    """Channels in two branches of one grouped convolution are weighed against each other and added (ResNeSt)."""

    def __init__(self) -> None:
        super().__init__(16)
        self.radix, self.weigh = conv(16, 32, groups=2), nn.Linear(16, 32)

    def body(self, x: Tensor) -> Tensor:
        parts = self.radix(x).view(-1, 2, 16, 8, 8)
        weights = self.weigh(parts.sum(1).mean((2, 3))).view(-1, 2, 16).softmax(1)
        return (parts * weights[:, :, :, None, None]).sum(1)
