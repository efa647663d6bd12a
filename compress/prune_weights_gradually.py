"""Make single weights zero while the network trains: ever more of them, or moving to where they cost least."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from edgepress.compress._sparse import report
from edgepress.compress._sparse.options import Share, SparsityOptions
from edgepress.compress._sparse.pattern import NofM
from edgepress.compress._sparse.plan import SparsityPlan
from edgepress.compress._sparse.training import GrowingSparsity, MovingZeros
from edgepress.compress._training.loop import TrainingStage, train
from edgepress.compress.fine_tune import supervised
from edgepress.errors import BadOption
from edgepress.program import Program
from edgepress.rules import Rules
from edgepress.stage import Context, Outcome


@dataclass(frozen=True, kw_only=True)
class PruneWeightsGradually(SparsityOptions, TrainingStage):
    """Fine-tuning on labelled data in which weights become zero (options and rules as in prune_weights: sparsity,
    pattern, scope, max_ratio).

    schedule: `cubic` lets the zeros grow in number, fast at first (Zhu and Gupta, 2017, To Prune, or Not to Prune);
        `regrow` has all zeros from the start and moves them: the least weights become zero, zeros with large
        gradients are free again (Evci et al., 2020, Rigging the Lottery). Not for N:M.
    until: the share of the training's steps in which zeros change; in the rest they only are kept.
    updates: how many times they change.
    regrow_share: which share of a layer's other weights becomes zero at the first of these, if regrow; it falls to
        nothing as a cosine.

    The result is the best of the epochs that have the full sparsity.
    """

    needs_labels = True

    schedule: Literal["cubic", "regrow"] = "cubic"
    until: Share = 0.6
    updates: Annotated[int, Ge(1)] = 32
    regrow_share: Share = 0.3

    def plan(self, program: Program, rules: Rules) -> SparsityPlan:
        """As SparsityOptions.plan; raises BadOption for N:M that shall move."""
        plan = super().plan(program, rules)
        fixed = [target for target in plan.targets() if isinstance(target.pattern, NofM)]
        if self.schedule == "regrow" and fixed:
            raise BadOption(
                f"The schedule regrow works on single weights and blocks, not on the pattern {fixed[0].text}.",
                where=f"{self.name()}, layer {fixed[0].layer.name}",
                hint="schedule=cubic",
            )
        return plan

    def apply(self, program: Program, context: Context) -> Outcome:
        """Raises what training and planning raise, and BadOption when as many weights are zero already."""
        plan = self.plan(program, context.rules)
        hook: GrowingSparsity | MovingZeros
        if self.schedule == "regrow":
            hook = MovingZeros(plan, self.until, self.updates, self.regrow_share)
        else:
            self.check_prunes(program, plan)
            hook = GrowingSparsity(plan, self.until, self.updates)
        trained = train(program, self, context, supervised(context), hook)
        context.announce(report.summary(trained.program, plan))
        results = report.results(program, trained.program, plan)
        return Outcome(trained.program, {**trained.results, **results})
