"""Make weights integers, and activations while the network runs: no calibration, for layers with large weights."""

from __future__ import annotations

from dataclasses import dataclass

from edgepress import graph
from edgepress.compress._quantization.dynamic import insert_dynamic
from edgepress.compress.quantize_weights import QuantizeWeights
from edgepress.errors import BadOption, UnsupportedModel
from edgepress.program import Program
from edgepress.stage import Context, Outcome


@dataclass(frozen=True, kw_only=True)
class QuantizeDynamic(QuantizeWeights):
    """All options of quantize_weights. What a convolution or linear layer reads becomes int8 with the range that it
    has at that moment, and what it gives is float again: slower than quantize_static, which knows the ranges before, and
    as accurate where they vary from sample to sample.

    Runtimes differ in what shares a range: here, and in ONNX, all that a layer reads at once; in LiteRT each sample.
    """

    per_layer = frozenset({"bits"})

    def check(self, program: Program) -> None:
        """Raise BadOption for groups: an integer product has one scale an output."""
        super().check(program)
        if self.group_size is not None:
            raise BadOption(
                "Weights with a scale for each group are multiplied as floats, so no activation needs a range.",
                where="quantize_dynamic, group_size",
                hint="leave it out, or take quantize_weights",
            )

    def apply(self, program: Program, context: Context) -> Outcome:
        """Raises UnsupportedModel when no layer can become int8, BadInput for unfit samples."""
        graph_module = program.graph_module()
        results, plan = self.store(graph_module, program, context)
        names = {graph.weight_name(node) for node in plan.layers} - {""}
        layers = [node for node in graph.operators(graph_module) if graph.weight_name(node) in names]
        if not layers:
            raise UnsupportedModel(
                "No layer of this network multiplies its input by weights.",
                hint="use quantize_weights for networks with embeddings only",
            )
        insert_dynamic(graph_module, layers)
        return Outcome(program.replace(graph_module), results)
