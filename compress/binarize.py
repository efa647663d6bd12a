"""Train the network to weights of one bit, their signs, and on request to activations of few bits or one."""

from __future__ import annotations

from dataclasses import dataclass

from torch.fx import GraphModule

from edgepress.compress._low_bit.activation import approximate_sign
from edgepress.compress._low_bit.binary import Binary, BinaryMethod
from edgepress.compress._low_bit.form import WeightForm
from edgepress.compress._quantization.fake import Rounding
from edgepress.compress._quantization.few_bits import FULL
from edgepress.compress._quantization.layer import Layer
from edgepress.compress._quantization.learned_steps import fake_quantize
from edgepress.compress._quantization.training import QuantizedTraining


@dataclass(frozen=True, kw_only=True)
class Binarize(QuantizedTraining):
    """Each weight becomes its sign times a scale of its output channel, the mean magnitude of the channel's weights.

    All options of quantize_aware but weight_bits. And

    method: xnor is Rastegari et al. (2016), XNOR-Net; bi_real is Liu et al. (2018), Bi-Real Net, whose gradients know
        how large weights are and how close activations of one bit are to their threshold, and whose shortcuts
        carry 8 bits.
    activation_bits: 8 by default. Those of one bit are 0 or 1, as what is behind a ReLU has no sign to take.
    int8: for rules, not for whole networks: the layer keeps integers of 8 bits. The first and last layers do unless
        `low_ends`.

    The weights are stored as integers -1 and 1, which every runtime executes as int8: none of those here multiplies
    bits, so it is as fast as int8, no faster. Convert to .epz for a file of one bit a weight. ncnn, whose
    activations have a bit less, may depart too far: verification says so there.
    """

    per_layer = frozenset({"activation_bits", "method", "int8"})

    method: BinaryMethod = "xnor"
    int8: bool = False

    def bits_of_weight(self) -> int:
        return FULL if self.int8 else 1

    def form(self, graph_module: GraphModule, layer: Layer) -> WeightForm | None:
        return Binary(self.method)

    def one_bit(self) -> Rounding:
        return approximate_sign if self.method == "bi_real" else fake_quantize

    def has_real_shortcuts(self) -> bool:
        return self.method == "bi_real"
