"""Make weights and activations 8-bit integers, with ranges from a few hundred samples (no training).

The steps, each a function that can be called and looked at by itself:

    fold batch norms -> plan -> observe -> choose ranges -> rewrite
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt, Le
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress._channels.mean import ChannelMean
from edgepress.compress._fold_batch_norm import fold_batch_norms
from edgepress.compress._fold_factors import fold_factors
from edgepress.compress._functional import make_functional
from edgepress.compress._quantization.bits import SCHEMES, Bits, Scheme
from edgepress.compress._quantization.calibration import Watcher, observe
from edgepress.compress._quantization.calibrators import Calibration, calibrator, counts_values, proposals
from edgepress.compress._quantization.histogram import Histogram
from edgepress.compress._quantization.layer import BiasCorrection, Layer, Rounded
from edgepress.compress._quantization.network import quantize
from edgepress.compress._quantization.output_error import least_output_error
from edgepress.compress._quantization.plan import Plan, SharedScale, plan
from edgepress.compress._quantization.ranges import Range
from edgepress.compress._quantization.rounding import Rounding
from edgepress.compress._quantization.weights import Granularity, Headroom, WeightOptions, WeightRange
from edgepress.compress._sparse.zeros import sparse_weights
from edgepress.data import Batch, Split
from edgepress.errors import BadOption, UnsupportedModel
from edgepress.history import Value
from edgepress.program import Program
from edgepress.progress import track
from edgepress.stage import Context, Outcome, Stage


@dataclass(frozen=True, kw_only=True)
class QuantizeStatic(Stage):
    """Jacob et al. (2018), Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference.

    scheme: how many bits. `int8`: 8 for weights and activations; `w4a8`, `w2a8`: 4 and 2 for weights (of which 2 are -1, 0
        and 1, and want rounding=block), packed in the files whose runtimes read that; `w8a16`: 16 for activations, about zero and over all that occurred, where 8 lose too much and
        the runtime has kernels for it (edgepress forms). Rules can give single layers other bits of weights.
    low_ends: whether the first and last layers get weights of few bits as well. Published results with 4 bits (AdaRound,
        BRECQ, LSQ) leave them 8: the error of the last is in the scores themselves, that of the first in all that follows.
    calibration: which range of a tensor's values int8 covers: all that occurred (`minmax`), or between the
        `moving_average` of the batches' extremes; the `percentile` in the middle; the one that loses the least
        information (`entropy`); the one with the least squared error (`mse`); or of all these and some near them the
        `best`, that with the least squared error in what the layers behind make of it.
    samples: how many calibration samples are run, `batch_size` at a time.
    weights: a scale for each output channel, or one for the whole tensor (less accurate, for simple hardware).
    weight_calibration: which weights the integers cover: all (`minmax`), or as many as leave the least error (`mse`).
    rounding: each weight to the `nearest` integer; or, layer by layer, so that what the layer gives changes least:
        with the inputs that the layers quantized before it leave (`gptq`, which with `mse`
        also tries scales nearby and gives each channel the one that its output wants), or by learning of each weight
        whether it goes up or down (`adaround`, which takes longer). `block` goes on from `gptq` to learn that of all
        layers of a residual block, or a module of up to three, together (Li et al., 2021, BRECQ): kept where held-back
        samples agree, it pays with 2 bits and 1,000 samples, and takes several times as long. All refit the weights
        first, and need no labels.

    headroom: x86 processors without VNNI add two products in an int16, which saturates when neighbouring weights
        and their uint8 activations are all large. To prevent it, inputs of the network use 7 of their 8 bits, and
        weights stay smaller: in `all` layers, or (`auto`) in those whose input takes both signs, since behind a
        ReLU two large values side by side are rare. Processors with VNNI, and ARM, need `none`.

    bias_correction: what rounding adds to a channel on average comes off its bias (Nagel et al., 2019): `analytic`, what
        the weights' rounding adds, from the means of the layer's inputs in the float network; or `empirical`, all
        that is added by then, from what the layer gives in the quantized network, layer by layer.

    Rules can set calibration and percentile (of what the layer makes), and all that is about its weights, for
    single layers; one with `skip` keeps a layer in float.
    """

    shorthand = "scheme"
    per_layer = frozenset(
        {"scheme", "calibration", "percentile", "weights", "weight_calibration", "rounding", "headroom"}
        | {"bias_correction"}
    )
    makes_int8 = True

    scheme: Scheme = "int8"
    low_ends: bool = True
    calibration: Calibration = "mse"
    percentile: Annotated[float, Gt(50), Le(100)] = 99.99
    samples: Annotated[int, Gt(0)] = 200
    batch_size: Annotated[int, Gt(0)] = 16
    weights: Granularity = "per_channel"
    weight_calibration: WeightRange = "mse"
    rounding: Rounding = "gptq"
    headroom: Headroom = "auto"
    bias_correction: BiasCorrection = "empirical"

    @property
    def bits(self) -> Bits:
        return SCHEMES[self.scheme]

    def needs(self) -> frozenset[Split]:
        return frozenset({"calibrate"})

    def check(self, program: Program) -> None:
        if program.precision != "float32":
            raise UnsupportedModel(
                f"Quantization starts from float32, but the weights are {program.precision}.",
                hint="quantize the float32 network it was made from",
            )

    def apply(self, program: Program, context: Context) -> Outcome:
        """Raises UnsupportedModel when no layer can become int8, BadInput for unfit calibration samples."""
        found = self.calibrated(program, context)
        again = self.batches(program, context)
        rounded = quantize(
            found.graph_module, found.plan, found.ranges, found.layers, again, context.progress
        )
        return Outcome(program.replace(found.graph_module), {**found.results(), "sqnr_db": _sqnr_db(rounded)})

    def calibrated(self, program: Program, context: Context) -> Calibrated:
        """Everything that is decided before the graph is rewritten; raises as `apply` does."""
        graph_module = program.graph_module()
        make_functional(graph_module)
        fold_batch_norms(graph_module)
        fold_factors(graph_module)
        options = _OptionsOfLayers(self, context, sparse_weights(program.history))
        made = plan(graph_module, lambda node: options.of(node) is None, self.bits.activations)
        if not made.layers:
            raise UnsupportedModel(
                "No layer of this network can be quantized to int8.",
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
        observe(graph_module, watchers, self.batches(program, context, "calibrating"), program.signature)
        chosen = options.choose(histograms, made)
        if tried := options.proposals(histograms):
            chosen |= least_output_error(graph_module, made, tried, self.batches(program, context))
        ranges = {tensor: chosen[scale] for scale in made.scales for tensor in scale.tensors}
        return Calibrated(graph_module, made, ranges, options.layers(made, ranges, means))

    def batches(self, program: Program, context: Context, doing: str = "") -> Iterator[Batch]:
        """The calibration samples, under the progress of `doing` if that is said."""
        data = context.required_data()
        batches = data.batches(
            "calibrate", program.preprocess, batch_size=self.batch_size, limit=self.samples
        )
        total = -(-min(self.samples, data.count("calibrate")) // self.batch_size)
        return track(batches, doing, context.progress, total) if doing else iter(batches)


@dataclass(frozen=True, eq=False)
class Calibrated:
    """The float graph with its batch norms folded, the plan for it, a range for every tensor of the plan, and how each
    weight is to be quantized."""

    graph_module: GraphModule
    plan: Plan
    ranges: Mapping[Node, Range]
    layers: Sequence[Layer]

    def results(self) -> dict[str, Value]:
        """What the history says about it."""
        return {
            "layers": len(self.plan.layers),
            "tensors": len(self.ranges),
            "scales": len(self.plan.scales),
            "ranges": {node.name: [range.minimum, range.maximum] for node, range in self.ranges.items()},
            "left_in_float": [dataclasses.asdict(left) for left in self.plan.left_in_float],
        }


@dataclass(frozen=True)
class _OptionsOfLayers:
    """The stage's options as the rules change them for single layers."""

    stage: QuantizeStatic
    context: Context
    sparse: frozenset[str]

    def of(self, node: Node) -> QuantizeStatic | None:
        found = self.context.rules.apply(self.stage, graph.layer_name(node), graph.op_name(node))
        if found is not None and found.bits.activations != self.stage.bits.activations:
            raise BadOption(
                f"All activations of a network have the same number of bits: scheme={found.scheme} cannot be that of one layer.",
                where=f"rule for {graph.layer_name(node)}; the stage has scheme={self.stage.scheme}",
                hint="give the stage that scheme, or keep the layer in float (skip)",
            )
        return found

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
        """An empty mean of the input of every layer whose bias is to be corrected."""
        return {
            layer: ChannelMean(-1 if graph.op_name(layer) == "linear" else 1)
            for layer in made.layers
            if self._required(layer).bias_correction != "none"
        }

    def choose(self, histograms: Mapping[SharedScale, Histogram], made: Plan) -> dict[SharedScale, Range]:
        """The range of every scale by its tensors' values alone."""
        chosen = {}
        for scale in made.scales:
            stage = self._of_scale(scale)
            # Of 65,536 steps none has to be saved: all values are covered.
            how = stage.calibration if self.stage.bits.activations == 8 else "minmax"
            found = scale.fixed or calibrator(how, stage.percentile)(histograms[scale])
            chosen[scale] = self._with_room(scale, found) if scale.fixed is None else found
        return chosen

    def proposals(self, histograms: Mapping[SharedScale, Histogram]) -> dict[SharedScale, list[Range]]:
        """Of the scales whose range the layers behind are to choose: those to choose from."""
        return {
            scale: [self._with_room(scale, found) for found in proposals(histogram, stage.percentile)]
            for scale, histogram in histograms.items()
            if (stage := self._of_scale(scale)).calibration == "best" and stage.bits.activations == 8
        }

    def _with_room(self, scale: SharedScale, range: Range) -> Range:
        bits = self.stage.bits.activations
        low_half = bits == 8 and scale.is_input and self._of_scale(scale).headroom != "none"
        return dataclasses.replace(range, low_half=low_half, bits=bits)

    def layers(
        self, made: Plan, ranges: Mapping[Node, Range], means: Mapping[Node, ChannelMean]
    ) -> list[Layer]:
        """One for each weight: the first layer that reads it, which knows the others."""
        found: dict[str, list[Layer]] = {}
        for node in made.layers:
            stage, name = self._required(node), graph.weight_name(node)
            full = node in made.ends and not self.stage.low_ends
            options = WeightOptions(
                stage.weights,
                stage.headroom if stage.bits.activations == 8 else "none",
                stage.weight_calibration,
                Bits() if full else stage.bits,
            )
            layer = Layer(
                node,
                ranges[node.all_input_nodes[0]],
                options,
                stage.rounding,
                means[node].value() if node in means else None,
                stage.bias_correction == "analytic",
                name in self.sparse,
            )
            found.setdefault(name, []).append(layer)
        return [dataclasses.replace(first, others=tuple(others)) for first, *others in found.values()]

    def _of_scale(self, scale: SharedScale) -> QuantizeStatic:
        return self._required(scale.maker)


def _sqnr_db(rounded: Mapping[Layer, Rounded]) -> dict[str, Value]:
    """Of those layers that were looked at."""
    return {
        graph.layer_name(layer.node): list(result.sqnr_db)
        for layer, result in rounded.items()
        if result.sqnr_db is not None
    }
