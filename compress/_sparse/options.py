"""The options that say which weights become zero, for the stages that prune them at once or gradually."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Gt, Lt

from edgepress.compress._sparse.layers import Layer, read_weights
from edgepress.compress._sparse.pattern import Block, NofM, PatternText, parse
from edgepress.compress._sparse.plan import Group, SparsityPlan, Target, magnitudes
from edgepress.errors import BadOption, UnsupportedModel
from edgepress.program import Program
from edgepress.rules import Rules
from edgepress.stage import Stage

Share = Annotated[float, Gt(0), Lt(1)]


@dataclass(frozen=True, kw_only=True)
class SparsityOptions(Stage):
    """What PruneWeights and PruneWeightsGradually have in common; they say what the options mean."""

    shorthand = "sparsity"
    per_layer = frozenset({"sparsity", "pattern", "max_ratio"})

    sparsity: Share | None = None
    pattern: PatternText = "unstructured"
    scope: Literal["global", "uniform"] = "global"
    max_ratio: Share = 0.98

    def check(self, program: Program) -> None:
        """Raise BadOption without a sparsity, and UnsupportedModel when no weight can be pruned."""
        super().check(program)
        if isinstance(parse(self.pattern), NofM):
            self._check_agrees(self.sparsity, self.name())
        self.plan(program, Rules())

    def plan(self, program: Program, rules: Rules) -> SparsityPlan:
        """Which weights are ranked together and which stay dense. Raises UnsupportedModel, with reasons, when all do."""
        weights = read_weights(program.graph_module())
        dense = dict(weights.reasons)
        groups: list[Group] = []
        together: list[Target] = []
        for layer, weight in weights.layers.items():
            options = rules.apply(self, layer.name, layer.type)
            if options is None:
                dense[layer.name] = "a rule leaves it alone"
                continue
            target = Target(layer, parse(options.pattern), options.pattern, options.max_ratio)
            misfit = target.pattern.misfit(layer.rows(weight))
            if misfit:
                dense[layer.name] = f"{misfit}, as the pattern {options.pattern} needs"
                continue
            share = self._share(options, layer)
            if isinstance(target.pattern, Block) and self.scope == "global" and share == self.sparsity:
                together.append(target)
            else:
                groups.append(Group((target,), share))
        if together and self.sparsity is not None:
            groups.append(Group(tuple(together), self.sparsity))
        if not groups:
            raise UnsupportedModel(
                "No weight of this network can be pruned.",
                where="; ".join(f"{name}: {reason}" for name, reason in dense.items()) or "it has no layers",
                hint="unstructured pruning takes every convolution and linear layer that no rule skips",
            )
        return SparsityPlan(tuple(groups), dense)

    def check_prunes(self, program: Program, plan: SparsityPlan) -> None:
        """Raise BadOption when everything that the plan would make zero is zero already."""
        weights = magnitudes(program.exported.module(check_guards=False))
        if not any((weights[name] * zero).any() for name, zero in plan.zeros(weights).items()):
            raise BadOption(
                "At least as many weights are zero already, so there is nothing to prune.",
                where=self.name(),
                hint="a higher sparsity, or leave the stage out",
            )

    def _share(self, options: SparsityOptions, layer: Layer) -> float:
        """The share of the layer's weights that becomes zero."""
        where = f"{self.name()}, layer {layer.name}"
        pattern = parse(options.pattern)
        if isinstance(pattern, NofM):
            if options.sparsity != self.sparsity:
                options._check_agrees(options.sparsity, where)
            return pattern.sparsity
        if options.sparsity is None:
            raise BadOption(
                f"The pattern {options.pattern} needs the share of weights that become zero.",
                where=where,
                hint="sparsity=0.5",
            )
        if options.sparsity > options.max_ratio:
            raise BadOption(
                f"The sparsity {options.sparsity} is more than max_ratio allows any layer to lose.",
                where=where,
                hint=f"max_ratio={options.sparsity}, or higher",
            )
        return options.sparsity

    def _check_agrees(self, sparsity: float | None, where: str) -> None:
        pattern = parse(self.pattern)
        if isinstance(pattern, NofM) and sparsity not in (None, pattern.sparsity):
            raise BadOption(
                f"The pattern {self.pattern} makes {pattern.sparsity:.0%} of the weights zero, not {sparsity:.0%}.",
                where=where,
                hint="leave sparsity out, or take another pattern",
            )
