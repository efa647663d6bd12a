"""Foresees what PyTorch's ONNX exporter has no function for, by asking its registry instead of exporting."""

from __future__ import annotations

import functools
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.fx import Node
from torch.onnx._internal.exporter import _decomp, _dispatching, _registration

from edgepress import graph
from edgepress.convert._onnx_writing.operators import translations
from edgepress.convert._onnx_writing.silence import quiet
from edgepress.convert._unsupported import ASSERTIONS, UnsupportedOperator
from edgepress.program import Program

BATCH = 2
"""Any but one: into which pieces an operator falls does not depend on how many samples there are."""

HINT = "write these layers with other operators, or try a higher `opset`"


_found: WeakKeyDictionary[Program, dict[int, tuple[UnsupportedOperator, ...]]] = WeakKeyDictionary()
"""By program and opset: a program is asked about several times on its way to a file."""


def missing(program: Program, opset: int) -> tuple[UnsupportedOperator, ...]:
    """Every operator for which ONNX has nothing, nor for one of the pieces that PyTorch takes it apart into."""
    known = _found.setdefault(program, {})
    if opset not in known:
        known[opset] = _missing(program, opset)
    return known[opset]


def _missing(program: Program, opset: int) -> tuple[UnsupportedOperator, ...]:
    ours = translations(program)
    found = []
    known: dict[tuple[object, ...], tuple[str, ...]] = {}
    for node in graph.operators(program.graph_module()):
        if node.target in ours or not isinstance(node.target, torch._ops.OpOverload) or _has(node, opset):
            continue
        use = _use(node)
        if use not in known:
            known[use] = _lacking(node, opset)
        if known[use]:
            what = ", ".join(known[use])
            found.append(UnsupportedOperator.at(node, f"ONNX has no operator for {what}.", HINT))
    return tuple(found)


def _has(node: Node, opset: int) -> bool:
    if getattr(node.target, "overloadpacket", None) in ASSERTIONS:
        return True
    function, _ = _dispatching.dispatch(node, _registry(opset))
    return function is not None


def _lacking(node: Node, opset: int) -> tuple[str, ...]:
    """The pieces of one operator that ONNX lacks. Where the operator cannot be looked at alone, nothing is foreseen:
    then the exporter will tell."""
    try:
        with quiet(), torch.no_grad():
            alone, tensors = _alone(node)
            pieces = torch.export.export(alone, tensors, strict=False).run_decompositions(
                _decompositions(opset)
            )
    except Exception:  # whatever export and the operators themselves raise
        return ()
    nodes = graph.operators(pieces.graph_module)
    return tuple(
        dict.fromkeys(
            str(piece.target).removesuffix(".default")
            for piece in nodes
            if isinstance(piece.target, torch._ops.OpOverload) and not _has(piece, opset)
        )
    )


def _alone(node: Node) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """A module of this one operator, and tensors of the shapes that it gets."""
    own = torch.fx.Graph()
    inputs = {given: own.placeholder(f"input_{place}") for place, given in enumerate(_tensors(node))}
    result = own.call_function(
        node.target,  # type: ignore[arg-type]  # an operator's target can be called
        *torch.fx.map_arg(
            (node.args, node.kwargs),
            lambda given: inputs[given] if given in inputs else graph.at_batch(given, BATCH),
        ),
    )
    own.output(result)
    values = [given.meta["val"] for given in inputs]
    shapes = [[graph.at_batch(size, BATCH) for size in value.shape] for value in values]
    return torch.fx.GraphModule(torch.nn.Module(), own), tuple(
        torch.ones(shape, dtype=value.dtype) for shape, value in zip(shapes, values, strict=True)
    )


def _tensors(node: Node) -> list[Node]:
    return [given for given in node.all_input_nodes if isinstance(given.meta.get("val"), torch.Tensor)]


def _use(node: Node) -> tuple[object, ...]:
    """What decides how the operator is taken apart: its options, and the types and ranks of its tensors."""
    tensors = tuple((given.meta["val"].dtype, given.meta["val"].ndim) for given in _tensors(node))
    options = torch.fx.map_arg((node.args, node.kwargs), lambda given: None)
    return node.target, tensors, str(options)


@functools.lru_cache(maxsize=8)
def _registry(opset: int) -> Any:
    """The exporter's own; private, as torch offers no other way to ask."""
    with quiet():
        return _registration.ONNXRegistry.from_torchlib(opset)


@functools.lru_cache(maxsize=8)
def _decompositions(opset: int) -> dict[Any, Any]:
    registered = _decomp.get_onnx_implemented_overloads(_registry(opset))
    return dict(_decomp.create_onnx_friendly_decomposition_table(set(registered)))
