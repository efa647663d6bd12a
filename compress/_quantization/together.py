"""Learns of all weights of a block whether they are rounded up or down, so that what leaves the block changes least.

Li et al. (2021), BRECQ; the fractions that become whole are those of Nagel et al. (2020, AdaRound). It starts from layers that
have been refitted and rounded one by one, and their biases are learned with them. Whether that is better, samples decide
that it has not learned from: so it never is worse, but for chance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._channels.nodes import shape_at_batch_one
from edgepress.compress._quantization.blocks import Block
from edgepress.compress._quantization.layer import Layer, Rounded
from edgepress.compress._quantization.learned import analytic_bias
from edgepress.compress._quantization.rounding import Fractions, undecided
from edgepress.compress._quantization.weights import QuantizedWeight, beside, pairs_fit
from edgepress.compress._reconstruction.walk import is_number
from edgepress.sqnr import recorded_db

HELD_BACK = 5
"""Every so manieth sample is not learned from."""

STEPS = 500
RATE, BIAS_RATE = 0.03, 0.01
LARGEST_BATCH = 32
LEARNING_BYTES = 256 << 20
"""Steps of Adam and their size; samples of a step, or as many as whose values in the block take this much memory."""

PULL = 200.0
"""How strongly fractions are pulled to 0 and 1: all of them together, against the block's error in the beginning. A
seventh of it leaves some undecided in the end, whose rounding costs more than all that was learned."""

KNOWN = 0.7
"""How far a fraction begins from what the refitted weight has, on the way to what the layer alone has chosen."""


def rounded_together(
    graph_module: GraphModule,
    block: Block,
    read: torch.Tensor,
    wanted: torch.Tensor,
    alone: Mapping[Layer, Rounded],
) -> dict[Layer, Rounded]:
    """The layers of the block, better than as they are in `alone`; none of them where that was not achieved.

    read, wanted: what comes through its entry, and what should leave it; N samples on axis 0 of both.
    """
    is_held = torch.arange(len(read)) % HELD_BACK == HELD_BACK - 1
    held = read[is_held], wanted[is_held]
    learned = {layer: _Learned(graph_module, layer, alone[layer]) for layer in block.layers}
    run = _Run(graph_module, block, learned)
    before = run.error(*held)
    if not before > 0:
        return {}
    run.learn(read[~is_held], wanted[~is_held])
    after = run.error(*held)
    if not after < before:
        return {}
    power = float(held[1].square().sum()) or 1.0
    sqnr = recorded_db(power, before), recorded_db(power, after)
    return {layer: dataclasses.replace(one.best(), sqnr_db=sqnr) for layer, one in learned.items()}


class _Learned:
    """One layer: its integers below, a fraction on top of each, and its bias."""

    def __init__(self, graph_module: GraphModule, layer: Layer, alone: Rounded) -> None:
        assert alone.exact is not None, "layers of a block have been refitted"
        self._layer, self._alone = layer, alone
        self._scales = beside(alone.weight.scales, alone.weight.values)
        exact, values = alone.exact / self._scales.double(), alone.weight.values.double()
        low = torch.where(values <= exact, values, values - 1)
        start = KNOWN * (values - low) + (1 - KNOWN) * (exact - low).clamp(0, 1)
        self._low, self.fractions = low.float(), Fractions(start.float())
        self._stays = (alone.exact != 0) | (not layer.sparse)
        arguments = graph.arguments(layer.node)
        self.weight: Node = arguments["weight"]
        self.bias: Node = arguments["bias"]
        self.shift = torch.zeros(len(values), requires_grad=layer.empirical)
        # What a step of one weight makes at most: no bias is far off by more.
        most = max(-layer.inputs.minimum, layer.inputs.maximum) if layer.empirical else 0.0
        self._unit = alone.weight.scales * most

    def now(self, fraction: torch.Tensor) -> dict[Node, torch.Tensor]:
        """What the layer reads in place of its constants while it is learned."""
        integers = (self._low + fraction).clamp(-self._alone.weight.limit, self._alone.weight.limit)
        made = {self.weight: integers * self._stays * self._scales}
        if self._alone.bias is not None:
            made[self.bias] = self._alone.bias.float() + self.shift * self._unit
        return made

    def best(self) -> Rounded:
        """What it has come to."""
        before = self._alone.weight
        integers = ((self._low + self.fractions.decided()) * self._stays).clamp(-before.limit, before.limit)
        if self._layer.weight.keeps_headroom(self._layer.inputs):
            fits = beside(pairs_fit(integers), integers)
            integers = torch.where(fits, integers, before.values.float())
        weight = QuantizedWeight(integers.to(torch.int8), before.scales, before.limit)
        bias = analytic_bias(self._layer, before.restored(), self._alone.bias, weight)
        if self._layer.empirical and self._alone.bias is not None:
            bias = self._alone.bias + (self.shift.detach() * self._unit).double()
        return dataclasses.replace(self._alone, weight=weight, bias=bias)


class _Run:
    """The block, run with other constants than the graph's."""

    def __init__(self, graph_module: GraphModule, block: Block, layers: Mapping[Layer, _Learned]) -> None:
        self._graph_module, self._block, self._layers = graph_module, block, tuple(layers.values())
        tensors = [node for node in block.nodes if isinstance(node.meta.get("val"), torch.Tensor)]
        size = 4 * sum(torch.Size(shape_at_batch_one(node)).numel() for node in tensors)
        self._batch = max(1, min(LARGEST_BATCH, LEARNING_BYTES // size))

    def error(self, read: torch.Tensor, wanted: torch.Tensor) -> float:
        """The squared error of all samples together, with what the layers have come to."""
        constants: dict[Node, torch.Tensor] = {}
        for layer in self._layers:
            best = layer.best()
            constants[layer.weight] = best.weight.restored().float()
            if best.bias is not None:
                constants[layer.bias] = best.bias.float()
        with torch.no_grad():
            parts = zip(read.split(self._batch), wanted.split(self._batch), strict=True)
            return sum((float(self._error(constants, *part)) for part in parts), 0.0)

    def learn(self, read: torch.Tensor, wanted: torch.Tensor) -> None:
        fractions = [layer.fractions.learned for layer in self._layers]
        shifts = [layer.shift for layer in self._layers if layer.shift.requires_grad]
        count = sum(each.numel() for each in fractions)
        start = self.error(read, wanted) / len(read) or 1.0
        groups = [{"params": fractions, "lr": RATE}, {"params": shifts, "lr": BIAS_RATE}]
        optimizer = torch.optim.Adam([group for group in groups if group["params"]])
        generator = torch.Generator().manual_seed(0)
        with torch.enable_grad():
            for step in range(STEPS):
                chosen = torch.randperm(len(read), generator=generator)[: self._batch]
                now = [layer.fractions.now() for layer in self._layers]
                constants: dict[Node, torch.Tensor] = {}
                for layer, fraction in zip(self._layers, now, strict=True):
                    constants |= layer.now(fraction)
                loss = self._error(constants, read[chosen], wanted[chosen]) / (start * len(chosen))
                loss = loss + PULL / count * sum(undecided(fraction, step / STEPS) for fraction in now)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    def _error(
        self, constants: Mapping[Node, torch.Tensor], read: torch.Tensor, wanted: torch.Tensor
    ) -> torch.Tensor:
        values: dict[Node, Any] = {self._block.entry: read, **constants}

        def value(source: Node) -> Any:
            if source in values:
                return values[source]
            stored = graph.constant(self._graph_module, source)
            return graph.at_batch(source, len(read)) if stored is None else stored.detach()

        for node in self._block.nodes:
            if node.op == "call_function" and not is_number(node):
                values[node] = _computed(node, value)
        off: torch.Tensor = values[self._block.exit] - wanted
        return off.square().sum()


def _computed(node: Node, value: Any) -> Any:
    """What the node makes; a pair lets gradients through to what its integers cover."""
    arguments: Any = node.args
    if node.target is graph.QUANTIZE:
        source, scale, zero_point, low, high, _ = arguments
        return torch.fake_quantize_per_tensor_affine(value(source), scale, zero_point, low, high)
    return value(arguments[0]) if node.target is graph.DEQUANTIZE else graph.computed(node, value)
