"""Turn weights into powers of two part by part, while training the others makes up for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le
from torch.fx import GraphModule

from edgepress import graph
from edgepress.compress._low_bit.form import WeightForm
from edgepress.compress._low_bit.powers import IncrementalPowers, PowersOfTwo
from edgepress.compress._quantization.few_bits import FULL
from edgepress.compress._quantization.layer import Layer
from edgepress.compress._quantization.training import Forms, QuantizedTraining
from edgepress.compress._training.hook import TrainingHook


@dataclass(frozen=True, kw_only=True)
class QuantizeIncrementally(QuantizedTraining):
    """Zhou, Yao, Guo, Xu and Chen (2017), Incremental Network Quantization.

    All options of quantize_aware but method. And

    weight_bits: of zero, and 2**(weight_bits - 2) powers of two of either sign; with 5 bits seven, for so many fit int8.
    parts: into how many parts each layer's weights are divided, half of those that are left in each but the last, the
        largest first. All get as many steps of training, in which those that are left make up for them; behind the
        last one, biases and activations alone learn on.
    int8: for rules, not for whole networks: the layer keeps integers of 8 bits. The first and last layers do unless
        `low_ends`.

    The weights are stored as powers of two from 1 to 64, which every runtime executes as int8; none of those here
    shifts instead of multiplying. Convert to .epz for a file of that many bits.
    """

    per_layer = frozenset({"activation_bits", "weight_bits", "int8"})

    weight_bits: Annotated[int, Ge(2), Le(5)] = 4
    parts: Annotated[int, Ge(1), Le(16)] = 4
    int8: bool = False

    def bits_of_weight(self) -> int:
        return FULL if self.int8 else self.weight_bits

    def form(self, graph_module: GraphModule, layer: Layer) -> WeightForm | None:
        weight = graph.constant(graph_module, graph.weight_node(layer.node))
        assert weight is not None, "the plan has layers with stored weights alone"
        return PowersOfTwo.of(weight, self.weight_bits)

    def hook(self, forms: Forms) -> TrainingHook:
        powers = {
            graph.weight_name(layer.node): form
            for layer, form in forms.items()
            if isinstance(form, PowersOfTwo)
        }
        return IncrementalPowers(powers, [1 - 0.5**part for part in range(1, self.parts)] + [1.0])
