"""What the awkward networks are made of, and the list that they stand on (see awkward_networks.py).

`NETWORKS[name]()` returns the module and its example inputs, with a batch of two.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Example = tuple[nn.Module, tuple[Tensor, ...]]
NETWORKS: dict[str, Callable[[], Example]] = {}


def network(*shapes: tuple[int, ...]) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Put the module class on the list; `shapes` are those of its inputs, without the batch."""

    def add(cls: type[nn.Module]) -> type[nn.Module]:
        name = "".join("_" + letter.lower() if letter.isupper() else letter for letter in cls.__name__)
        NETWORKS[name.strip("_")] = lambda: (cls(), tuple(torch.randn(2, *shape) for shape in shapes))
        return cls

    return add


PICTURE = (3, 8, 8)


def conv(inputs: int, outputs: int, kernel: int = 3, *, groups: int = 1, stride: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Classifier(nn.Module):
    """A body whose features are pooled and classified."""

    def __init__(self, features: int, classes: int = 4) -> None:
        super().__init__()
        self.first = conv(3, 16)
        self.head = nn.Linear(features, classes)

    def body(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.first(x)).mean((2, 3)))
