"""Make weights and activations 8-bit integers, with ranges from a few hundred samples (no training).

The steps, each a function that can be called and looked at by itself:

    fold batch norms -> plan -> observe -> choose ranges -> rewrite
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Gt, Le
from torch.fx import Node

from edgepress import graph
from edgepress.compress._channels.mean import ChannelMean
from edgepress.compress._fold_batch_norm import fold_batch_norms
from edgepress.compress._functional import make_functional
from edgepress.compress._quantization.calibration import Watcher, observe
from edgepress.compress._quantization.calibrators import Calibration, calibrator, counts_values
from edgepress.compress._quantization.histogram import Histogram
from edgepress.compress._quantization.insert import insert_quantization
from edgepress.compress._quantization.plan import Plan, SharedScale, plan
from edgepress.compress._quantization.ranges import Range
from edgepress.compress._quantization.weights import Granularity, Headroom, WeightOptions
from edgepress.data import Batch, Split
from edgepress.errors import UnsupportedModel
from edgepress.history import Value
from edgepress.program import Program
from edgepress.progress import track
from edgepress.stage import Context, Outcome, Stage


@dataclass(frozen=True, kw_only=True)
class QuantizeStatic(Stage):
    """Jacob et al. (2018), Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference.

    scheme: weights and activations as 8-bit integers (`int8`).
    calibration: which range of a tensor's values int8 covers: all that occurred (`minmax`), the `percentile` in
        the middle, or the one with the least squared error (`mse`).
    samples: how many calibration samples are run, `batch_size` at a time.
    weights: a scale for each output channel, or one for the whole tensor (less accurate, for simple hardware).

    headroom: x86 processors without VNNI add two products in an int16, which saturates when neighbouring weights
        and their uint8 activations are all large. To prevent it, inputs of the network use 7 of their 8 bits, and
        weights stay smaller: in `all` layers, or (`auto`) in those whose input takes both signs, since behind a
        ReLU two large values side by side are rare. Processors with VNNI, and ARM, need `none`.

    bias_correction: take what rounding the weights adds to a channel on average off its bias.

    Rules can set calibration and percentile (of what the layer makes), weights, headroom and bias_correction for
    single layers; one with `skip` keeps a layer in float.
    """

    shorthand = "scheme"
    per_layer = frozenset({"calibration", "percentile", "weights", "headroom", "bias_correction"})
    makes_int8 = True

    scheme: Literal["int8"] = "int8"
    calibration: Calibration = "mse"
    percentile: Annotated[float, Gt(50), Le(100)] = 99.99
    samples: Annotated[int, Gt(0)] = 200
    batch_size: Annotated[int, Gt(0)] = 16
    weights: Granularity = "per_channel"
    headroom: Headroom = "auto"
    bias_correction: bool = True

    def needs(self) -> frozenset[Split]:
        return frozenset({"calibrate"})

    def check(self, program: Program) -> None:
        if program.precision != "float32":
            raise UnsupportedModel(
                f"Quantization starts from float32, but the weights are {program.precision}.",
                hint="quantize the float32 program that it was made from",
            )

    def apply(self, program: Program, context: Context) -> Outcome:
        """Raises UnsupportedModel when no layer can become int8, BadInput for unfit calibration samples."""
        graph_module = program.graph_module()
        make_functional(graph_module)
        fold_batch_norms(graph_module)
        options = _OptionsOfLayers(self, context)
        made = plan(graph_module, lambda node: options.of(node) is None)
        if not made.layers:
            raise UnsupportedModel(
                "There is no layer here that can become int8.",
                where="; ".join(f"{left.layer}: {left.reason}" for left in made.left_in_float[:4]),
                hint="int8 takes convolutions and linear layers that no rule keeps in float",
            )
        histograms, means = options.histograms(made), options.means(made)
        watchers: dict[Node, list[Watcher]] = {}
        for scale, histogram in histograms.items():
            for node in scale.observed:
                watchers.setdefault(node, []).append(histogram)
        for layer, mean in means.items():
            watchers.setdefault(layer.all_input_nodes[0], []).append(mean)
        observe(graph_module, watchers, self._batches(program, context), program.signature)
        ranges: dict[Node, Range] = {}
        for scale in made.scales:
            range = scale.fixed or options.choose(scale, histograms[scale])
            ranges.update(dict.fromkeys(scale.tensors, range))
        shifts = {layer: mean.value() for layer, mean in means.items()}
        insert_quantization(graph_module, made, ranges, shifts, options.of_weight)
        return Outcome(program.replace(graph_module), _results(made, ranges))

    def _batches(self, program: Program, context: Context) -> Iterator[Batch]:
        data = context.required_data()
        batches = data.batches(
            "calibrate", program.preprocess, batch_size=self.batch_size, limit=self.samples
        )
        total = -(-min(self.samples, data.count("calibrate")) // self.batch_size)
        return track(batches, "calibrating", context.progress, total)


@dataclass(frozen=True)
class _OptionsOfLayers:
    """The stage's options as the rules change them for single layers."""

    stage: QuantizeStatic
    context: Context

    def of(self, node: Node) -> QuantizeStatic | None:
        return self.context.rules.apply(self.stage, graph.layer_name(node), graph.op_name(node))

    def _required(self, node: Node) -> QuantizeStatic:
        """The options of an operator; the stage's own for an input of the network or one in float."""
        return (self.of(node) if node.op == "call_function" else None) or self.stage

    def histograms(self, made: Plan) -> dict[SharedScale, Histogram]:
        """An empty histogram for every scale that depends on the data."""
        return {
            scale: Histogram(counting=counts_values(self._of_scale(scale).calibration))
            for scale in made.scales
            if scale.fixed is None
        }

    def means(self, made: Plan) -> dict[Node, ChannelMean]:
        """An empty mean of the input of every layer whose bias is to be corrected; one for all that share a weight."""
        found: dict[Node, ChannelMean] = {}
        shared: dict[str, ChannelMean] = {}
        for layer in made.layers:
            if self._required(layer).bias_correction:
                mean = ChannelMean(-1 if graph.op_name(layer) == "linear" else 1)
                found[layer] = shared.setdefault(str(graph.weight_node(layer).target), mean)  # type: ignore[union-attr]
        return found

    def choose(self, scale: SharedScale, histogram: Histogram) -> Range:
        stage = self._of_scale(scale)
        range = calibrator(stage.calibration, stage.percentile)(histogram)
        return dataclasses.replace(range, low_half=scale.is_input and stage.headroom != "none")

    def of_weight(self, layer: Node) -> WeightOptions:
        stage = self._required(layer)
        return WeightOptions(stage.weights, stage.headroom)

    def _of_scale(self, scale: SharedScale) -> QuantizeStatic:
        return self._required(scale.maker)


def _results(made: Plan, ranges: Mapping[Node, Range]) -> dict[str, Value]:
    return {
        "layers": len(made.layers),
        "tensors": len(ranges),
        "scales": len(made.scales),
        "ranges": {node.name: [range.minimum, range.maximum] for node, range in ranges.items()},
        "left_in_float": [
            {"layer": left.layer, "type": left.type, "reason": left.reason} for left in made.left_in_float
        ],
    }
