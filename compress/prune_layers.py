"""Leave out whole layers and residual branches, those whose absence is seen least in the outputs (depth pruning)."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Lt
from torch.fx import GraphModule, Node

from edgepress import graph, macs
from edgepress.compress._batch_norm import norm_behind
from edgepress.compress._functional import make_functional
from edgepress.compress._reconstruction.refit import reconstructed
from edgepress.data import Batch, Split
from edgepress.errors import BudgetMissed, UnsupportedModel
from edgepress.graph import aten
from edgepress.history import Value
from edgepress.program import Program
from edgepress.stage import Context, Outcome, Stage

JUDGING_SAMPLES = 256
"""The outputs for so many of the samples tell what a layer is worth; each is run once for every layer that is tried."""

Cuts = Mapping[Node, Node]
"""Nodes that are left out, each with the one that is read in its place."""


@dataclass(frozen=True, kw_only=True)
class PruneLayers(Stage):
    """Of a residual sum one summand goes, with all that only it reads; a layer that gives as many values as it reads is
    passed by. They are chosen one after the other: the least damage to the network's outputs for each multiply-accumulate
    saved, measured together with what has gone before. Chen and Zhao (2019, Shallowing Deep Networks) and Men et al.
    (2024, ShortGPT) find such layers by their features.

    macs: at most this share of the network's multiply-accumulates stays.
    reconstruct: refit the layers behind by least squares, so that they give what they gave; it needs no labels.
    samples, batch_size: how much calibration data the choice and the fit read.

    A rule with `skip` keeps a layer, or the summands of a sum.
    """

    shorthand = "macs"
    skips_layers = True

    macs: Annotated[float, Gt(0), Lt(1)] = 0.7
    reconstruct: bool = True
    samples: Annotated[int, Ge(1)] = 1024
    batch_size: Annotated[int, Ge(1)] = 128

    def needs(self) -> frozenset[Split]:
        return frozenset({"calibrate"})

    def check(self, program: Program) -> None:
        """Raises UnsupportedModel for a network of which nothing can be left out."""
        graph_module = program.graph_module()
        make_functional(graph_module)
        if not _candidates(graph_module):
            raise UnsupportedModel(
                "No layer can be left out: there is no sum of two, and none gives the shape that it reads.",
                hint="--prune makes layers thinner",
            )

    def apply(self, program: Program, context: Context) -> Outcome:
        """Raises BudgetMissed where too little can be left out."""
        batches = list(
            context.required_data().batches(
                "calibrate", program.preprocess, batch_size=self.batch_size, limit=self.samples
            )
        )
        graph_module = program.graph_module()
        skipped = {
            node.name
            for node in graph.operators(graph_module)
            if context.rules.apply(self, graph.layer_name(node), graph.op_name(node)) is None
        }
        make_functional(graph_module)
        search = _Search(graph_module, _first(batches, JUDGING_SAMPLES), skipped)
        shallow = search.within(self, context)
        gone = sorted(_layers(graph_module) - _layers(shallow))
        results: dict[str, Value] = {
            "macs": search.macs(shallow),
            "left_out": list(gone),
            "damage": search.damage(shallow),
        }
        context.announce(f"{self.name()} leaves out {', '.join(gone)}")
        done = program.replace(shallow)
        if self.reconstruct:
            done, found = reconstructed(program, done, {}, batches)
            errors: dict[str, Value] = {name: list(pair) for name, pair in found.errors.items()}
            results["reconstruction"] = {"samples": found.samples, "errors": errors, "left": dict(found.left)}
        return Outcome(done, results)


def _layers(graph_module: GraphModule) -> set[str]:
    """The names of the layers that have weights."""
    return {graph.layer_name(node) for node in graph.operators(graph_module) if graph.weight_name(node)}


def _candidates(graph_module: GraphModule) -> list[tuple[Node, Node]]:
    """What can be left out, and what is read in its place: for a sum one summand, for a layer its input."""
    found: list[tuple[Node, Any]] = []
    for node in graph.operators(graph_module):
        if node.target is aten.add.Tensor and graph.arguments(node)["alpha"] == 1:
            found += [(node, kept) for kept in node.args]
        elif graph.weight_name(node):
            found.append((norm_behind(node) or node, graph.arguments(node)["input"]))
    return [(node, kept) for node, kept in found if _is_alike(node, kept)]


def _is_alike(node: Node, other: Any) -> bool:
    """Whether `other` is computed, too, and has the same shape and type."""
    if not isinstance(other, Node) or other.op == "get_attr" or graph.shape(node) != graph.shape(other):
        return False
    return bool(node.meta["val"].dtype == other.meta["val"].dtype)


def _without(graph_module: GraphModule, cuts: Cuts) -> GraphModule:
    """The network without what only the cut nodes read; it shares the weights of the rest."""
    shallow = graph.copied(graph_module.graph)
    copies = {node.name: node for node in shallow.nodes}
    for node in cuts:
        kept = node
        while kept in cuts:
            kept = cuts[kept]
        copies[node.name].replace_all_uses_with(copies[kept.name])
    shallow.eliminate_dead_code()
    return GraphModule(graph_module, shallow)


class _Search:
    """Chooses cuts by their damage: the squared error of the outputs, over their variance about each batch's mean."""

    def __init__(self, graph_module: GraphModule, batches: Sequence[Batch], skipped: set[str]) -> None:
        self.graph_module, self.batches, self.skipped = graph_module, batches, skipped
        self.wanted = [graph.run(graph_module, batch.inputs) for batch in batches]
        self.macs_of = {node.name: macs.count(node) or 0 for node in graph.operators(graph_module)}
        self.whole = self.macs(graph_module)

    def macs(self, shallow: GraphModule) -> int:
        """Of a network that has lost operators; those that are left compute what they did."""
        return sum(self.macs_of[node.name] for node in graph.operators(shallow))

    def damage(self, shallow: GraphModule) -> float:
        missed = whole = 0.0
        for batch, wanted in zip(self.batches, self.wanted, strict=True):
            for given, got in zip(wanted, graph.run(shallow, batch.inputs), strict=True):
                missed += float(np.square(given - got, dtype=np.float64).sum())
                whole += float(np.square(given - given.mean(0), dtype=np.float64).sum())
        return missed / max(whole, 1e-300)

    def within(self, options: PruneLayers, context: Context) -> GraphModule:
        """The network within the budget, and with every cut that this does not need undone.

        Prices are measured again only for what heads the list: what goes makes the rest dearer, hardly ever cheaper
        (Minoux, 1978, the lazy greedy algorithm).
        """
        cuts: dict[Node, Node] = {}
        damage = 0.0
        budget = options.macs * self.whole
        priced = [(0.0, number, -1, cut) for number, cut in enumerate(_candidates(self.graph_module))]
        left = self.whole
        while left > budget:
            context.progress("leaving layers out", round(self.whole - left), round(self.whole - budget))
            if not priced:
                raise self._missed(options, left)
            _, number, known_at, (node, kept) = heapq.heappop(priced)
            if known_at == len(cuts):
                cuts[node] = kept
                shallow = _without(self.graph_module, cuts)
                left, damage = self.macs(shallow), self.damage(shallow)
            elif node not in cuts and (price := self._price({**cuts, node: kept}, left, damage)) is not None:
                heapq.heappush(priced, (price, number, len(cuts), (node, kept)))
        for node in list(cuts):
            fewer = {other: kept for other, kept in cuts.items() if other is not node}
            cuts = fewer if self._left(fewer) <= budget else cuts
        return _without(self.graph_module, cuts)

    def _left(self, cuts: Cuts) -> int:
        return self.macs(_without(self.graph_module, cuts))

    def _price(self, cuts: Cuts, left: int, damage: float) -> float | None:
        """What the last of the cuts adds to the `damage` for each multiply-accumulate that it saves of those `left`; None
        where it saves none, or a rule's layer would go."""
        shallow = _without(self.graph_module, cuts)
        saved = left - self.macs(shallow)
        if not saved or not self.skipped <= {other.name for other in shallow.graph.nodes}:
            return None
        return (self.damage(shallow) - damage) / saved

    def _missed(self, options: PruneLayers, left: int) -> BudgetMissed:
        share = math.ceil(100 * left / self.whole) / 100
        return BudgetMissed(
            f"What can be left out leaves {share:g} of the multiply-accumulates, not {options.macs:g}.",
            where=f"prune_layers macs={options.macs:g}",
            hint=f"{f'macs={share:g}, or ' if share < 1 else ''}--prune macs={options.macs:g}, which makes layers thinner",
        )


def _first(batches: Iterable[Batch], samples: int) -> list[Batch]:
    """As many of the batches as hold so many samples; one at least."""
    taken: list[Batch] = []
    for batch in batches:
        if sum(len(other) for other in taken) < samples:
            taken.append(batch)
    return taken
