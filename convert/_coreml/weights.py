"""What a package stores: read back from its files, as Core ML will, and compared with the network it was made from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.convert._coreml.convert import quiet
from edgepress.errors import VerificationFailed
from edgepress.history import Value
from edgepress.program import Program
from edgepress.sqnr import MOST_DB, decibel

WEIGHTED = ("conv", "conv_transpose", "linear")
"""Core ML's layers with weights."""

LIMITS_DB = {"float32": 100.0, "float16": 60.0, "int8": 25.0, "palette4": 8.0}
"""The SQNR that every stored weight has at least. 24 and 11 bits round to less; 8 bits with a scale an output channel
lose most where a channel has few large weights; a palette has 16 values for a whole tensor."""


def checked(package: Path, program: Program, kind: str) -> dict[str, Value]:
    """Compare the names of inputs and outputs, and every weight as it is stored, with the Program's.

    Raises VerificationFailed where they do not agree; says how many weights there are, and how near the worst is.
    """
    with quiet():
        import coremltools

        model = coremltools.models.MLModel(str(package), skip_model_load=True)
        description = model.get_spec().description
        names = tuple(
            tuple(feature.name for feature in features)
            for features in (description.input, description.output)
        )
        stored = _stored(coremltools.optimize.coreml, model)
    _require(names == program.signature.distinct_names(), f"its inputs and outputs are {names}", package)
    module = program.graph_module()
    nodes = [node for node in graph.operators(module) if _is_stored(module, node)]
    _require(len(nodes) == len(stored), f"it has {len(stored)} weights in place of {len(nodes)}", package)
    # coremltools may change the order of branches: each weight is compared with the nearest that is stored.
    worst = min(
        (max(_nearness(module, node, weight) for weight in stored) for node in nodes), default=math.inf
    )
    _require(worst >= LIMITS_DB[kind], f"a weight departs: SQNR {worst:.1f} dB", package)
    return {"weights_compared": len(stored), "worst_weight_db": round(min(worst, MOST_DB), 1)}


def _stored(optimize: Any, model: Any) -> list[np.ndarray]:
    """The weights of all layers in the order of execution, as real numbers."""
    plain = optimize.decompress_weights(model)
    constants = optimize.get_weights_metadata(plain, weight_threshold=0)
    function = plain._mil_program.functions["main"]
    layers = [operator for operator in function.operations if operator.op_type in WEIGHTED]
    by_name = {name: constant.val for name, constant in constants.items()}
    weights = (by_name.get(operator.weight.name) for operator in layers)
    return [np.asarray(weight, np.float64) for weight in weights if weight is not None]


def _is_stored(module: GraphModule, node: Node) -> bool:
    return node.target in graph.WEIGHTED and graph.constant(module, graph.weight_node(node)) is not None


def _nearness(module: GraphModule, node: Node, stored: np.ndarray) -> float:
    """The SQNR in dB. A batch-norm that was folded in scales an output channel; that is taken out where there is one."""
    weight = real_weight(module, node)
    if weight.shape != stored.shape:
        return -math.inf
    axis = 1 if "transpose" in graph.op_name(node) else 0
    rows, kept = (np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1) for array in (weight, stored))
    if any(graph.op_name(user) == "batch_norm" for user in node.users):
        rows = rows * (np.sum(rows * kept, 1) / np.maximum(np.sum(rows * rows, 1), 1e-30))[:, None]
    noise = float(np.square(rows - kept).sum())
    return decibel(float(np.square(rows).sum()), noise)


def real_weight(module: GraphModule, node: Node) -> np.ndarray:
    """The weight of a layer as real numbers, an int8 one through its scales."""
    argument = graph.arguments(node)["weight"]
    stored = graph.constant(module, graph.weight_node(node))
    assert stored is not None, "asked for layers that store their weight"
    weight: np.ndarray = stored.detach().double().numpy()
    if argument.target is not graph.DEQUANTIZE_CHANNELS:
        return weight
    scales = graph.constant(module, argument.args[1])
    assert scales is not None, "a quantized weight has its scales beside it"
    shape = [1] * weight.ndim
    shape[graph.arguments(argument)["axis"]] = -1
    real: np.ndarray = weight * scales.detach().double().numpy().reshape(shape)
    return real


def _require(holds: bool, what: str, package: Path) -> None:
    if not holds:
        raise VerificationFailed(
            f"The Core ML file differs from the network: {what}.",
            where=str(package),
            hint="weights=float32 stores them exactly; or convert --to tflite",
        )
