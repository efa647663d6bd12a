"""Gives each layer that reads integers a bias of its own, where several read one."""

from __future__ import annotations

import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._quantization.plan import Plan


def separate_biases(graph_module: GraphModule, plan: Plan) -> None:
    """In place. The first that reads a bias keeps its name, the second gets `bias_1`. Weights stay shared.

    Runtimes hold a bias in steps of its layer, and what layers read that share a weight has a scale for each: whole steps
    of one are none of another. One scale for all that they read would spare these few numbers, but the levels of a
    pyramid differ in size, and the heads that read all of them would have no steps left for the smallest.
    """
    for layer in reversed(plan.layers):
        bias = graph.arguments(layer)["bias"]
        if layer in plan.readers and (count := graph.readers(graph_module, bias)) > 1:
            _take_own(graph_module, layer, bias, f"{bias.target}_{count - 1}")


def _take_own(graph_module: GraphModule, layer: Node, bias: Node, name: str) -> None:
    """Let the layer read a copy of the bias under `name`."""
    stored = graph.constant(graph_module, bias)
    assert stored is not None, "what has readers is stored"
    graph.set_constant(graph_module, name, torch.nn.Parameter(stored.detach().clone()))
    with graph_module.graph.inserting_before(layer):
        own = graph_module.graph.get_attr(name)
    own.meta = dict(bias.meta)
    layer.replace_input_with(bias, own)
