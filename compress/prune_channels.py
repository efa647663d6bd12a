"""Remove whole channels, smaller tensors and not masks, until the network fits a budget."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from edgepress.compress._channels.alignment import aligned
from edgepress.compress._channels.apart import prepared
from edgepress.compress._channels.budget import SAVING_EXPONENT, Limit, Problem, search_global, search_uniform
from edgepress.compress._channels.bundles import bundles
from edgepress.compress._channels.candidates import MOST, best
from edgepress.compress._channels.importance import CRITERIA, CriterionName
from edgepress.compress._channels.labels import Parts
from edgepress.compress._channels.latency_budget import LatencyBudget, LatencyOption
from edgepress.compress._channels.layers import named_layers, output_count
from edgepress.compress._channels.limits import limits
from edgepress.compress._channels.plan import (
    LayerPlan,
    Plan,
    Prunable,
    check_prunable,
    classes_kept,
    plan_for,
    prunable_of,
    reasons_to_stay,
)
from edgepress.compress._channels.reasons import reasons_after
from edgepress.compress._channels.recovery import recovered
from edgepress.compress._channels.rewrite import remove
from edgepress.compress._channels.scores import Samples
from edgepress.compress._channels.structure import Structure, read_structure
from edgepress.compress._channels.timing import plan_within
from edgepress.compress._reconstruction.targets import Orders
from edgepress.data import Batch, Split
from edgepress.errors import BadOption
from edgepress.program import Program
from edgepress.stage import Context, Outcome, Stage

__all__ = [
    "LatencyBudget",
    "LayerPlan",
    "Plan",
    "Prunable",
    "PruneChannels",
    "plan_exactly",
    "prunable",
    "rewrite",
]

Share = Annotated[float, Gt(0), Lt(1)]

BUDGETS = ("macs", "parameters", "size_bytes", "latency")
"""The options of which each sets a limit."""


@dataclass(frozen=True, kw_only=True)
class PruneChannels(Stage):
    """Structured pruning of output channels on the labelled graph, planned before anything is changed.

    macs: at most this share of the original network's multiply-accumulates stays.
    parameters: at most this share of the original network's parameters stays.
    size_bytes: at most so many bytes of weights stay, as they are stored now (4 each for float32).
    latency: this share of the original network's latency stays, measured on a target: 0.6@cpu:litert, or 0.6 on
        cpu:onnxruntime. The networks are converted and timed as they stand here, in float; the result is
        within 5 % of the budget, and not above it where the steps of the channels allow.
    ratio: without a budget, this share of the channels goes everywhere.
    criterion: which channels matter least: by the l1 or l2 norm of their filters, how near these are to all
        others of the layer (geometric_median), the batch-norm scale (bn_scale), or by chance (random, the
        control). With data, which need no labels: by the change of the loss when they go, of first order
        (taylor) or second (fisher), or by their mean absolute activation (activation).
    scope: within a budget, rank all channels of the network together (global), or take the same share everywhere
        (uniform).
    round_to: channel counts become multiples of this, where a layer has as many.
    min_channels: a layer keeps at least as many.
    max_ratio: a layer loses at most this share of the channels it had in the original network.
    parts: of an attention's heads and the groups of a convolution, either whole ones go (whole), or the same places
        within every one (within): fewer heads, or narrower ones. auto: whole heads; whole groups of convolutions
        with 8 or more, otherwise within. What lets nothing go gives way to the other. For fewer heads that are
        narrower too, prune twice, as macs=0.7,parts=whole and then macs=0.5,parts=within. apart: as auto, but each group
        of a convolution becomes a convolution of its own (conv.group0), that loses what it likes; where shuffles tie
        all groups together, as in ShuffleNet v1, nothing else lets anything go.
    saving_exponent: importance is paid for by this power of what removing saves: 0 only ranks by importance.
    candidates: with data, try so many plans (this criterion and exponent, then others) and keep the one whose
        network answers most like the unpruned one on samples held back; each takes as long as one prune.
    reconstruct: refit the layers behind removed channels so that they give what the unpruned network gave, when
        there is data; it needs no labels.
    recalibrate_batch_norm: measure batch-norm statistics anew afterwards, when there is data and a layer that
        could not be refitted.
    samples, batch_size: how much data the criterion, the fit and the batch-norm statistics use.

    Rules can set ratio, round_to, min_channels and max_ratio for single layers, and for all that are tied to them;
    one with `skip` keeps all outputs of a layer. A layer with a ratio loses just that share, next to a multiple of
    round_to and whatever max_ratio says, and a budget is met by the others.
    """

    shorthand = "macs"
    per_layer = frozenset({"ratio", "round_to", "min_channels", "max_ratio"})

    macs: Share | None = None
    parameters: Share | None = None
    size_bytes: Annotated[int, Ge(1)] | None = None
    latency: LatencyOption | None = None
    ratio: Share | None = None
    criterion: CriterionName = "l2"
    scope: Literal["global", "uniform"] = "global"
    round_to: Annotated[int, Ge(1)] = 8
    min_channels: Annotated[int, Ge(1)] = 1
    max_ratio: Annotated[float, Gt(0), Le(1)] = 0.75
    parts: Parts = "auto"
    saving_exponent: Annotated[float, Ge(0), Le(1)] = SAVING_EXPONENT
    candidates: Annotated[int, Ge(1), Le(MOST)] = 1
    reconstruct: bool = True
    recalibrate_batch_norm: bool = True
    samples: Annotated[int, Ge(1)] = 1024
    batch_size: Annotated[int, Ge(1)] = 128

    def needs(self) -> frozenset[Split]:
        reads = CRITERIA[self.criterion].needs_data or self.candidates > 1
        return frozenset({"calibrate"} if reads else ())

    def times_on(self) -> frozenset[str]:
        return frozenset() if self.latency is None else frozenset({self.latency.target})

    def check(self, program: Program) -> None:
        """Raise BadOption without a budget or a ratio, or with both, and UnsupportedModel when no channel can be
        removed."""
        budgets = [name for name in BUDGETS if getattr(self, name) is not None]
        if not budgets and self.ratio is None:
            raise BadOption(
                "Pruning needs a budget.", where=self.name(), hint="macs=0.5, latency=0.6, or ratio=0.3"
            )
        if budgets and self.ratio is not None:
            raise BadOption(
                f"{budgets[0]} and ratio both set how much is removed.",
                where=self.name(),
                hint=f"one of them; with {budgets[0]}, rules can give single layers a ratio",
            )
        check_prunable(read_structure(program, self.parts))

    def apply(self, program: Program, context: Context) -> Outcome:
        """Plan, announce, rewrite. Raises BudgetMissed and UnsupportedModel, with reasons, before any change."""
        program = prepared(program, self.parts)
        if self.candidates > 1:
            plan, outcome = best(self, program, context)
            context.announce(str(plan))
            return outcome
        plan = self.plan(program, context)
        context.announce(str(plan))
        return self.carry_out(program, plan, context)

    def carry_out(self, program: Program, plan: Plan, context: Context) -> Outcome:
        """Remove what a plan for this program removes, and get back what data without labels can give."""
        pruned, orders = _rewritten(program, plan)
        pruned, recovery = recovered(
            self, program, pruned, orders, lambda: self._batches(program, context) if context.data else ()
        )
        return Outcome(
            pruned,
            {
                "macs": plan.macs_after,
                "parameters": plan.parameters_after,
                "weight_bytes": plan.weight_bytes_after,
                "channels": {layer.name: [layer.outputs, layer.outputs_after] for layer in plan.layers},
                "unchanged": {layer.name: layer.reason for layer in plan.layers if not layer.removed},
                **({"latency": plan.latency.results()} if plan.latency else {}),
                **recovery,
            },
        )

    def plan(self, program: Program, context: Context) -> Plan:
        """What would be removed to meet the budget, without removing it."""
        structure = read_structure(program, self.parts)
        rules = {layer.name: context.rules.apply(self, layer.name, layer.type) for layer in structure.layers}
        for layer in structure.layers:
            if rules[layer.name] is None and layer.outputs is not None:
                for number in layer.outputs.tolist():
                    structure.labelling.reasons.setdefault(number, f"a rule leaves {layer.name} alone")
        check_prunable(structure)
        problem = Problem(
            bundles(self, structure, rules, self._samples(program, context)),
            structure.members,
            self._floors(structure, rules, context.original),
            limits(self, program, structure, context.original),
            self.saving_exponent,
        )
        if self.latency is None:
            return self._plan_for(structure, problem)

        def plan_under(limit: Limit) -> Plan:
            return self._plan_for(structure, replace(problem, limits=(*problem.limits, limit)))

        return plan_within(
            self.latency, program, context, structure, plan_under, lambda plan: rewrite(program, plan)
        )

    def _plan_for(self, structure: Structure, problem: Problem) -> Plan:
        search = search_global if self.scope == "global" else search_uniform
        kept = aligned(problem, search(problem), _input_axes(structure))
        return plan_for(structure, kept, reasons_after(structure, problem, kept))

    def _floors(
        self, structure: Structure, rules: Mapping[str, PruneChannels | None], original: Program
    ) -> np.ndarray:
        """The least entries of each axis that stay."""
        floors: np.ndarray = np.minimum(structure.members.sum(1), 1)
        before = {name: output_count(node) for name, node in named_layers(original.graph_module()).items()}
        for layer in structure.layers:
            options = rules[layer.name] or self
            if layer.outputs is not None:
                size, axis = len(layer.outputs), structure.axis(layer.outputs)
                whole = before.get(layer.name, size)
                most = 1 if options.ratio is not None else options.max_ratio
                least = max(options.min_channels, math.ceil(whole * (1 - most)))
                floors[axis] = max(floors[axis], min(size, least))
        return floors

    def _samples(self, program: Program, context: Context) -> Samples:
        """What the criterion may look at."""
        if not self.needs():
            return Samples(context.seed)
        return Samples(context.seed, context.required_data().name, self._batches(program, context))

    def _batches(self, program: Program, context: Context) -> Iterator[Batch]:
        return context.required_data().batches(
            "calibrate", program.preprocess, batch_size=self.batch_size, limit=self.samples
        )


def prunable(program: Program) -> Prunable:
    """The groups of channels that can be removed, and of each layer that cannot lose any, why."""
    return prunable_of(read_structure(program))


def plan_exactly(program: Program, removed: Mapping[str, Sequence[int]], parts: Parts = "auto") -> Plan:
    """The plan that removes these output channels of these layers, and what is tied to them, and nothing else."""
    structure = read_structure(program, parts)
    return plan_for(structure, classes_kept(structure, removed), reasons_to_stay(structure))


def rewrite(program: Program, plan: Plan) -> Program:
    """The program without the channels that the plan removes."""
    return _rewritten(program, plan)[0]


def _rewritten(program: Program, plan: Plan) -> tuple[Program, Orders]:
    structure = read_structure(program, plan.parts)
    kept = classes_kept(structure, plan.removed)
    orders = remove(structure.labelling, kept)
    return program.replace(structure.labelling.graph_module), orders


def _input_axes(structure: Structure) -> list[int]:
    """The axes along which layers read their channels."""
    return sorted({structure.axis(layer.inputs) for layer in structure.layers if layer.inputs is not None})
