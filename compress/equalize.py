"""Scale channels so that their ranges are alike, which quantization needs; the network computes what it did.

A channel is multiplied by a factor where it is made and divided by it where it is read. That changes nothing where
everything between is positively homogeneous: ReLU, pooling, concatenation, sums. Channels that meet have one factor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from torch.fx import GraphModule

from edgepress import graph
from edgepress.compress._equalization.factors import equalize
from edgepress.compress._fold_batch_norm import fold_batch_norms
from edgepress.compress._functional import make_functional
from edgepress.data import Batch, Split
from edgepress.errors import UnsupportedModel
from edgepress.graph import aten
from edgepress.program import Program
from edgepress.progress import track
from edgepress.stage import Context, Outcome, Stage

By = Literal["activations", "weights"]


@dataclass(frozen=True, kw_only=True)
class Equalize(Stage):
    """Nagel et al. (2019), Data-Free Quantization Through Weight Equalization and Bias Correction; with the ranges of
    activations, Xiao et al. (2022), SmoothQuant. To be followed by quantize_static; batch norms are folded.

    by: what is made alike with the weights that read a channel: the largest of its `activations` on the calibration
        samples, or the largest of the `weights` that make it, which needs no data.
    strength: 1 makes the channels alike where they are made, whatever that does to the weights that read them, 0 the
        other way round.
    relu6: `keep` leaves channels as they are that pass a ReLU6, which clips at 6 whatever the factor; `relu` makes ReLUs
        of them first. Then the network departs from what it was wherever a value above 6 occurs.
    samples: how many calibration samples are run, `batch_size` at a time.
    """

    shorthand = "by"

    by: By = "activations"
    strength: Annotated[float, Ge(0), Le(1)] = 0.5
    relu6: Literal["keep", "relu"] = "keep"
    samples: Annotated[int, Gt(0)] = 64
    batch_size: Annotated[int, Gt(0)] = 16

    def needs(self) -> frozenset[Split]:
        return frozenset({"calibrate"} if self.by == "activations" else ())

    def check(self, program: Program) -> None:
        if program.precision != "float32":
            raise UnsupportedModel(
                f"Equalization works on float32 weights, but these are {program.precision}.",
                hint="put equalize before the quantization",
            )

    def apply(self, program: Program, context: Context) -> Outcome:
        """Raises BadInput for unfit calibration samples."""
        graph_module = program.graph_module()
        make_functional(graph_module)
        fold_batch_norms(graph_module)
        replaced = _without_relu6(graph_module) if self.relu6 == "relu" else []
        batches = self._batches(program, context) if self.by == "activations" else None
        done = equalize(graph_module, program.signature, batches, self.strength)
        return Outcome(
            program.replace(graph_module),
            {
                "channels": done.channels,
                "equalized": done.equalized,
                "largest_factor": done.largest_factor,
                "as_they_are": dict(done.reasons),
                "relu6_replaced": list(replaced),
            },
        )

    def _batches(self, program: Program, context: Context) -> Iterator[Batch]:
        data = context.required_data()
        batches = data.batches(
            "calibrate", program.preprocess, batch_size=self.batch_size, limit=self.samples
        )
        total = -(-min(self.samples, data.count("calibrate")) // self.batch_size)
        return track(batches, "equalizing", context.progress, total)


def _without_relu6(graph_module: GraphModule) -> list[str]:
    """Make every ReLU6 a ReLU, in place; the layers' names."""
    found = []
    for node in graph.operators(graph_module):
        is_hardtanh = node.target is aten.hardtanh.default and graph.arguments(node)["min_val"] == 0
        if node.target is aten.relu6.default or is_hardtanh:
            node.target, node.args = aten.relu.default, node.args[:1]
            found.append(graph.layer_name(node))
    return found
