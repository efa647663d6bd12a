"""Replace a layer by two thinner ones whose product gives nearly the same outputs (low-rank factorization)."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Lt
from torch.fx import GraphModule, Node

from edgepress import graph, macs
from edgepress.errors import BudgetMissed, UnsupportedModel
from edgepress.graph import aten
from edgepress.program import Program
from edgepress.rules import Rules
from edgepress.stage import Context, Outcome, Stage

POINTWISE: dict[Any, Any] = {
    aten.conv1d.default: aten.conv1d.default,
    aten.conv2d.default: aten.conv2d.default,
    aten.conv2d.padding: aten.conv2d.default,
    aten.linear.default: aten.linear.default,
}
"""The layers that are factorized, and what the second of the two is."""


@dataclass(frozen=True, kw_only=True)
class LowRank(Stage):
    """The response of a layer lies near a subspace: its first principal directions, found on calibration data,
    make a layer of as many channels and a pointwise one behind it (Zhang, Zou, He and Sun, 2016, Accelerating
    Very Deep Convolutional Networks for Classification and Detection, sections 3.1 and 3.3).

    macs: the share of the network's multiply-accumulates to keep. Directions are given up in the order of the share of
        their layer's variance that they hold for each multiply-accumulate they cost.
    round_to: ranks are multiples of it.
    samples, batch_size: how much calibration data the directions come from; without data the weights alone tell
        (a singular value decomposition).

    Convolutions in groups and weights that several layers share stay whole, and every layer does that two thinner ones
    would not make cheaper. Rules can set `round_to` for single layers; one with `skip` keeps a layer whole.
    """

    shorthand = "macs"
    per_layer = frozenset({"round_to"})

    macs: Annotated[float, Gt(0), Lt(1)] = 0.5
    round_to: Annotated[int, Ge(1)] = 8
    samples: Annotated[int, Ge(1)] = 512
    batch_size: Annotated[int, Ge(1)] = 64

    def check(self, program: Program) -> None:
        """Raises UnsupportedModel for a network without a layer to factorize, or one that is quantized."""
        if program.precision == "int8":
            raise UnsupportedModel(
                "The network is quantized: its weights are integers.",
                hint="put low_rank before the quantization",
            )
        if not _layers(program.graph_module(), Rules(), self):
            raise UnsupportedModel(
                "No layer would become cheaper as two: factorization needs ungrouped layers with many channels and weights of their own.",
                hint="a smaller round_to, or --prune",
            )

    def apply(self, program: Program, context: Context) -> Outcome:
        """Raises BudgetMissed where the smallest ranks do not save as much."""
        graph_module = program.graph_module()
        layers = _layers(graph_module, context.rules, self)
        spectra = _spectra(program, layers, self, context) if layers else {}
        total = macs.total(graph_module)
        ranks = _ranks(spectra, layers, total, self)
        names = {node: graph.layer_name(node) for node in ranks}
        for node, rank in ranks.items():
            _factorize(graph_module, node, spectra[node], rank)
        return Outcome(
            program.replace(graph_module),
            {
                "ranks": {names[node]: rank for node, rank in ranks.items()},
                "variance_kept": {names[node]: 1 - spectra[node].lost(rank) for node, rank in ranks.items()},
            },
        )


@dataclass(frozen=True)
class _Spectrum:
    """Of one layer's response (its outputs without the bias): the principal directions as columns, outputs x outputs, the
    variance along each, the largest first, and the mean. `whole` and `rank_macs` are the multiply-accumulates of the layer,
    and of each direction of the two that replace it."""

    directions: torch.Tensor
    variances: torch.Tensor
    mean: torch.Tensor
    whole: int
    rank_macs: float

    def lost(self, rank: int) -> float:
        """The share of the variance that lies outside of the first `rank` directions."""
        return float(self.variances[rank:].sum() / self.variances.sum().clamp_min(1e-30))

    def most(self, round_to: int) -> int:
        """The largest rank at which the two are cheaper than the one; 0 where none is."""
        rank = math.ceil(self.whole / self.rank_macs) - 1
        return min(rank, len(self.variances) - 1) // round_to * round_to


def _layers(graph_module: GraphModule, rules: Rules, options: LowRank) -> dict[Node, LowRank]:
    """The layers that may be factorized, each with the options for it."""
    found = {}
    for node in graph.operators(graph_module):
        weight = _weight(node)
        if weight is None or graph.readers(graph_module, graph.weight_node(node)) != 1:
            continue
        own = rules.apply(options, graph.layer_name(node), graph.op_name(node))
        in_groups = graph.arguments(node).get("groups", 1) != 1
        if own and not in_groups and min(len(weight), weight[0].numel()) > own.round_to:
            found[node] = own
    return found


def _weight(node: Node) -> torch.Tensor | None:
    """The stored weight of a layer that can be factorized; None for any other operator."""
    module = node.graph.owning_module
    if node.target not in POINTWISE or module is None:
        return None
    weight = graph.constant(module, graph.arguments(node).get("weight"))
    return None if weight is None else weight.detach()


def _spectra(
    program: Program, layers: Mapping[Node, LowRank], options: LowRank, context: Context
) -> dict[Node, _Spectrum]:
    responses = {node: _Response(node) for node in layers}
    if context.data is None:
        return {node: response.spectrum(*response.to_noise()) for node, response in responses.items()}
    batches = context.data.batches(
        "calibrate", program.preprocess, batch_size=options.batch_size, limit=options.samples
    )
    _watch(responses, (tuple(map(torch.from_numpy, batch.inputs)) for batch in batches))
    return {node: response.spectrum(*response.seen()) for node, response in responses.items()}


class _Response:
    """What a layer gives, summed over samples and places."""

    def __init__(self, node: Node) -> None:
        weight = _weight(node)
        assert weight is not None, "only layers with a stored weight are factorized"
        self.node, self.weight = node, weight
        outputs = len(weight)
        self.products = torch.zeros(outputs, outputs, dtype=torch.float64)
        self.total = torch.zeros(outputs, dtype=torch.float64)
        self.count = 0

    def add(self, result: torch.Tensor) -> None:
        axis = -1 if self.node.target is aten.linear.default else 1
        rows = result.movedim(axis, -1).flatten(0, -2).double()
        self.products += rows.T @ rows
        self.total += rows.sum(0)
        self.count += len(rows)

    def seen(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(covariance, mean without the bias) of what was added."""
        mean = self.total / self.count
        module = self.node.graph.owning_module
        assert module is not None, "the node is of a module's graph"
        bias = graph.constant(module, graph.arguments(self.node).get("bias"))
        covariance = self.products / self.count - torch.outer(mean, mean)
        return covariance, mean if bias is None else mean - bias.detach()

    def to_noise(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(covariance, mean) of the response to inputs that are white noise."""
        rows = self.weight.flatten(1).double()
        return rows @ rows.T, self.total

    def spectrum(self, covariance: torch.Tensor, mean: torch.Tensor) -> _Spectrum:
        variances, directions = torch.linalg.eigh(covariance)
        whole = macs.count(self.node) or 0
        places = whole / self.weight.numel()
        return _Spectrum(
            directions.flip(1),
            variances.flip(0).clamp_min(0),
            mean,
            whole,
            rank_macs=places * (self.weight[0].numel() + len(self.weight)),
        )


def _watch(responses: Mapping[Node, _Response], batches: Iterable[tuple[torch.Tensor, ...]]) -> None:
    """Run the network on the batches and add up what its layers give."""

    class Watching(torch.fx.Interpreter):
        def run_node(self, n: Node) -> Any:
            result = super().run_node(n)
            if n in responses:
                responses[n].add(result)
            return result

    module = next(iter(responses)).graph.owning_module
    assert module is not None, "the nodes are of a module's graph"
    with torch.no_grad():
        for inputs in batches:
            Watching(module).run(*inputs)


def _ranks(
    spectra: Mapping[Node, _Spectrum], layers: Mapping[Node, LowRank], total: int, options: LowRank
) -> dict[Node, int]:
    """The rank of each layer that is replaced: step by step, whatever loses the least variance for what it saves."""
    steps: list[tuple[float, int, int]] = []
    nodes = list(spectra)

    def offer(number: int, now: int | None) -> None:
        spectrum, step = spectra[nodes[number]], layers[nodes[number]].round_to
        rank = spectrum.most(step) if now is None else now - step
        if rank >= step:
            before = (0.0, spectrum.whole) if now is None else (spectrum.lost(now), now * spectrum.rank_macs)
            price = (spectrum.lost(rank) - before[0]) / (before[1] - rank * spectrum.rank_macs)
            heapq.heappush(steps, (price, number, rank))

    for number in range(len(nodes)):
        offer(number, None)
    ranks: dict[Node, int] = {}
    left = float(total)
    while left > options.macs * total:
        if not steps:
            least = math.ceil(100 * left / total) / 100
            raise BudgetMissed(
                f"The smallest ranks leave {left / total:.2f} of the multiply-accumulates, not {options.macs:g}.",
                where=f"low_rank macs={options.macs:g}",
                hint=f"macs={least:g}, or a smaller round_to"
                if least < 1
                else "a smaller round_to, or --prune",
            )
        _, number, rank = heapq.heappop(steps)
        node = nodes[number]
        before = ranks[node] * spectra[node].rank_macs if node in ranks else spectra[node].whole
        left += rank * spectra[node].rank_macs - before
        ranks[node] = rank
        offer(number, rank)
    return ranks


def _factorize(graph_module: GraphModule, node: Node, spectrum: _Spectrum, rank: int) -> None:
    """The layer gives the coordinates along the directions, without a bias; a pointwise one behind it their sum."""
    arguments = graph.arguments(node)
    weight, bias = _weight(node), graph.constant(graph_module, arguments.get("bias"))
    assert weight is not None, "only layers with a stored weight are factorized"
    directions = spectrum.directions[:, :rank].to(weight.dtype)
    outside = spectrum.mean - spectrum.directions[:, :rank] @ (
        spectrum.directions[:, :rank].T @ spectrum.mean
    )
    offset = outside.to(weight.dtype) + (0 if bias is None else bias.detach())
    thin = (directions.T @ weight.flatten(1)).reshape(rank, *weight.shape[1:])
    owner = graph.layer_name(node)
    name = f"{owner}.expanded"
    while hasattr(graph_module.get_submodule(owner), name.rpartition(".")[2]):
        name += "_"
    graph.set_constant(graph_module, graph.weight_name(node), thin.contiguous())
    pointwise = directions.reshape(*directions.shape, *(1 for _ in weight.shape[2:])).contiguous()
    graph.set_constant(graph_module, f"{name}.weight", torch.nn.Parameter(pointwise))
    graph.set_constant(graph_module, f"{name}.bias", torch.nn.Parameter(offset))
    with graph_module.graph.inserting_after(node):
        second = graph_module.graph.call_function(POINTWISE[node.target])
    with graph_module.graph.inserting_before(second):
        constants = [graph_module.graph.get_attr(f"{name}.{leaf}") for leaf in ("weight", "bias")]
    node.replace_all_uses_with(second)
    second.args = (node, *constants)
    second.meta = dict(node.meta)
    node.args = (*node.args[:2], None, *node.args[3:])
