"""One layer whose weight becomes integers: how, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.fx import Node

from edgepress.compress._quantization.ranges import Range
from edgepress.compress._quantization.rounding import Rounding
from edgepress.compress._quantization.weights import QuantizedWeight, WeightOptions


@dataclass(frozen=True, eq=False)
class Layer:
    """`node` in the graph that is quantized, and the range of what it reads there.

    `means` are those of its input's channels, where its bias is to be corrected. `sparse` says that zeros stay.
    """

    node: Node
    inputs: Range
    weight: WeightOptions
    rounding: Rounding = "nearest"
    means: torch.Tensor | None = None
    sparse: bool = False


@dataclass(frozen=True, eq=False)
class Rounded:
    """The integers, and the bias where it was corrected. `sqnr_db` is that of the layer's output, rounded to nearest
    and as it is, where it was looked at."""

    weight: QuantizedWeight
    bias: torch.Tensor | None = None
    sqnr_db: tuple[float, float] | None = None
