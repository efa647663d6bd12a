"""Train the network as it will be once quantized, with the steps between its integers learned; best for few bits."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le
from torch.fx import Node

from edgepress import graph
from edgepress.compress._quantization.bits import Bits
from edgepress.compress._quantization.calibrators import Calibration
from edgepress.compress._quantization.fake import FakeQuantized
from edgepress.compress._quantization.few_bits import FULL, BitsOfLayers, ranges_of_few_bits
from edgepress.compress._quantization.layer import Layer
from edgepress.compress._quantization.ranges import Range
from edgepress.compress._quantization.weights import Headroom, WeightOptions
from edgepress.compress._training.loop import Loss, train_module
from edgepress.compress.distill import Distill
from edgepress.compress.fine_tune import supervised
from edgepress.compress.quantize_static import Calibrated, QuantizeStatic
from edgepress.data import Split
from edgepress.history import Value
from edgepress.program import Program
from edgepress.rules import Rules
from edgepress.stage import Context, Outcome
from edgepress.trainable import Trainable

FewBits = Annotated[int, Ge(2), Le(FULL)]


@dataclass(frozen=True, kw_only=True)
class QuantizeAware(Distill):
    """Esser et al. (2020), Learned Step Size Quantization. What comes out is what quantize_static makes: int8 weights
    with a scale for each channel, and pairs of nodes on the activations, with shared scales where int8 needs them.

    All options of distill, so that by default the float network before compression is the teacher; `teacher=none` trains
    on the labels alone. And

    weight_bits, activation_bits: stored in bytes all the same. Few bits are for activations that are never negative,
        as behind a ReLU, and not averaged without a scale of its own; others keep 8. They end where int8 ends, which a backend with activations symmetric about
        zero (TensorRT, ncnn) cannot follow: verification says so there.
    low_ends: whether the first and last layers get few bits as well, which costs much accuracy and saves little.
    calibration, samples: how many calibration samples the first steps come from, and how (see quantize_static).
    headroom: as in quantize_static; it is kept by giving the weights of such layers 7 bits.

    Batch norms are folded before the training, with the statistics they have: then exactly that is trained which
    will be executed (static folding; Nagel et al., 2021, A White Paper on Neural Network Quantization, section 5.2).

    Rules can set the bits for single layers (activations: of what the layer makes); one with `skip` keeps a layer in
    float.
    """

    shorthand = "epochs"
    per_layer = frozenset({"weight_bits", "activation_bits"})
    makes_int8 = True

    learning_rate: Annotated[float, Gt(0), Le(1000)] = 0.01
    weight_bits: FewBits = FULL
    activation_bits: FewBits = FULL
    low_ends: bool = False
    calibration: Calibration = "mse"
    samples: Annotated[int, Gt(0)] = 200
    headroom: Headroom = "auto"

    def needs(self) -> frozenset[Split]:
        return super().needs() | self._static().needs()

    def check(self, program: Program) -> None:
        super().check(program)
        self._static().check(program)

    def apply(self, program: Program, context: Context) -> Outcome:
        """Raises what quantize_static and training raise."""
        found, fake, bits = self.begin(program, context)
        module = Trainable(found.graph_module)
        results = train_module(module, program, self, context, self.loss(program, context), fake)
        found = dataclasses.replace(found, ranges=fake.finish())
        return Outcome(program.replace(module), {**results, **found.results(), **bits})

    def begin(self, program: Program, context: Context) -> tuple[Calibrated, FakeQuantized, dict[str, Value]]:
        """The calibrated network in its trainable form, and how many bits its layers and tensors have."""
        skips = [dataclasses.replace(rule, stage="", options={}) for rule in self._rules(context).rules]
        static = self._static()
        found = static.calibrated(program, dataclasses.replace(context, rules=Rules(tuple(skips))))
        wanted = BitsOfLayers(
            found.graph_module, found.plan, lambda node: self._bits(node, context), self.low_ends
        )
        few = wanted.activations(found.ranges)
        batches = context.required_data().batches(
            "calibrate", program.preprocess, batch_size=static.batch_size, limit=self.samples
        )
        few_ranges = ranges_of_few_bits(found.graph_module, few, batches, program.signature)
        ranges = {**found.ranges, **few_ranges}
        layers = _layers(found, ranges, wanted)
        bits: dict[str, Value] = {
            "weight_bits": {graph.layer_name(one.node): how.bits.weights for one, how in layers.items()},
            "activation_bits": {
                node.name: few.get(scale, FULL) for scale in found.plan.scales for node in scale.tensors
            },
        }
        return found, FakeQuantized(found.graph_module, found.plan, ranges, layers), bits

    def loss(self, program: Program, context: Context) -> Loss:
        """As distill; with `teacher=none`, cross-entropy with the labels."""
        return supervised(context) if self.teacher == "none" else super().loss(program, context)

    def _static(self) -> QuantizeStatic:
        return QuantizeStatic(calibration=self.calibration, samples=self.samples, headroom=self.headroom)

    def _rules(self, context: Context) -> Rules:
        return Rules(tuple(rule for rule in context.rules.rules if rule.stage in ("", self.name())))

    def _bits(self, node: Node, context: Context) -> Bits:
        own = context.rules.apply(self, graph.layer_name(node), graph.op_name(node)) or self
        return Bits(own.weight_bits, own.activation_bits)


def _layers(found: Calibrated, ranges: dict[Node, Range], wanted: BitsOfLayers) -> dict[Layer, WeightOptions]:
    """Each layer with the range that it reads now."""
    read = [dataclasses.replace(one, inputs=ranges[one.node.all_input_nodes[0]]) for one in found.layers]
    return {one: wanted.weights(one) for one in read}
