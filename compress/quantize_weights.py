"""Store weights as 8- or 4-bit integers, a quarter or an eighth of their bytes; activations stay in float."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Gt
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._fold_batch_norm import fold_batch_norms
from edgepress.compress._functional import make_functional
from edgepress.compress._quantization.bits import Bits
from edgepress.compress._quantization.calibration import checked
from edgepress.compress._quantization.insert import insert_weights
from edgepress.compress._quantization.layer import Layer
from edgepress.compress._quantization.network import quantize
from edgepress.compress._quantization.plan import Plan
from edgepress.compress._quantization.rounding import Rounding
from edgepress.compress._quantization.stored import ANY_INPUT, StoredPlan, can_group, rounded_alone
from edgepress.compress._quantization.weights import QuantizedWeight, WeightOptions
from edgepress.compress._sparse.zeros import sparse_weights
from edgepress.data import Batch, Split
from edgepress.history import Value
from edgepress.program import Program
from edgepress.stage import Context, Outcome, Stage


@dataclass(frozen=True, kw_only=True)
class QuantizeWeights(Stage):
    """For a network whose file is too large, or whose activations cannot be calibrated. It gains bytes; which runtimes
    also compute in integers then, `edgepress forms` lists.

    bits: of a weight. 4 are packed, two in a byte, in the files whose runtimes read that. A .pt2 has a byte for each,
        and a .epz, which codes them, at most 4 bits.
    group_size: how many inputs of an output share a scale, in linear layers and embeddings (Dettmers and
        Zettlemoyer, 2023, The case for 4-bit precision). None: all of them, which more runtimes take. Where it does not
        divide the inputs, there is one scale.
    rounding: as in quantize_static, with samples to calibrate with; `nearest` needs none. Grouped weights, and those
        of embeddings, are rounded to nearest in any case.
    samples: how many calibration samples are run, `batch_size` at a time.

    Rules can set bits and group size for single layers; one with `skip` keeps a layer in float.
    """

    shorthand = "bits"
    per_layer = frozenset({"bits", "group_size"})
    makes_int8 = True

    bits: Literal[8, 4] = 8
    group_size: Annotated[int, Gt(1)] | None = None
    rounding: Rounding = "gptq"
    samples: Annotated[int, Gt(0)] = 200
    batch_size: Annotated[int, Gt(0)] = 16

    def needs(self) -> frozenset[Split]:
        return frozenset() if self.rounding == "nearest" else frozenset({"calibrate"})

    def apply(self, program: Program, context: Context) -> Outcome:
        """Raises UnsupportedModel when there is no weight to quantize, BadInput for unfit samples."""
        graph_module = program.graph_module()
        results, _ = self.store(graph_module, program, context)
        return Outcome(program.replace(graph_module), results)

    def store(
        self, graph_module: GraphModule, program: Program, context: Context
    ) -> tuple[dict[str, Value], StoredPlan]:
        """Make the weights of the program's graph integers, in place; what the history says, and what was chosen."""
        make_functional(graph_module)
        fold_batch_norms(graph_module)
        plan = StoredPlan.of(graph_module, lambda node: self._of(node, context) is None)
        alone = {
            node: self._alone(graph_module, node, context)
            for node in plan.layers
            if node.target not in graph.WEIGHTED or self._groups(graph_module, node, context)
        }
        sparse = sparse_weights(program.history)
        layers = [
            Layer(
                node,
                ANY_INPUT,
                self._weight(node, context),
                self.rounding,
                sparse=graph.weight_name(node) in sparse,
            )
            for node in plan.layers
            if node not in alone
        ]
        empty = Plan(tuple(layer.node for layer in layers), frozenset(), (), ())
        batches = self._batches(program, context)
        rounded = quantize(graph_module, empty, {}, layers, batches, context.progress)
        insert_weights(graph_module, alone)
        weights = [*(each.weight for each in rounded.values()), *alone.values()]
        return plan.results(weights), plan

    def _alone(self, graph_module: GraphModule, node: Node, context: Context) -> QuantizedWeight:
        groups = self._groups(graph_module, node, context)
        return rounded_alone(graph_module, node, self._weight(node, context), groups)

    def _groups(self, graph_module: GraphModule, node: Node, context: Context) -> int | None:
        """The group size where the layer's weight can have one."""
        size = (self._of(node, context) or self).group_size
        return size if can_group(graph_module, node, size) else None

    def _weight(self, node: Node, context: Context) -> WeightOptions:
        bits = (self._of(node, context) or self).bits
        return WeightOptions(headroom="none", ranges="mse", bits=Bits(weights=bits))

    def _of(self, node: Node, context: Context) -> QuantizeWeights | None:
        return context.rules.apply(self, graph.layer_name(node), graph.op_name(node))

    def _batches(self, program: Program, context: Context) -> Iterator[Batch]:
        if not self.needs():
            return iter(())
        data = context.required_data()
        batches = data.batches(
            "calibrate", program.preprocess, batch_size=self.batch_size, limit=self.samples
        )
        return checked(batches, program.signature)
