"""How much the noise of each layer's shared values is heard at the end of the network: measured, one layer at a time."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch.fx import GraphModule

from edgepress import graph
from edgepress.compress._sharing.choice import Sharable, fewest_values
from edgepress.compress._training.classification import first_output
from edgepress.data import Batch

PROBED_DB = 20.0
"""Each layer is shared to a hundredth of noise: well above rounding, and below what turns outputs into something else."""

LEAST_EFFECT = 0.01
"""Of the mean: what a few samples do not hear is not free."""


def measured_effects(
    graph_module: GraphModule, layers: Sequence[Sharable], batches: Iterable[Batch]
) -> list[float]:
    """The noise in the network's first output for one unit of noise in a layer's own, both as shares of energy, for
    each of the layers. `graph_module` is as before in the end."""
    inputs = [tuple(torch.from_numpy(array) for array in batch.inputs) for batch in batches]
    wanted = _outputs(graph_module, inputs)
    found = []
    for layer in layers:
        sharing = fewest_values(layer, PROBED_DB)
        _set(graph_module, layer, layer.shared(sharing))
        lost = (_outputs(graph_module, inputs) - wanted).square().sum() / wanted.square().sum()
        _set(graph_module, layer, layer.weight)
        found.append(float(lost) / sharing.noise if sharing.noise else 1.0)
    least = LEAST_EFFECT * sum(found) / max(len(found), 1)
    return [max(effect, least) or 1.0 for effect in found]


def _set(graph_module: GraphModule, layer: Sharable, weight: np.ndarray) -> None:
    stored: torch.Tensor = operator.attrgetter(layer.layer.weight)(graph_module)
    graph.set_constant(graph_module, layer.layer.weight, torch.from_numpy(weight).to(stored.dtype))


def _outputs(graph_module: GraphModule, inputs: Sequence[tuple[torch.Tensor, ...]]) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([first_output(graph_module(*one)).double().flatten() for one in inputs])
