"""What the stages have in common that train a network as it will be once quantized: all but the weights' own form."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, TypeVar

from annotated_types import Ge, Gt, Le
from torch.fx import GraphModule, Node

from edgepress import graph
from edgepress.compress import _batch_norm
from edgepress.compress._low_bit.form import WeightForm
from edgepress.compress._low_bit.norm import spreads
from edgepress.compress._quantization.bits import Bits
from edgepress.compress._quantization.calibrators import Calibration
from edgepress.compress._quantization.fake import FakeQuantized, Rounding
from edgepress.compress._quantization.few_bits import FULL, BitsOfLayers, ranges_of_few_bits
from edgepress.compress._quantization.layer import Layer
from edgepress.compress._quantization.learned_steps import fake_quantize
from edgepress.compress._quantization.ranges import Range
from edgepress.compress._quantization.weights import Headroom, WeightOptions
from edgepress.compress._training.hook import Hooks, TrainingHook
from edgepress.compress._training.loop import Loss, train_module
from edgepress.compress.distill import Distill
from edgepress.compress.fine_tune import supervised
from edgepress.compress.quantize_static import Calibrated, QuantizeStatic
from edgepress.data import Split
from edgepress.history import Value
from edgepress.program import Program
from edgepress.rules import Rule, Rules
from edgepress.stage import Context, Outcome
from edgepress.trainable import Trainable

FewBits = Annotated[int, Ge(1), Le(FULL)]
Forms = Mapping[Layer, WeightForm]
NOT_TRAINED = ("conv_transpose2d",)
"""What calibration makes int8 and training leaves in float: learned steps lie along a weight's first axis."""

Own = TypeVar("Own", bound="QuantizedTraining")

AS_FAST_AS_INT8 = (
    "{} weights get few bits, which make files smaller (convert --to epz), not inference faster than int8's: "
    "no runtime here multiplies bits."
)


@dataclass(frozen=True, kw_only=True)
class QuantizedTraining(Distill):
    """The options that each of these stages has beside those of distill; QuantizeAware says what they mean."""

    shorthand = "epochs"
    makes_int8 = True

    learning_rate: Annotated[float, Gt(0), Le(1000)] = 0.01
    activation_bits: FewBits = FULL
    low_ends: bool = False
    calibration: Calibration = "mse"
    samples: Annotated[int, Gt(0)] = 200
    headroom: Headroom = "auto"

    @abstractmethod
    def bits_of_weight(self) -> int:
        """Of a layer for which these are the options; FULL where it gets integers of 8 bits with learned steps."""

    def form(self, graph_module: GraphModule, layer: Layer) -> WeightForm | None:
        """How the layer's weight trains, for which these are the options and bits are few; None for learned steps."""
        return None

    def one_bit(self) -> Rounding:
        """What rounds activations of one bit."""
        return fake_quantize

    def has_real_shortcuts(self) -> bool:
        """Whether activations of one bit that others than layers read keep 8."""
        return False

    def hook(self, forms: Forms) -> TrainingHook:
        """What takes part in the training besides."""
        return TrainingHook()

    def requires_labels(self) -> bool:
        return self.teacher == "none"

    def teachers(self) -> frozenset[str]:
        return frozenset() if self.teacher == "none" else super().teachers()

    def needs(self) -> frozenset[Split]:
        return super().needs() | self._static().needs()

    def check(self, program: Program) -> None:
        super().check(program)
        self._static().check(program)

    def apply(self, program: Program, context: Context) -> Outcome:
        """Raises what quantize_static and training raise."""
        found, fake, bits = self.begin(program, context)
        if fake.forms:
            context.announce(AS_FAST_AS_INT8.format(len(fake.forms)))
        module = Trainable(found.graph_module)
        hook = Hooks((fake, self.hook(fake.forms)))
        results = train_module(module, program, self, context, self.loss(program, context), hook)
        found = dataclasses.replace(found, ranges=fake.finish())
        return Outcome(program.replace(module), {**results, **found.results(), **bits})

    def begin(self, program: Program, context: Context) -> tuple[Calibrated, FakeQuantized, dict[str, Value]]:
        """The calibrated network in its trainable form, and how many bits its layers and tensors have."""
        skips = [dataclasses.replace(rule, stage="", options={}) for rule in self._rules(context).rules]
        skips += [Rule(type=operator, skip=True) for operator in NOT_TRAINED]
        static = self._static()
        found = static.calibrated(program, dataclasses.replace(context, rules=Rules(tuple(skips))))
        wanted = BitsOfLayers(
            found.graph_module,
            found.plan,
            lambda node: self._bits(node, context),
            self.low_ends,
            self.has_real_shortcuts(),
        )
        few = wanted.activations(found.ranges)
        few_ranges = ranges_of_few_bits(
            found.graph_module, few, static.batches(program, context), program.signature
        )
        ranges = {**found.ranges, **few_ranges}
        layers = _layers(found, ranges, wanted)
        forms = {
            layer: form
            for layer in layers
            if wanted.of_weight(layer) < FULL
            and (form := self._own(layer.node, context).form(found.graph_module, layer)) is not None
        }
        bits: dict[str, Value] = {
            "weight_bits": {
                graph.layer_name(one.node): wanted.of_weight(one) if one in forms else how.bits.weights
                for one, how in layers.items()
            },
            "activation_bits": {
                node.name: few.get(scale, FULL) for scale in found.plan.scales for node in scale.tensors
            },
        }
        normed = spreads(
            found.graph_module,
            [layer.node for layer in forms],
            static.batches(program, context),
            program.signature,
        )
        fake = FakeQuantized(found.graph_module, found.plan, ranges, layers, forms, self.one_bit())
        if normed:
            fake.normalise(normed)
            _batch_norm.reestimate(found.graph_module, static.batches(program, context))
        return found, fake, bits

    def loss(self, program: Program, context: Context) -> Loss:
        """As distill; with `teacher=none`, cross-entropy with the labels."""
        return supervised(context) if self.teacher == "none" else super().loss(program, context)

    def _static(self) -> QuantizeStatic:
        return QuantizeStatic(calibration=self.calibration, samples=self.samples, headroom=self.headroom)

    def _rules(self, context: Context) -> Rules:
        return Rules(tuple(rule for rule in context.rules.rules if rule.stage in ("", self.name())))

    def _own(self: Own, node: Node, context: Context) -> Own:
        """The options that the rules leave for an operator."""
        return context.rules.apply(self, graph.layer_name(node), graph.op_name(node)) or self

    def _bits(self, node: Node, context: Context) -> Bits:
        own = self._own(node, context)
        return Bits(own.bits_of_weight(), own.activation_bits)


def _layers(found: Calibrated, ranges: dict[Node, Range], wanted: BitsOfLayers) -> dict[Layer, WeightOptions]:
    """Each layer with the range that it reads now."""
    read = [dataclasses.replace(one, inputs=ranges[one.node.all_input_nodes[0]]) for one in found.layers]
    return {one: wanted.weights(one) for one in read}
