"""Trouble with what is used more than once: tensors joined with themselves, layers called on several parts."""

from __future__ import annotations

import torch
from awkward_parts import PICTURE, Classifier, conv, network
from torch import Tensor, nn
from torch.nn import functional


@network(PICTURE)
class JoinedWithItself(Classifier):
    def __init__(self) -> None:
        super().__init__(12)
        self.conv = conv(32, 12)

    def body(self, x: Tensor) -> Tensor:
        return self.conv(torch.cat([x, x], 1))


@network(PICTURE)
class OneLayerForTwoParts(Classifier):
    """Two parts of a split go through the same layer, the third through another (unequal) one."""

    def __init__(self) -> None:
        super().__init__(20)
        self.shared, self.own = conv(5, 5), conv(6, 10)

    def body(self, x: Tensor) -> Tensor:
        first, second, third = x.split([5, 5, 6], 1)
        return torch.cat([self.shared(first), self.own(third), self.shared(second)], 1)


@network(PICTURE)
class GrowingList(Classifier):
    """Both halves and the result of every step are joined in the end, as in YOLO's C2f."""

    def __init__(self) -> None:
        super().__init__(12)
        self.wide, self.steps = conv(16, 16, 1), nn.ModuleList(conv(8, 8) for _ in range(2))
        self.join = conv(32, 12, 1)

    def body(self, x: Tensor) -> Tensor:
        found = list(self.wide(x).chunk(2, 1))
        for step in self.steps:
            found.append(found[-1] + step(found[-1]))
        return self.join(torch.cat(found, 1))


@network((10,))
class Generator(nn.Module):
    """A linear layer's outputs become a small picture, which transposed convolutions make larger."""

    def __init__(self) -> None:
        super().__init__()
        self.seed, self.first = nn.Linear(10, 16 * 4), nn.ConvTranspose2d(16, 12, 4, 2, 1)
        self.second = nn.ConvTranspose2d(12, 3, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.seed(x)).view(-1, 16, 2, 2)
        return torch.tanh(self.second(functional.relu(self.first(x))))


@network(PICTURE)
class RepeatedOutput(nn.Module):
    """The same features feed three heads, and one head's result the next head."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.a, self.b = (
            nn.Sequential(conv(3, 16), conv(16, 12)),
            nn.Linear(12, 4),
            nn.Linear(16, 3),
        )
        self.c = nn.Linear(12, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.body(x).mean((2, 3))
        scores = self.a(features)
        return scores, self.b(torch.cat([features, scores], 1)), self.c(features)
