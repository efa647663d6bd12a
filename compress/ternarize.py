"""Train the network to weights of two bits: negative, zero or positive."""

from __future__ import annotations

from dataclasses import dataclass

from torch.fx import GraphModule

from edgepress.compress._low_bit.form import WeightForm
from edgepress.compress._low_bit.ternary import Ternary, TernaryMethod, TrainedTernary
from edgepress.compress._quantization.few_bits import FULL
from edgepress.compress._quantization.layer import Layer
from edgepress.compress._quantization.training import QuantizedTraining


@dataclass(frozen=True, kw_only=True)
class Ternarize(QuantizedTraining):
    """Weights below a threshold become zero, the others a scale with their sign.

    All options of quantize_aware but weight_bits. And

    method: twn is Li, Zhang and Liu (2016), Ternary Weight Networks: the scale of an output channel is the mean
        magnitude of what is not zero. ttq is Zhu, Han, Mao and Dally (2017), Trained Ternary Quantization: two learned
        scales for each layer, of what is above zero and below.
    int8: for rules, not for whole networks: the layer keeps integers of 8 bits. The first and last layers do unless
        `low_ends`.

    The weights are stored as three integers, which every runtime executes as int8, as fast as int8 and no faster. Convert to
    .epz for a file of at most 1.58 bits a weight. ncnn, whose activations have a bit less, may depart too far:
    verification says so there.
    """

    per_layer = frozenset({"activation_bits", "method", "int8"})

    method: TernaryMethod = "twn"
    int8: bool = False

    def bits_of_weight(self) -> int:
        return FULL if self.int8 else 2

    def form(self, graph_module: GraphModule, layer: Layer) -> WeightForm | None:
        return Ternary() if self.method == "twn" else TrainedTernary()
