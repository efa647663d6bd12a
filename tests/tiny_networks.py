"""Small networks and data with fixed seeds for tests: `import tiny_networks`."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from edgepress.data._arrays import ArrayData
from edgepress.program import Program

SIZE, CLASSES = 16, 4


class Residual(nn.Module):
    """A strided convolution, then a residual block with batch-norm: the shape of a ResNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.first = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(32)
        self.second = nn.Conv2d(32, 16, 1)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        stem = torch.relu(self.stem(pictures))
        inner = torch.relu(self.norm(self.first(stem)))
        return self.head((self.second(inner) + stem).mean([2, 3]))


class Separable(nn.Module):
    """An inverted bottleneck: expansion, depthwise convolution, projection, ReLU6, as in MobileNet v2."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(3, 32, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6())
        depthwise = nn.Conv2d(32, 32, 3, stride=2, padding=1, groups=32, bias=False)
        self.depthwise = nn.Sequential(depthwise, nn.BatchNorm2d(32), nn.ReLU6())
        self.project = nn.Sequential(nn.Conv2d(32, 16, 1, bias=False), nn.BatchNorm2d(16))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(16, CLASSES))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.project(self.depthwise(self.expand(pictures))).mean([2, 3]))


class Concatenated(nn.Module):
    """Two branches behind a pooled squeeze, concatenated, and a flattened classifier: SqueezeNet's fire."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(3, 16, 3, padding=1)
        self.left = nn.Conv2d(16, 16, 1)
        self.right = nn.Conv2d(16, 16, 3, padding=1)
        self.classifier = nn.Linear(32 * (SIZE // 4) ** 2, CLASSES)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        pooled = nn.functional.max_pool2d(torch.relu(self.squeeze(pictures)), 2)
        both = torch.cat([torch.relu(self.left(pooled)), torch.relu(self.right(pooled))], 1)
        return self.classifier(nn.functional.avg_pool2d(both, 2).flatten(1))


class Levels(nn.Module):
    """One head of two layers of a size, read at two levels: RetinaNet's."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.head = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        fine = torch.relu(self.stem(pictures))
        coarse = nn.functional.avg_pool2d(fine, 2)
        return torch.cat([self.head(level).flatten(2) for level in (fine, coarse)], 2).mean(2)


NETWORKS = (Residual, Separable, Concatenated)


def capture(network: type[nn.Module], seed: int = 0) -> Program:
    """The network with random weights and batch-norm statistics of random pictures."""
    torch.manual_seed(seed)
    module = network()
    for _ in range(20):
        module(torch.randn(16, 3, SIZE, SIZE))
    return Program.capture(module, (torch.zeros(2, 3, SIZE, SIZE),))


class Patches(ArrayData):
    """Noise with one bright quarter, which is the class: a few steps of training learn it."""

    def __init__(self, samples: int = 96) -> None:
        random = np.random.default_rng(0)
        labels = random.integers(0, CLASSES, samples)
        pictures = random.standard_normal((samples, 3, SIZE, SIZE)).astype(np.float32)
        half = SIZE // 2
        for picture, label in zip(pictures, labels, strict=True):
            top, left = half * (label // 2), half * (label % 2)
            picture[:, top : top + half, left : left + half] += 2
        quarters = ("top left", "top right", "bottom left", "bottom right")
        super().__init__(pictures, labels=labels, class_names=quarters, name="patches")

    @property
    def pictures(self) -> np.ndarray:
        return self.inputs[0]

    @pictures.setter
    def pictures(self, changed: np.ndarray) -> None:
        self.inputs = (changed,)


def unlabelled(samples: int = 96) -> ArrayData:
    """The pictures of Patches, nobody knows of what."""
    return ArrayData(*Patches(samples).inputs)
