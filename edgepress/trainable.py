"""A captured graph as an nn.Module that any training loop can train."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Node

from edgepress.graph import aten

TRAINING_FLAG = {
    aten.batch_norm.default: 5,
    aten.dropout.default: 2,
    aten.dropout_.default: 2,
    aten.feature_dropout.default: 2,
    aten.instance_norm.default: 5,
}
"""Operators that behave differently in training, and the position of the flag that says so."""

STATISTICS = {aten.batch_norm.default: 3, aten.instance_norm.default: 3}
"""The position of the running mean, without which an operator takes the batch's statistics at all times."""


class Trainable(torch.nn.Module):
    """A GraphModule whose `train()` and `eval()` set the flags in its graph; parameter names are the user's."""

    graph_module: GraphModule

    def __init__(self, graph_module: GraphModule) -> None:
        super().__init__()
        # Both modules hold the very same tables: whatever moves or replaces a tensor through one is seen by the other.
        self._parameters = graph_module._parameters
        self._buffers = graph_module._buffers
        self._modules = graph_module._modules
        self.__dict__["graph_module"] = graph_module
        _take_any_memory_layout(graph_module)
        self.eval()

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.graph_module(*inputs)

    def train(self, mode: bool = True) -> Trainable:
        self.training = mode
        changed = False
        for node in self.graph_module.graph.nodes:
            position = TRAINING_FLAG.get(node.target)
            if position is not None and not _has_one_mode(node) and node.args[position] is not mode:
                node.update_arg(position, mode)
                changed = True
        if changed:
            self.graph_module.recompile()
        return self


def _has_one_mode(node: Node) -> bool:
    return node.target in STATISTICS and node.args[STATISTICS[node.target]] is None


def _take_any_memory_layout(graph_module: GraphModule) -> None:
    """Views become reshapes: training lays pictures out channels-last, of which not every view can be had.

    A view stays where others read the same memory: something may write into it.
    """
    for node in graph_module.graph.nodes:
        if node.target is aten.view.default:
            base = node.all_input_nodes[0]
            others = [
                user for user in base.users if user is not node and user.target is not aten.sym_size.int
            ]
            if not others:
                node.target = aten.reshape.default
    graph_module.recompile()
