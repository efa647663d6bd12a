"""What a captured network costs: parameters, multiply-accumulates, bytes and memory access, by layer and in total.

Everything is counted on the graph as it stands, at batch 1. An operator whose multiplications are not
known is listed (`Cost.uncounted`) and never taken for free.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from edgepress import graph, macs
from edgepress.memory import Memory
from edgepress.program import Program


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """One operator, at batch 1.

    `parameters` are the weights and biases first used here, `nonzero` those that are not zero;
    `weight_bytes` is everything stored for the layer, running statistics and scales included; `macs` is
    None where it cannot be counted; `accessed_*` is what is read (inputs, weights) and written (outputs),
    as Ma et al. (2018, ShuffleNet V2) define memory access cost.
    """

    name: str
    type: str
    output_shape: tuple[int, ...]
    parameters: int
    nonzero: int
    macs: int | None
    weight_bytes: int
    accessed_elements: int
    accessed_bytes: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The layers that cost something, in execution order, and the sums over them.

    `peak_activation_bytes` is the most that the inputs, outputs and intermediate tensors take at a time
    when each is freed after its last use.
    """

    layers: tuple[LayerCost, ...]
    peak_activation_bytes: int

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def nonzero(self) -> int:
        return sum(layer.nonzero for layer in self.layers)

    @property
    def macs(self) -> int:
        """The multiply-accumulates of all layers that can be counted; see `uncounted`."""
        return sum(layer.macs or 0 for layer in self.layers)

    @property
    def weight_bytes(self) -> int:
        return sum(layer.weight_bytes for layer in self.layers)

    @property
    def accessed_elements(self) -> int:
        return sum(layer.accessed_elements for layer in self.layers)

    @property
    def accessed_bytes(self) -> int:
        return sum(layer.accessed_bytes for layer in self.layers)

    @property
    def uncounted(self) -> tuple[LayerCost, ...]:
        """The layers whose multiply-accumulates are not known, and so are missing from `macs`."""
        return tuple(layer for layer in self.layers if layer.macs is None)


_known: WeakKeyDictionary[ExportedProgram, Cost] = WeakKeyDictionary()
"""Of networks as they were captured or exported again, which never change: every budget asks what the original costs."""


def measure(network: Program | GraphModule) -> Cost:
    """The cost of a Program, or of its edited graph as long as every node carries its shape."""
    if isinstance(network, GraphModule):
        return _counted(network)
    exported = network.exported
    if exported not in _known:
        module = exported.module(check_guards=False)
        assert isinstance(module, GraphModule)
        _known[exported] = _counted(module)
    return _known[exported]


def _counted(network: GraphModule) -> Cost:
    memory, stored = Memory(network), set[int]()
    layers = [
        _layer(network, node, memory, stored)
        for node in graph.operators(network)
        if macs.shapes(node) and not memory.is_constant(node)
    ]
    return Cost(
        layers=tuple(
            layer for layer in layers if layer.accessed_elements or layer.weight_bytes or layer.macs != 0
        ),
        peak_activation_bytes=memory.peak_bytes(),
    )


def _layer(graph_module: GraphModule, node: Node, memory: Memory, stored: set[int]) -> LayerCost:
    """The cost of one operator; the tensors in `stored` have been counted, and this one's are added to it."""
    weights = {weight.key: weight for weight in _weights(graph_module, node, memory)}.values()
    new = [weight for weight in weights if weight.key not in stored]
    stored.update(weight.key for weight in new)
    moved = memory.moved(node)
    read = [weight for weight in weights if weight.is_parameter] if moved else []
    return LayerCost(
        name=graph.layer_name(node),
        type=graph.op_name(node),
        output_shape=macs.shapes(node)[0],
        parameters=sum(weight.elements for weight in new if weight.is_parameter),
        nonzero=sum(int(torch.count_nonzero(weight.tensor)) for weight in new if weight.is_parameter),
        macs=macs.count(node),
        weight_bytes=sum(weight.bytes for weight in new),
        accessed_elements=sum(map(macs.elements, moved)) + sum(weight.elements for weight in read),
        accessed_bytes=sum(map(memory.size_bytes, moved)) + sum(weight.bytes for weight in read),
    )


@dataclass(frozen=True)
class _Weight:
    """A stored tensor. `key` is one for tied weights; scales and running statistics are no parameters."""

    tensor: torch.Tensor
    is_parameter: bool

    @property
    def key(self) -> int:
        return self.tensor.data_ptr()

    @property
    def elements(self) -> int:
        return self.tensor.numel()

    @property
    def bytes(self) -> int:
        return self.elements * self.tensor.element_size()


def _weights(graph_module: GraphModule, node: Node, memory: Memory) -> Iterator[_Weight]:
    """The stored tensors the node reads, seen through operators that only prepare weights."""
    for source in node.all_input_nodes:
        if memory.is_constant(source):
            yield from _weights(graph_module, source, memory)
        tensor = graph.constant(graph_module, source)
        if tensor is not None:
            quantized = node.target in graph.DEQUANTIZE_WEIGHTS and source is node.args[0]
            is_parameter = quantized or isinstance(tensor, torch.nn.Parameter)
            yield _Weight(tensor, is_parameter)
