"""The fused list: each entry is one operator with the activation and the quantization that belong to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.fx import GraphModule, Node

from edgepress.convert._tflite.model import Quantization, per_tensor
from edgepress.graph import (
    DEQUANTIZE,
    DEQUANTIZE_CHANNELS,
    QUANTIZE,
    arguments,
    at_batch,
    aten,
    layer_name,
    only_reader,
    operators,
)

Fused = Literal["NONE", "RELU", "RELU6", "RELU_N1_TO_1"]
"""What a TFLite operation can clamp its result to, by the schema's names."""

CLAMPS: dict[tuple[float, float], Fused] = {
    (0.0, math.inf): "RELU",
    (0.0, 6.0): "RELU6",
    (-1.0, 1.0): "RELU_N1_TO_1",
}
CODES: dict[torch.dtype, type[np.generic]] = {torch.int8: np.int8, torch.int16: np.int16}
RELU = (aten.relu.default, aten.relu_.default)
RELU6 = (aten.relu6.default, aten.relu6_.default)
HARDTANH = (aten.hardtanh.default, aten.hardtanh_.default)
CLAMP = (aten.clamp.default, aten.clamp_.default, aten.clamp_min.default, aten.clamp_max.default)
BOUNDED = (*RELU, *RELU6, *HARDTANH, *CLAMP)


@dataclass(frozen=True, eq=False)
class Call:
    """One operator of the network as the file executes it.

    `arguments` are by name; a tensor is a Node, every size a plain int. `result` is the shape and
    `quantization` the int8 code of the value after `activation`. `covers` are the nodes that share this value.
    """

    node: Node
    arguments: dict[str, Any]
    result: tuple[int, ...]
    activation: Fused
    quantization: Quantization | None
    covers: tuple[Node, ...]

    @property
    def layer(self) -> str:
        return layer_name(self.node)

    @property
    def target(self) -> Callable[..., Any]:
        """The ATen operator."""
        assert callable(self.node.target)
        return self.node.target

    @property
    def source(self) -> Node:
        """The first argument, whatever the operator's schema calls it: the tensor it works on."""
        assert isinstance(self.node.args[0], Node)
        return self.node.args[0]


def calls(graph_module: GraphModule, batch: int, fusing: Set[Callable[..., Any]]) -> Iterator[Call]:
    """The operators in execution order; those in `fusing` take up the activation behind them."""
    covered: set[Node] = set()
    for node in operators(graph_module):
        if node in covered or node.target is DEQUANTIZE_CHANNELS or not is_tensor(node):
            continue
        behind = only_reader(node) if node.target in fusing and _is_real(node) else None
        interval = bounds(behind) if behind is not None else None
        chain = [node]
        activation: Fused = "NONE"
        if behind is not None and interval in CLAMPS:
            activation = CLAMPS[interval]
            chain.append(behind)
        pair = None if node.target in (QUANTIZE, DEQUANTIZE) else quantizer(chain[-1])
        if pair is not None:
            chain.append(pair)
        elif behind is not None and interval is not None:
            # Clamping commutes with rounding, so the layer can give the clamp's code and be clamped in it.
            pair = quantizer(behind)
        covered.update(chain)
        yield Call(
            node, _resolved(node, batch), shape_at(node, batch), activation,
            None if pair is None else quantization_of(pair), tuple(chain),
        )  # fmt: skip


def bounds(node: Node) -> tuple[float, float] | None:
    """The interval that an activation clamps to; None for any other operator."""
    if node.target in RELU:
        return 0.0, math.inf
    if node.target in RELU6:
        return 0.0, 6.0
    if node.target in HARDTANH:
        values = arguments(node)
        return float(values["min_val"]), float(values["max_val"])
    if node.target in CLAMP:
        values = arguments(node)
        low, high = values.get("min"), values.get("max")
        return -math.inf if low is None else float(low), math.inf if high is None else float(high)
    return None


def quantizer(node: Node) -> Node | None:
    """The quantize node behind a value, when there is exactly one."""
    found = [user for user in node.users if user.target is QUANTIZE]
    return found[0] if len(found) == 1 else None


def quantization_of(node: Node) -> Quantization:
    values = arguments(node)
    return per_tensor(values["scale"], values["zero_point"], CODES[values["dtype"]])


def shape_at(node: Node, batch: int) -> tuple[int, ...]:
    """The node's shape with the file's batch; of a list of tensors, that of the first."""
    value = node.meta["val"]
    value = value[0] if isinstance(value, (list, tuple)) else value
    return tuple(at_batch(size, batch) for size in value.shape)


def is_tensor(node: Node) -> bool:
    """Whether the node gives a tensor or several, rather than a size."""
    return isinstance(node.meta["val"], (torch.Tensor, list, tuple))


def _is_real(node: Node) -> bool:
    """Operations on whole numbers clamp nothing."""
    return bool(node.meta["val"].dtype.is_floating_point)


def _resolved(node: Node, batch: int) -> dict[str, Any]:
    """The arguments by name, with every size of the graph as an int."""

    def plain(value: Any) -> Any:
        if isinstance(value, Node) and isinstance(value.meta.get("val"), (int, torch.SymInt)):
            return at_batch(value.meta["val"], batch)
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return value

    if not hasattr(node.target, "_schema"):  # operator.getitem
        return {"self": node.args[0], "index": node.args[1]}
    return {name: plain(value) for name, value in arguments(node).items()}
