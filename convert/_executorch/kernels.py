"""Which operators of a Program ExecuTorch has no kernel for: asked of the runtime, before the minutes of lowering."""

from __future__ import annotations

import warnings

from torch.fx import Node

from edgepress import graph
from edgepress.convert._response_norm import with_plain_norms
from edgepress.convert._unsupported import ASSERTIONS, UnsupportedOperator
from edgepress.program import Program


def without_kernel(program: Program) -> tuple[UnsupportedOperator, ...]:
    """Every operator, as PyTorch decomposes it, of which the runtime has no form, delegated or not."""
    from executorch.extension.pybindings import _C as runtime

    known = {name.partition(".")[0] for name in runtime._get_operator_names()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch on itself
        lowest = with_plain_norms(program).exported.run_decompositions()
    return tuple(
        UnsupportedOperator.at(node, f"ExecuTorch has no kernel for {graph.op_name(node)}.")
        for node in graph.operators(lowest.graph_module)
        if not _has_kernel(node, known)
    )


def _has_kernel(node: Node, known: set[str]) -> bool:
    if getattr(node.target, "overloadpacket", None) in ASSERTIONS:
        return True
    schema = getattr(node.target, "_schema", None)
    if schema is None or not schema.name.startswith("aten::"):
        return True  # an entry of several results, a size, or one of the quantizing operators
    return any(f"{schema.name}{form}" in known for form in ("", "_copy"))
