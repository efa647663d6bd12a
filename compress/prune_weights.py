"""Make the least important single weights zero: anywhere, in blocks, or 2 of 4; for size, not for speed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from edgepress.compress import _batch_norm
from edgepress.compress._sparse import report
from edgepress.compress._sparse.options import SparsityOptions
from edgepress.compress._sparse.plan import SparsityPlan, magnitudes
from edgepress.compress._sparse.zeros import set_zero
from edgepress.data import Batch
from edgepress.program import Program
from edgepress.stage import Context, Outcome


@dataclass(frozen=True, kw_only=True)
class PruneWeights(SparsityOptions):
    """Magnitude pruning of single weights, all at once and without training (Han et al., 2015, Learning both
    Weights and Connections for Efficient Neural Networks).

    sparsity: the share of the weights of convolutions and linear layers that becomes zero. N:M says it itself.
    pattern: zeros anywhere (unstructured), in whole blocks of output x input channels (4x1), or N:M: of each M
        input channels in a row at most N are not zero (2:4 is what NVIDIA's sparse tensor cores take).
    scope: one threshold for all layers (global), or the same share of each (uniform).
    max_ratio: a layer loses at most this share of its weights: a global threshold would empty some.
    recalibrate_batch_norm: measure batch-norm statistics anew afterwards, when there is data.
    samples, batch_size: how much data that uses.

    A layer whose channels the pattern does not divide stays dense and is named. Later training and quantization
    keep all zeros. Rules can set sparsity, pattern and max_ratio for single layers; one with `skip`
    keeps a layer dense.
    """

    recalibrate_batch_norm: bool = True
    samples: Annotated[int, Ge(1)] = 1024
    batch_size: Annotated[int, Ge(1)] = 128

    def apply(self, program: Program, context: Context) -> Outcome:
        """Raises UnsupportedModel when every layer stays dense, BadOption when as many weights are zero already."""
        plan = self.plan(program, context.rules)
        self.check_prunes(program, plan)
        pruned = self._pruned(program, plan)
        if self.recalibrate_batch_norm and context.data is not None and _batch_norm.is_needed(pruned):
            pruned = _batch_norm.reestimated(pruned, self._batches(program, context))
        context.announce(report.summary(pruned, plan))
        return Outcome(pruned, report.results(program, pruned, plan))

    def _pruned(self, program: Program, plan: SparsityPlan) -> Program:
        graph_module = program.graph_module()
        set_zero(graph_module, plan.zeros(magnitudes(graph_module)))
        return program.replace(graph_module)

    def _batches(self, program: Program, context: Context) -> Iterator[Batch]:
        return context.required_data().batches(
            "calibrate", program.preprocess, batch_size=self.batch_size, limit=self.samples
        )
