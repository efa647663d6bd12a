"""Rounds the weights of one layer after another, each to give what the float network gives from what it will read.

That is the quantized network's own input, with all roundings before it: the weights are first refitted by least
squares to make up for these, then rounded with a view on the output (rounding.py). Their bias takes over what is
left of the mean (Nagel et al., 2019, empirical bias correction). No labels are needed. The order from layer to layer with
the quantized network's inputs is that of Li et al. (2021, BRECQ), whose blocks stand in together.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._quantization.blocks import Block
from edgepress.compress._quantization.layer import Layer, Rounded
from edgepress.compress._quantization.orientation import output_axis, reads_of_tap
from edgepress.compress._quantization.ranges import SMALLEST_SCALE
from edgepress.compress._quantization.rounding import adaround, gptq
from edgepress.compress._quantization.weights import (
    BIAS_LIMIT,
    QuantizedWeight,
    bias_shift,
    nearest,
    pairs_fit,
    quantize_weight,
    weight_scales,
)
from edgepress.compress._reconstruction.least_squares import LeastSquares
from edgepress.compress._reconstruction.side_by_side import SideBySide
from edgepress.compress._reconstruction.targets import gram_fits
from edgepress.data import Batch
from edgepress.sqnr import recorded_db

RIDGE = 0.1
"""How strongly the old weights pull in the refit, against the mean square of an input. A hundredth of it fits the samples
better and pictures that were not among them worse: by 0.3 dB of a layer's output with 4 bits."""

ROWS = 3
"""How many times the positions that refitting pruned layers looks at: rounding takes more from them."""

TRIED_SHARES = (1.0, 1.3, 1.15, 0.9, 0.8, 0.7)
"""Of the scale with the least error of a channel's weights: where its output may have the least. Few bits want them."""

RESTORED_AT_ONCE = 1 << 24
"""Weights that are made float64 to see what error they leave: in 128 MiB, and enough for matrix products to be fast."""

METHODS = {"gptq": gptq, "adaround": adaround, "block": gptq}
"""What of a block is learned together starts from `gptq`."""


def can_learn(graph_module: GraphModule, layer: Node) -> bool:
    """Whether the layer's weight is its own, its outputs sums over windows, and what is kept of its inputs of a size that
    can be handled: a row of them for each sample always is."""
    weight = graph.weight_node(layer)
    stored = graph.constant(graph_module, weight)
    if output_axis(layer) or stored is None or graph.readers(graph_module, weight) > 1:
        return False
    bias = graph.arguments(layer)["bias"]
    if isinstance(bias, Node) and graph.readers(graph_module, bias) != 1:
        return False
    is_linear, axes = graph.op_name(layer) == "linear", len(graph.shape(layer))
    if is_linear and axes == 2:
        return True
    return (is_linear or axes == stored.dim()) and gram_fits(layer)


def analytic_bias(
    layer: Layer, weight: torch.Tensor, bias: torch.Tensor | None, made: QuantizedWeight
) -> torch.Tensor | None:
    """The bias without what rounding adds on average to what the float network's inputs give; None where it is not to be
    corrected."""
    if layer.means is None:
        return None
    shift = bias_shift(weight, made, layer.means * reads_of_tap(layer.node))
    return -shift if bias is None else bias - shift


class LayerRounder:
    """Walks the quantized network and the float one in step, over as many of `batches` as memory is given for."""

    def __init__(
        self,
        student: GraphModule,
        teacher: GraphModule,
        layers: Sequence[Layer],
        batches: Iterable[Batch],
        blocks: Sequence[Block] = (),
    ) -> None:
        """`layers`, of the student, are those that will be rounded, in the order of execution, and `blocks` of them those
        that `around` will be asked for."""
        self._student = student
        ends = {block.entry: block.exit for block in blocks}
        self._both = SideBySide(student, teacher, [layer.node for layer in layers], batches, ends)

    def round(self, layer: Layer) -> Rounded:
        """The integers of one layer, and its bias. The caller stores them in the student before the next layer."""
        weight = graph.constant(self._student, graph.weight_node(layer.node))
        assert weight is not None, "can_learn looked for it"
        bias = graph.constant(self._student, graph.arguments(layer.node)["bias"])
        system = self._both.observe(layer.node, has_intercept=layer.empirical, rows=ROWS)
        plain = quantize_weight(weight, bias, layer.inputs, layer.weight)
        best, exact = plain, None
        if layer.rounding != "nearest":
            best, exact = _learned(layer, system, weight, bias)
        before, after = (_error(system, made) for made in (plain, best))
        if after > before:
            best, after = plain, before
        new_bias = analytic_bias(layer, weight, bias, best)
        if layer.empirical:
            made = _as_groups(best.restored(), system.groups).mT
            new_bias = (system.target_mean - system.mean(made)).flatten()
        exact = exact if layer.rounding == "block" else None
        return Rounded(best, new_bias, (recorded_db(1.0, before), recorded_db(1.0, after)), exact)

    def around(self, block: Block) -> tuple[torch.Tensor, torch.Tensor]:
        """What the block reads, with all layers in front of it as they are stored, and what the float network's gives. The
        block's own are looked at anew from now on."""
        return self._both.around(block.entry, block.exit)


def _learned(
    layer: Layer, system: LeastSquares, weight: torch.Tensor, bias: torch.Tensor | None
) -> tuple[QuantizedWeight, torch.Tensor]:
    """The refitted weight, rounded by the layer's method with the best scales; to nearest where the headroom would
    not last. And as it is."""
    limit, kept = layer.weight.bits.weight_limit, None
    wanted = system.solve(_as_groups(weight, system.groups).mT, RIDGE).mT.contiguous()
    if layer.sparse:
        kept = _as_groups(weight, system.groups) != 0
        wanted = wanted * kept
    scales = weight_scales(wanted.reshape(weight.shape), bias, layer.inputs, layer.weight)
    rounder = METHODS[layer.rounding](system.moments)

    def rounded(scales: torch.Tensor) -> QuantizedWeight:
        integers = rounder(wanted, scales.double().view(system.groups, -1), limit, kept)
        return QuantizedWeight(integers.reshape(weight.shape), scales, limit)

    best = best_of_channels(system, [rounded(one) for one in _tried(scales, bias, layer)])
    if layer.weight.keeps_headroom(layer.inputs):
        fits = pairs_fit(best.values).view([-1] + [1] * (weight.dim() - 1))
        plain = nearest(wanted.reshape(weight.shape), best.scales, limit).values
        best = QuantizedWeight(torch.where(fits, best.values, plain), best.scales, limit)
    return best, wanted.reshape(weight.shape)


def _tried(scales: torch.Tensor, bias: torch.Tensor | None, layer: Layer) -> list[torch.Tensor]:
    """The scales of all channels, and shares of them where each channel may choose."""
    how = layer.weight
    is_bound = how.keeps_headroom(layer.inputs) or how.granularity == "per_tensor" or how.ranges == "minmax"
    if is_bound or layer.rounding == "adaround":
        return [scales]
    smallest = torch.full_like(scales, SMALLEST_SCALE)
    if bias is not None:
        smallest = torch.maximum(smallest, bias.detach().abs().float() / (layer.inputs.scale * BIAS_LIMIT))
    return [torch.maximum(scales * share, smallest) for share in TRIED_SHARES]


def best_of_channels(system: LeastSquares, tried: Sequence[QuantizedWeight]) -> QuantizedWeight:
    """Of each output channel the integers and scale that leave the least error of what it gives."""
    errors = torch.stack([_errors(system, one).flatten() for one in tried])
    choice = errors.argmin(0)
    channels = torch.arange(len(choice))
    values = torch.stack([one.values for one in tried])[choice, channels]
    scales = torch.stack([one.scales for one in tried])[choice, channels]
    return QuantizedWeight(values, scales, tried[0].limit)


def _as_groups(weight: torch.Tensor, groups: int) -> torch.Tensor:
    """The weight, output channels first, as groups x outputs x inputs in float64."""
    return weight.detach().double().reshape(groups, len(weight) // groups, -1)


def _error(system: LeastSquares, made: QuantizedWeight) -> float:
    """Of the layer's output, relative."""
    return float(_errors(system, made).sum() / system.squares.sum().clamp_min(1e-300))


def _errors(system: LeastSquares, made: QuantizedWeight) -> torch.Tensor:
    """Of each output, groups x 1 x outputs. The weights are restored some outputs at a time."""
    channels = torch.arange(len(made.values)).view(system.groups, -1)
    few = max(1, RESTORED_AT_ONCE // (system.groups * system.inputs))
    errors = []
    for start in range(0, channels.shape[1], few):
        some = slice(start, start + few)
        weights = _as_groups(made.of(channels[:, some].flatten()).restored(), system.groups)
        errors.append(system.errors(weights.mT, some))
    return torch.cat(errors, 2)
