"""Which weights and activations get how many bits, where these are fewer than 8, and from which steps they start.

All are stored in bytes. What is never negative lies on the highest integers: int8 ends there, and so clips as few bits
must, in every runtime and without an operator of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._quantization.bits import Bits
from edgepress.compress._quantization.calibration import observe
from edgepress.compress._quantization.histogram import Histogram
from edgepress.compress._quantization.layer import Layer
from edgepress.compress._quantization.operators import Role, averages_windows, role
from edgepress.compress._quantization.plan import Plan, SharedScale
from edgepress.compress._quantization.ranges import HIGHEST, LOWEST, SMALLEST_SCALE, Range
from edgepress.compress._quantization.weights import WeightOptions
from edgepress.data import Batch
from edgepress.signature import Signature

FULL = 8

BITS_WITH_HEADROOM = 7
"""Two neighbouring weights of so many bits stay under PAIR_LIMIT wherever training takes them."""

TRIED_SHARES = np.linspace(1.0, 0.1, 91)
"""Of the largest value: where few bits may end."""


@dataclass(frozen=True)
class BitsOfLayers:
    """How many bits the layers of a plan get. `of` tells those of an operator by the options and rules; the first
    and last layers, and what the last one reads, have 8 unless `low_ends`. With `real_shortcuts`, so has one bit's
    activation that others than layers read (Liu et al., 2018, Bi-Real Net: what a shortcut carries is not binary)."""

    graph_module: GraphModule
    plan: Plan
    of: Callable[[Node], Bits]
    low_ends: bool
    real_shortcuts: bool = False

    def of_weight(self, layer: Layer) -> int:
        """The bits that are wanted, whatever headroom leaves."""
        return FULL if not self.low_ends and layer.node in self.plan.ends else self.of(layer.node).weights

    def weights(self, layer: Layer) -> WeightOptions:
        """The layer's options with its bits; the headroom it needs is kept by having one bit less."""
        bits = self.of_weight(layer)
        if layer.weight.keeps_headroom(layer.inputs) and not self._is_depthwise(layer.node):
            bits = min(bits, BITS_WITH_HEADROOM)
        return dataclasses.replace(layer.weight, bits=Bits(weights=bits), headroom="none", ranges="mse")

    def activations(self, ranges: Mapping[Node, Range]) -> dict[SharedScale, int]:
        """The scales with fewer than 8 bits: of what is never negative and read by a layer.

        Not those of averages: they lie between the few integers that they are of, and what has the same scale falls
        halfway between two at a border every so often, where runtimes round differently.
        """
        found: dict[SharedScale, int] = {}
        for scale in self.plan.scales:
            readers = {user for tensor in scale.tensors for user in tensor.users if user in self.plan.layers}
            is_end = not self.low_ends and self.plan.layers[-1] in readers
            low = ranges[scale.tensors[0]].minimum
            averages = any(averages_windows(tensor) for tensor in scale.tensors)
            kept = scale.fixed is not None or scale.is_input or is_end or averages
            if readers and low == 0 and not kept:
                bits = self.of(scale.maker).activations
                bits = FULL if bits == 1 and self.real_shortcuts and self._is_shortcut(scale) else bits
                found |= {scale: bits} if bits < FULL else {}
        return found

    def _is_shortcut(self, scale: SharedScale) -> bool:
        readers = {user for tensor in scale.tensors for user in tensor.users if user in self.plan.readers}
        return any(role(user) not in (Role.LAYER, Role.MOVES) for user in readers)

    def _is_depthwise(self, layer: Node) -> bool:
        """Depthwise products are added in int32."""
        weight = graph.constant(self.graph_module, graph.weight_node(layer))
        return weight is not None and weight.dim() > 2 and weight.shape[1] == 1


def ranges_of_few_bits(
    graph_module: GraphModule,
    bits: Mapping[SharedScale, int],
    batches: Iterable[Batch],
    signature: Signature,
) -> dict[Node, Range]:
    """The range of each tensor of these scales that leaves the least squared error of the float network's values."""
    if not bits:
        return {}
    histograms = {scale: Histogram() for scale in bits}
    watchers: dict[Node, list[Histogram]] = {}
    for scale, histogram in histograms.items():
        for node in scale.observed:
            watchers.setdefault(node, []).append(histogram)
    observe(graph_module, watchers, batches, signature)
    return {
        tensor: range_of_step(
            _least_error(histograms[scale], (1 << bits[scale]) - 1), zero_point(bits[scale])
        )
        for scale in bits
        for tensor in scale.tensors
    }


def zero_point(bits: int) -> int:
    """The integer of zero where `bits` are used of what is never negative."""
    return HIGHEST - ((1 << bits) - 1)


def range_of_step(step: float, zero_point: int) -> Range:
    """The range that has exactly this float32 scale and this zero point."""
    return Range((LOWEST - zero_point) * step, (HIGHEST - zero_point) * step)


def _least_error(histogram: Histogram, steps: int) -> float:
    """The step with the least squared error, of values from 0 to `steps` times it."""
    centres, counts = histogram.values()
    tried = np.maximum(TRIED_SHARES * histogram.maximum / steps, SMALLEST_SCALE).astype(np.float32)
    errors = [
        np.dot(counts, (np.clip((centres / one).round(), 0, steps) * one - centres) ** 2) for one in tried
    ]
    return float(tried[int(np.argmin(errors))])
