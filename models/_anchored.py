"""What the single-stage detectors with anchors share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import nn

Shape = tuple[float, float]


def listed(features: Sequence[torch.Tensor], heads: Iterable[nn.Module], values: int) -> torch.Tensor:
    """What `heads` give for each level of features, N x (places * anchors over all levels) x `values`.

    The last axis is cut out of the channels of N x height x width x channels, which needs four axes at the most.
    """
    maps = (head(level).permute(0, 2, 3, 1) for level, head in zip(features, heads, strict=True))
    return torch.cat([found.flatten(1).unflatten(1, (-1, values)) for found in maps], dim=1)


def box_shapes(scale: float, following: float, ratios: Sequence[float], side: int) -> tuple[Shape, ...]:
    """SSD's anchors of one level (Liu et al., 2016, section 2.2): a square of `scale` of the picture's `side`, one
    between this scale and the `following`, and for each ratio a wide one and a tall one; none beyond the picture."""
    shapes = [(scale, scale), (math.sqrt(scale * following),) * 2]
    for ratio in ratios:
        root = math.sqrt(ratio)
        shapes += [(scale * root, scale / root), (scale / root, scale * root)]
    return tuple((side * min(width, 1.0), side * min(height, 1.0)) for width, height in shapes)


def halved(size: int, *, kernel: int = 3, padding: int = 1) -> int:
    """The size that a convolution with stride 2 leaves."""
    return (size + 2 * padding - kernel) // 2 + 1
