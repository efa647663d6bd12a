"""One layer whose weight becomes integers: how, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch.fx import Node

from edgepress.compress._quantization.ranges import Range
from edgepress.compress._quantization.rounding import Rounding
from edgepress.compress._quantization.weights import QuantizedWeight, WeightOptions

BiasCorrection = Literal["none", "analytic", "empirical"]


@dataclass(frozen=True, eq=False)
class Layer:
    """`node` in the graph that is quantized, and the range of what it reads there.

    `means` are those of its input's channels in the float network, where its bias is to be corrected; the
    correction is `analytic` if it is to come from these alone. `sparse` says that zeros stay. `others` read the same
    weight elsewhere in the network.
    """

    node: Node
    inputs: Range
    weight: WeightOptions
    rounding: Rounding = "nearest"
    means: torch.Tensor | None = None
    analytic: bool = False
    sparse: bool = False
    others: tuple[Layer, ...] = ()

    @property
    def empirical(self) -> bool:
        """Whether the bias is corrected by what the layer gives in the quantized network."""
        return self.means is not None and not self.analytic

    @property
    def is_watched(self) -> bool:
        """Whether its rounding or its bias asks what the quantized network gives."""
        return self.rounding != "nearest" or self.empirical


@dataclass(frozen=True, eq=False)
class Rounded:
    """The integers, and the bias where it was corrected. `sqnr_db` is that of the layer's output, rounded to nearest
    and as it is, where it was looked at: or that of its block's, with layers rounded one by one and as they are.
    `exact` is the refitted weight that was rounded, where its block is to go on from it."""

    weight: QuantizedWeight
    bias: torch.Tensor | None = None
    sqnr_db: tuple[float, float] | None = None
    exact: torch.Tensor | None = None
