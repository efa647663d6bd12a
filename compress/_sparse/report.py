"""What a stage that prunes weights says of its result: counted in the weights themselves, not taken from the request."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edgepress.compress._sparse.pattern import UNSTRUCTURED
from edgepress.compress._sparse.plan import SparsityPlan
from edgepress.compress._sparse.zeros import SPARSE
from edgepress.deflate import deflated_bytes
from edgepress.history import Value
from edgepress.program import Program

NO_FASTER = (
    "Zeros make downloads smaller, not inference faster: latency stays as it is unless the runtime skips zeros "
    "(prune_channels makes networks faster everywhere)."
)


@dataclass(frozen=True)
class SparseWeight:
    """A weight, by its dotted name, that the stage made sparse."""

    name: str
    pattern: str
    weights: int
    nonzero: int

    @property
    def sparsity(self) -> float:
        return 1 - self.nonzero / self.weights


def counted(program: Program, plan: SparsityPlan) -> tuple[SparseWeight, ...]:
    """The weights that the plan prunes as they are in the program, in the order of its layers."""
    stored = program.exported.state_dict
    found = {
        target.layer.weight: SparseWeight(
            target.layer.weight,
            target.text,
            stored[target.layer.weight].numel(),
            int(torch.count_nonzero(stored[target.layer.weight])),
        )
        for target in plan.targets()
    }
    return tuple(found[name] for name in stored if name in found)


def results(before: Program, after: Program, plan: SparsityPlan) -> dict[str, Value]:
    """For the history: zeros by weight and in total, what stays dense and why, bytes before and after compressing."""
    weights = counted(after, plan)
    total, nonzero = sum(one.weights for one in weights), sum(one.nonzero for one in weights)
    return {
        "sparsity": 1 - nonzero / total,
        "weights": total,
        "nonzero": nonzero,
        "deflated_bytes_before": deflated_bytes(before),
        "deflated_bytes": deflated_bytes(after),
        SPARSE: {
            one.name: {"pattern": one.pattern, "weights": one.weights, "nonzero": one.nonzero}
            for one in weights
        },
        "dense": dict(plan.dense),
    }


def summary(program: Program, plan: SparsityPlan) -> str:
    """The lines for the user: zeros by weight, what stays dense, and what this does not do."""
    weights = counted(program, plan)
    total, nonzero = sum(one.weights for one in weights), sum(one.nonzero for one in weights)
    width = max(len(one.name) for one in weights)
    lines = [f"{1 - nonzero / total:.1%} of {total:,} weights are zero:"]
    lines += [
        f"  {one.name:<{width}}  {one.sparsity:6.1%} of {one.weights:,}"
        + (f" in {one.pattern}" if one.pattern != UNSTRUCTURED else "")
        for one in weights
    ]
    lines += [f"  {name} stays dense: {reason}" for name, reason in plan.dense.items()]
    return "\n".join([*lines, NO_FASTER])
