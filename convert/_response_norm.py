"""Local response normalisation in operators that every runtime has a fast kernel for: a convolution over channels in
place of the pooling, and roots in place of the power."""

from __future__ import annotations

from torch._ops import OpOverload
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.graph import aten
from edgepress.program import Program
from edgepress.response_norm import neighbours_as_layers

SQUARE_ROOT, FOURTH_ROOT, BOTH = 0.5, 0.25, 0.75
"""Powers that are a root or the product of two; the last is AlexNet's and GoogLeNet's."""


def with_plain_norms(program: Program) -> Program:
    """The program with such norms spelt out; itself where it has none."""
    module = program.graph_module()
    return program.replace(module) if spell_out_norms(module) else program


def spell_out_norms(module: GraphModule) -> bool:
    """Do so in place; whether there was one."""
    if not neighbours_as_layers(module):
        return False
    for node in list(graph.operators(module)):
        if node.target is aten.pow.Tensor_Scalar and node.args[1] in (SQUARE_ROOT, FOURTH_ROOT, BOTH):
            _as_roots(module, node)
    module.recompile()
    return True


def _as_roots(module: GraphModule, power: Node) -> None:
    def put(target: OpOverload, *inputs: Node) -> Node:
        with module.graph.inserting_before(power):
            made = module.graph.call_function(target, inputs)
        made.meta = dict(power.meta)
        return made

    root = put(aten.sqrt.default, *power.all_input_nodes)
    if power.args[1] != SQUARE_ROOT:
        fourth = put(aten.sqrt.default, root)
        root = fourth if power.args[1] == FOURTH_ROOT else put(aten.mul.Tensor, root, fourth)
    power.replace_all_uses_with(root)
    module.graph.erase_node(power)
