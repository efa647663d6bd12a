"""A batch norm behind each layer of few bits while it trains, which keeps its channels as large as they were in float.

Few bits change the size of what a layer gives, and the changes multiply from layer to layer until nothing behind can
learn. A norm takes that out of every batch. A scale for each channel and a bias are all that it is in the end, and
these a layer of few bits has anyway: so it costs nothing where the network runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._quantization.calibration import Watcher, observe
from edgepress.compress._quantization.weights import QuantizedWeight
from edgepress.data import Batch
from edgepress.graph import aten
from edgepress.signature import Signature

MOMENTUM, EPSILON = 0.1, 1e-5
"""PyTorch's own."""


@dataclass
class Spread:
    """The mean and standard deviation of each channel (axis 1) over all that `update` was shown, in float64."""

    count: int = 0
    sum: torch.Tensor = field(default_factory=lambda: torch.zeros(()))
    square: torch.Tensor = field(default_factory=lambda: torch.zeros(()))

    def update(self, values: torch.Tensor) -> None:
        rows = values.transpose(0, 1).flatten(1).double()
        self.count += rows.shape[1]
        self.sum, self.square = self.sum + rows.sum(1), self.square + rows.square().sum(1)

    @property
    def mean(self) -> torch.Tensor:
        return self.sum / self.count

    @property
    def deviation(self) -> torch.Tensor:
        return (self.square / self.count - self.mean.square()).clamp(min=0).sqrt()


def spreads(
    graph_module: GraphModule, layers: Iterable[Node], batches: Iterable[Batch], signature: Signature
) -> dict[Node, Spread]:
    """Those of what the float network's layers give. A layer is left out whose channels are not on axis 1, or
    whose weight or bias others read."""
    found = {layer: Spread() for layer in layers if _takes_norm(graph_module, layer)}
    if found:
        watchers: dict[Node, list[Watcher]] = {layer: [spread] for layer, spread in found.items()}
        observe(graph_module, watchers, batches, signature)
    return found


@dataclass(frozen=True)
class Norm:
    """The batch norm behind a layer, and the dotted name under which its four tensors are."""

    node: Node
    holder: str

    @classmethod
    def behind(cls, graph_module: GraphModule, layer: Node, spread: Spread, holder: str) -> Norm:
        """One that gives each channel the mean and deviation of `spread`; all that read the layer read it. Its
        running statistics have to be measured before it is used but to train."""
        learned = {"weight": spread.deviation, "bias": spread.mean}
        for name, value in learned.items():
            graph.set_constant(graph_module, f"{holder}.{name}", torch.nn.Parameter(value.float()))
        graph.set_constant(graph_module, f"{holder}.mean", torch.zeros_like(spread.mean.float()))
        graph.set_constant(graph_module, f"{holder}.variance", torch.ones_like(spread.mean.float()))
        with graph_module.graph.inserting_after(layer):
            tensors = [
                graph_module.graph.get_attr(f"{holder}.{name}")
                for name in ("weight", "bias", "mean", "variance")
            ]
        with graph_module.graph.inserting_after(tensors[0]):  # what is inserted later stands further in front
            norm = graph_module.graph.call_function(
                aten.batch_norm.default, (layer, *tensors, False, MOMENTUM, EPSILON, False)
            )
        layer.replace_all_uses_with(norm, delete_user_cb=lambda user: user is not norm)
        return cls(norm, holder)

    def fold(
        self, graph_module: GraphModule, made: QuantizedWeight, bias: torch.Tensor | None
    ) -> tuple[QuantizedWeight, torch.Tensor]:
        """The layer's weight and bias without the norm, which is taken out of the graph."""
        own = graph_module.get_submodule(self.holder)
        weight, shift = own.get_parameter("weight").detach(), own.get_parameter("bias").detach()
        factor = weight.double() * (own.get_buffer("variance").double() + EPSILON).rsqrt()
        before = 0.0 if bias is None else bias.detach().double()
        folded = (before - own.get_buffer("mean").double()) * factor + shift.double()
        signs = factor.sign().to(made.values.dtype).view(-1, *[1] * (made.values.dim() - 1))
        scales = (made.scales.double() * factor.abs()).float()
        layer = self.node.args[0]
        assert isinstance(layer, Node)
        self.node.replace_all_uses_with(layer)
        self.node.graph.erase_node(self.node)
        return dataclasses.replace(made, values=made.values * signs, scales=scales), folded.float()


def _takes_norm(graph_module: GraphModule, layer: Node) -> bool:
    weight_node, bias_node = graph.weight_node(layer), graph.arguments(layer)["bias"]
    weight = graph.constant(graph_module, weight_node)
    if weight is None or len(graph.shape(layer)) != weight.dim():
        return False
    return all(graph.readers(graph_module, node) <= 1 for node in (weight_node, bias_node))
