"""Networks with random weights whose values neither fade through their layers nor drown in roundings."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from edgepress import graph
from edgepress.program import Program


def settled(program: Program, batches: Iterable[tuple[torch.Tensor, ...]]) -> Program:
    """With the statistics of these batches in the batch norms, without which the values of a deep network fade to nothing.

    Batch norms add one standard deviation. With none, as networks begin to learn, a rectifier cuts half of its values
    off, and what is left of a rounding has 1.47 times its share of the energy, at each layer again: behind the 75 of
    Inception v4 the same integer network, computed in float32 and in float64, agrees by 4 dB. With one it is 1.12.
    """
    inside = program.graph_module()
    for node in graph.operators(inside):
        if graph.op_name(node) == "batch_norm":
            bias = graph.arguments(node)["bias"]
            stored = graph.constant(inside, bias)
            assert stored is not None, "the zoo's batch norms have one"
            graph.set_constant(inside, str(bias.target), torch.ones_like(stored))
    program = program.replace(inside)
    module = program.module().train()
    with torch.no_grad():
        for batch in batches:
            module(*batch)
    return program.replace(module)
