"""Fits each layer's shared values to what the layer gave before, from what it reads with all sharing before it.

Layer by layer, in execution order: the weights are refitted by least squares, a codebook is found for them, and each gets
its entry with a view on the output (feedback.py). The bias takes over what is left of the mean. No labels are needed.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._quantization.learned import can_learn
from edgepress.compress._reconstruction.least_squares import LeastSquares
from edgepress.compress._reconstruction.order import Order
from edgepress.compress._reconstruction.side_by_side import SideBySide
from edgepress.compress._reconstruction.targets import FITTED, gram_fits
from edgepress.compress._sharing.choice import Sharable, Sharing
from edgepress.compress._sharing.codebook import Codebook, Points, rounded
from edgepress.compress._sharing.feedback import Entries, assigned, coded_bits
from edgepress.data import Batch

RIDGE = 1e-3
"""How strongly the old weights pull in the refit, against the mean square of an input."""

DEAREST, CHEAPEST = 0.0, -24.0
PRICE_STEPS = 10
"""Prices of a bit are tried from 2**-24 to 1 of the mean energy of a weight, to a twentieth of an octave: what is
planned for a layer is met to half a hundredth."""


def can_fit(graph_module: GraphModule, node: Node) -> bool:
    """Whether the layer's weight is its own, and its inputs few enough: every price that is tried asks of each weight what
    each entry would cost."""
    return node.target in FITTED and can_learn(graph_module, node) and gram_fits(node)


def fitted(
    student: GraphModule,
    teacher: GraphModule,
    chosen: Mapping[Sharable, Sharing],
    batches: Iterable[Batch],
    *,
    correct_means: bool,
) -> dict[Sharable, Sharing]:
    """Fit, in `student`, the weights that are shared there as planned, in place; none takes more bytes than planned.

    With `correct_means`, biases take over what is left of the mean. Returns what became of the layers, in the same
    order: their weights, codebooks, and the measured noise.
    """
    planned = {layer.layer.weight: (layer, sharing) for layer, sharing in chosen.items()}
    nodes = [node for node in graph.operators(student) if graph.weight_name(node) in planned]
    both = SideBySide(student, teacher, [node for node in nodes if can_fit(student, node)], batches)
    found = dict(chosen)
    for node in both.nodes:
        layer, sharing = planned[graph.weight_name(node)]
        bias = graph.arguments(node)["bias"] if correct_means else None
        system = both.observe(node, has_intercept=bias is not None)
        found[layer], made = _fit(layer, sharing, system)
        graph.set_constant(student, layer.layer.weight, made.reshape(layer.weight.shape).float())
        if bias is not None:
            left = (system.target_mean - system.mean(made.mT)).flatten()
            # As exact as the codebook is: where weights take five bits, biases of 32 are a thirtieth of the file.
            graph.set_constant(student, str(bias.target), torch.from_numpy(rounded(left.numpy())).float())
    return {Sharable(layer.layer, _stored(student, layer), None): sharing for layer, sharing in found.items()}


def _fit(layer: Sharable, planned: Sharing, system: LeastSquares) -> tuple[Sharing, torch.Tensor]:
    """The better of the weights as they are shared and as they are fitted, groups x outputs x inputs."""
    old = _grouped(torch.from_numpy(layer.weight), system.groups)
    kept = old != 0
    wanted = system.solve_kept(old.mT, kept.mT, RIDGE).mT
    plain = _grouped(torch.from_numpy(layer.shared(planned)), system.groups)
    made, sharing = _found(wanted, kept, system, planned) or (plain, planned)
    if system.error(made.mT) >= system.error(plain.mT):
        made, sharing = plain, planned
    return dataclasses.replace(sharing, noise=system.error(made.mT)), made


def _found(
    wanted: torch.Tensor, kept: torch.Tensor, system: LeastSquares, planned: Sharing
) -> tuple[torch.Tensor, Sharing] | None:
    """With at most as many values where these are a layer's measure; else at the lowest price for a bit at which the
    weights take no more bytes than planned. None where there is none."""
    order = system.moments.order()
    importance = order.importance()[:, None, :].expand_as(wanted)
    points = Points.of(wanted[kept].numpy(), importance[kept].numpy())
    if planned.most_values is not None:
        return _taken(wanted, kept, order, points, points.of_size(planned.most_values), 0.0)
    low, high, best = CHEAPEST, DEAREST, None
    for _ in range(PRICE_STEPS):
        middle = (low + high) / 2
        price = 2.0**middle * points.energy / len(points.values)
        made = _taken(wanted, kept, order, points, points.at_price(price), price)
        if made[1].coded_bytes <= planned.coded_bytes:
            high, best = middle, made
        else:
            low = middle
    return best


def _taken(
    wanted: torch.Tensor, kept: torch.Tensor, order: Order, points: Points, book: Codebook, price: float
) -> tuple[torch.Tensor, Sharing]:
    """The weights in their entries of this codebook, and what they take."""
    expected = np.bincount(book.indices(points.values), minlength=len(book.values))
    entries = Entries.of(book, np.array([int((~kept).sum()), *expected]))
    chosen = assigned(wanted, order, entries, price, ~kept)
    counts = entries.counts(chosen)
    bits = coded_bits(counts)
    values = book.values[counts[1:] > 0]
    return entries.values[chosen], Sharing(Codebook(values, values[:0], 0.0, bits), 0.0, bits / 8)


def _grouped(weight: torch.Tensor, groups: int) -> torch.Tensor:
    """Output channels first, as groups x outputs x inputs in float64."""
    return weight.double().reshape(groups, len(weight) // groups, -1)


def _stored(student: GraphModule, layer: Sharable) -> np.ndarray:
    stored: torch.Tensor = operator.attrgetter(layer.layer.weight)(student)
    found: np.ndarray = stored.detach().double().numpy()
    return found
